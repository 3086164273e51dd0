"""The daemon's end of a real worker process, plain and blocking, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from runner.wire import encode, from_worker_decoder
from runner.wire.messages import (
    WIRE_VERSION,
    ChatPrompt,
    EngineWishes,
    Event,
    Events,
    FromWorker,
    Load,
    Message,
    Piece,
    Sampling,
    Submit,
    TextPrompt,
    is_last,
)
from tests.support.embedded import find_model, require_library

WAIT_S = 120.0  # the machine may be busy
M = TypeVar("M")
ROOT = Path(__file__).resolve().parents[2]
WISHES = EngineWishes(context_size=256, parallel=4, threads=1)  # threads wait for each other


def model_path() -> Path:
    """The embedded model; skips the test where it or the library is missing."""
    require_library()
    return find_model()


def text(id: int, content: str, **more: Any) -> Submit:
    """A request for raw text, greedy if nothing else is said."""
    more.setdefault("sampling", Sampling(temperature=0.0))
    return Submit(id=id, prompt=TextPrompt(text=content), **more)


def chat(id: int, content: str, **more: Any) -> Submit:
    """A request of one user message."""
    more.setdefault("sampling", Sampling(temperature=0.0))
    messages = json.dumps([{"role": "user", "content": content}])
    return Submit(id=id, prompt=ChatPrompt(messages_json=messages), **more)


class WorkerClient:
    """Starts a worker; a context manager that leaves no process behind."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-X", "faulthandler", "-m", "runner.worker"]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe that nobody reads would fill up)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._decoder = from_worker_decoder()
        self._messages: list[FromWorker] = []
        self.log: dict[int, list[Event]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self._stderr):
            assert file is not None
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def send(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()

    def load(self, path: Path, wishes: EngineWishes = WISHES, **more: Any) -> None:
        self.send(
            Load(
                version=WIRE_VERSION,
                model_path=str(path),
                wishes=wishes,
                **({"library_path": None} | more),
            )
        )

    def messages(self) -> Iterator[FromWorker]:
        """Everything it says, until it closes its end."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        until_s = time.monotonic() + WAIT_S
        while True:
            while self._messages:
                message = self._messages.pop(0)
                if isinstance(message, Events):
                    for event in message.events:
                        self.log.setdefault(event.id, []).append(event)
                yield message
            ready, _, _ = select.select([fd], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, "the worker says nothing"
            data = os.read(fd, 1 << 16)
            if not data:
                return
            self._messages += self._decoder.feed(data)

    def wait_for(self, kind: type[M]) -> M:
        """The next message of a kind."""
        for message in self.messages():
            if isinstance(message, kind):
                return message
        raise AssertionError(f"it ended without a {kind.__name__}: {self.errors()}")

    def wait_for_last(self, *ids: int) -> list[Event]:
        """The last events of some ids."""
        while not all(self.log.get(id) and is_last(self.log[id][-1]) for id in ids):
            self.wait_for(Events)
        return [self.log[id][-1] for id in ids]

    def wait_for_text(self, id: int) -> None:
        """Return once an id shows something."""
        while not any(isinstance(event, Piece) for event in self.log.get(id, ())):
            self.wait_for(Events)

    def text(self, id: int) -> str:
        return "".join(event.text for event in self.log[id] if isinstance(event, Piece))

    def wait_for_exit(self) -> int:
        """Read on to the end; return the exit code."""
        for _ in self.messages():
            pass
        return self.process.wait(WAIT_S)

    def errors(self) -> str:
        """What it has written to stderr."""
        self._stderr.seek(0)
        return self._stderr.read().decode()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
