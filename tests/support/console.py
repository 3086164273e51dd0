"""A console of strings and a daemon of canned answers, for tests of commands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runner.cli.console import Console
from runner.cli.endpoint import Endpoint
from runner.cli.main import dispatch
from runner.errors import RunnerError

NOW_S = 1_800_000_000.0
READY = "GET /readyz"  # yes, unless the test answers it


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class FakeReply:
    """An answer whose head has come."""

    pieces: Iterator[bytes]
    headers: Mapping[str, str]

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces


class FakeRemote:
    """Answers ``"METHOD path"`` from a table.

    A value, pieces of bytes to stream, an error, or a function of the body that gives one of them.
    """

    def __init__(self, answers: Mapping[str, Any], fields: Mapping[str, str] = {}) -> None:
        self.answers = dict(answers)
        self.fields = fields  # of every answer's head, names in lower case
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[tuple[str, str]] = []
        self.endpoint = Endpoint("127.0.0.1", 12434)

    def call(self, method: str, path: str, body: Any = None, **_: Any) -> Any:
        with self.stream(method, path, body, **_) as reply:
            content = b"".join(reply)
        return json.loads(content) if content else None

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = 0,
    ) -> Iterator[FakeReply]:
        if path == "/readyz" and READY not in self.answers:
            yield FakeReply(iter([b"{}"]), self.fields)
            return
        self.requests.append((f"{method} {path}", body))
        self.headers += headers
        answer = self.answers[f"{method} {path}"]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(body)
        if isinstance(answer, list) and answer and isinstance(answer[0], bytes | Exception):
            yield FakeReply(_play(answer), self.fields)
        else:
            yield FakeReply(iter([json.dumps(answer).encode()]), self.fields)


def _play(pieces: list[bytes | Exception]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, BaseException):
            raise piece
        yield piece


def make_console(
    remote: Any = None,
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    is_terminal: bool = False,
    err: io.StringIO | None = None,
    now_s: Callable[[], float] = lambda: NOW_S,
) -> Console:
    """A console whose streams are strings; ``out`` and ``err`` have ``getvalue()``."""
    stream = Terminal if is_terminal else io.StringIO
    return Console(
        env={"HOME": "/home/ada"} if env is None else env,
        stdin=stream(stdin),
        out=stream(),
        err=io.StringIO() if err is None else err,
        connect=lambda _env, _host: remote,
        now_s=now_s,
    )


def run_command(
    answers: Mapping[str, Any],
    *arguments: str,
    fields: Mapping[str, str] = {},
    **surroundings: Any,
) -> tuple[int, str, str, FakeRemote]:
    """Run one command line; returns exit code, stdout, stderr and the daemon that was asked."""
    remote = FakeRemote(answers, fields)
    console = make_console(remote, **surroundings)
    try:
        code = dispatch(arguments, console)
    except RunnerError as error:
        code = error.row.exit_code
        console.say(str(error))
    return code, console.out.getvalue(), console.err.getvalue(), remote  # type: ignore[attr-defined]
