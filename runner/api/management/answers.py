"""Answers that go on for as long as a transfer does: lines of progress, and archives."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, TypeVar

from runner.api import blocking
from runner.api.call import Call
from runner.api.cards import StoredModel
from runner.api.management.progress import Lines, Mode
from runner.errors import RunnerError
from runner.net import Stream
from runner.service import Watch

T = TypeVar("T")

PROGRESS_S = 0.1  # between two lines of a layer, as Docker Model Runner has it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is told when it worked; our own clients are also told which models came of it."""

    message: str
    models: Sequence[StoredModel] = ()


class ProgressAnswer:
    """An answer of lines whose head waits for the first, so that a refusal has its status."""

    def __init__(self, call: Call, mode: Mode) -> None:
        self._call = call
        # The stock CLI sends no Accept and expects HTML escapes; JSON is for whoever asks for it.
        is_escaped = call.exchange.request.headers.get("accept") != "application/json"
        self._content_type = "text/plain; charset=utf-8" if is_escaped else "application/json"
        self._lines = Lines(mode, is_escaped=is_escaped)
        self._stream: Stream | None = None

    async def follow(self, watch: Watch[T], describe: Callable[[T], Outcome]) -> None:
        """Tell what happens until it is over, and then what came of it."""
        while news := await watch.more():
            await self._send(self._lines.events(news))
            await watch.pause(PROGRESS_S)
        try:
            outcome = describe(await watch.result())
        except RunnerError as error:
            if self._stream is None:
                raise
            await self._end(self._lines.error(error))
        else:
            await self.finish(outcome)

    async def finish(self, outcome: Outcome) -> None:
        """Tell what came of it."""
        models = [{"id": str(one.id), "tags": list(one.tags)} for one in outcome.models]
        more = {"models": models} if models else {}
        await self._end(self._lines.success(outcome.message, **more))

    async def _end(self, last: bytes) -> None:
        await self._send(last)
        assert self._stream is not None
        await self._stream.finish()

    async def _send(self, lines: bytes) -> None:
        if not lines:
            return
        if self._stream is None:
            self._stream = await self._call.open_stream(self._content_type)
        await self._stream.send(lines)


class ArchiveAnswer:
    """An answer that a thread writes; its head waits for the first bytes."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._stream: Stream | None = None

    @asynccontextmanager
    async def file(self) -> AsyncIterator[IO[bytes]]:
        """Give the body as a file, until the context ends."""
        writer = blocking.AnswerWriter(self._send)
        try:
            yield io.BufferedWriter(writer, blocking.PIECE_BYTES)
        finally:
            writer.give_up()

    async def finish(self) -> None:
        """End it."""
        if self._stream is not None:
            await self._stream.finish()

    async def _send(self, data: bytes) -> None:
        if self._stream is None:
            name = re.sub(r"[^A-Za-z0-9._:/@-]", "_", self._call.name)
            shown = ("Content-Disposition", f'attachment; filename="{name}.tar"')
            self._stream = await self._call.open_stream("application/x-tar", headers=[shown])
        await self._stream.send(data)
