"""What a command may touch of its surroundings, as one value: tests give it other ones."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TextIO

from runner.cli.output import render_json
from runner.cli.remote import Remote, connect
from runner.cli.trace import Trace


class Console(NamedTuple):
    """Streams, environment, clock and the way to the daemon."""

    env: Mapping[str, str]
    stdin: TextIO
    out: TextIO
    err: TextIO
    connect: Callable[[Mapping[str, str], str | None], Remote]
    now_s: Callable[[], float]  # seconds since 1970

    def remote(self, host_flag: str | None) -> Remote:
        """Return the daemon that ``--host``, the environment or the machine points to."""
        return self.connect(self.env, host_flag)

    def traced(self) -> Console:
        """Return a console that tells on stderr what is asked of the daemon."""

        def connect_traced(env: Mapping[str, str], host_flag: str | None) -> Remote:
            remote = self.connect(env, host_flag)
            remote.trace = Trace(self.say)
            return remote

        return self._replace(connect=connect_traced)

    def write(self, text: str) -> None:
        """Send data to stdout now."""
        self.out.write(text)
        self.out.flush()

    def write_each(
        self, done: Iterable[Any], render: Callable[[Any], str], *, as_json: bool
    ) -> int:
        """Send what was done, each as soon as it is, and return how many there were.

        As JSON it is one list at the end, which also an error leaves: what was done stays done.
        """
        listed = []
        try:
            for one in done:
                listed.append(one)
                if not as_json:
                    self.write(render(one))
        finally:
            if as_json:
                self.write(render_json(listed))
        return len(listed)

    def say(self, text: str) -> None:
        """Tell a person something, on a line of stderr."""
        self.err.write(f"{text}\n")
        self.err.flush()


def system_console() -> Console:
    """Return this process's own console. Text that its encoding lacks is shown as ``?``."""
    _replace_missing_streams()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    return Console(os.environ, sys.stdin, sys.stdout, sys.stderr, connect, time.time)


def _replace_missing_streams() -> None:
    """Open nothing in place of each stream that the caller has closed (``>&-``).

    Otherwise the next file or socket would get its descriptor.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 (for the whole process)
