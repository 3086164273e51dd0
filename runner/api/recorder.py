"""Keeps the last requests of each model with their texts, for whoever debugs an application.

Off unless the daemon is told how many to keep: prompts are private. In memory alone, bounded in
number and bytes; headers, and with them keys, are never kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from runner.api import faults, transcript
from runner.api.call import INLINE_BYTES, Call, Handler
from runner.errors import RunnerError
from runner.service import StoredModel

MAX_ANSWER_BYTES = 4 * transcript.MAX_TEXT_CHARACTERS  # of one answer while it is sent
MAX_TOTAL_CHARACTERS = 32 * 1024 * 1024
MAX_UNREAD = 100  # of one follower; what comes beyond is lost to it
CLIENT_LEFT = 499  # as the access log has it


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One request, with Docker Model Runner's names."""

    id: str  # the model's, and when
    model: str  # as the request named it
    method: str
    url: str  # without a query
    request: str  # JSON
    response: str = ""  # JSON, or a stream as it was sent
    error: str = ""
    timestamp: int  # Unix seconds
    status_code: int
    user_agent: str
    origin: str = ""

    @property
    def characters(self) -> int:
        """About how much memory it takes."""
        return len(self.request) + len(self.response) + len(self.error)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record and the model that it is of."""

    model_id: str  # "sha256:…"
    record: Record


class Recorder:
    """Records what passes through handlers."""

    def __init__(
        self,
        keep: int,
        resolve: Callable[[str], Awaitable[StoredModel]],
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``keep``: how many of each model; 0: nothing is recorded. ``clock``: Unix nanoseconds."""
        self._keep = keep
        self._resolve = resolve
        self._clock = clock
        self._records: deque[Recorded] = deque()  # the oldest first
        self._followers: set[asyncio.Queue[Recorded]] = set()

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return self._keep > 0

    def records(self, model_id: str | None = None) -> list[Recorded]:
        """List what is kept, of one model or of all, the oldest first."""
        return [one for one in self._records if model_id in (None, one.model_id)]

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[asyncio.Queue[Recorded]]:
        """Give a queue of what is recorded from now on."""
        queue: asyncio.Queue[Recorded] = asyncio.Queue(MAX_UNREAD)
        self._followers.add(queue)
        try:
            yield queue
        finally:
            self._followers.discard(queue)

    async def record(self, call: Call, handler: Handler) -> None:
        """Let a handler answer, and keep what was asked and answered."""
        pieces: list[bytes] = []
        taken_bytes = 0

        def take(piece: bytes) -> None:
            nonlocal taken_bytes
            if taken_bytes < MAX_ANSWER_BYTES:
                pieces.append(piece)
            taken_bytes += len(piece)

        call.exchange.copy = take
        try:
            await handler(call)
        except RunnerError as error:
            if not call.exchange.is_answered:
                body = faults.body(error, call.exchange.request.raw_path)
                await self._note(call, body, error.row.status)
            else:
                await self._note(call, b"".join(pieces), CLIENT_LEFT)
            raise
        await self._note(call, b"".join(pieces), call.exchange.status or CLIENT_LEFT)

    async def _note(self, call: Call, answer: bytes, status: int) -> None:
        body = call.exchange.body
        if not body:
            return  # it was refused before it was read
        is_stream = call.exchange.stream is not None
        if len(body) + len(answer) <= INLINE_BYTES:
            texts = _texts(body, answer, is_stream=is_stream)
        else:
            texts = await asyncio.to_thread(_texts, body, answer, is_stream=is_stream)
        if texts is None:
            return
        name, request, response, error = texts
        try:
            model_id = str((await self._resolve(name)).id)
        except RunnerError:
            return  # no model of ours: nothing to list it under
        now_ns = self._clock()
        self._add(
            Recorded(
                model_id,
                Record(
                    id=f"{model_id}_{now_ns}",
                    model=name,
                    method=call.exchange.request.method,
                    url=call.exchange.request.raw_path,
                    request=request,
                    response="" if status >= 400 else response,
                    error=response if status >= 400 else error or "",
                    timestamp=now_ns // 1_000_000_000,
                    status_code=status,
                    user_agent=call.exchange.request.headers.get("user-agent", "")[:200],
                    origin=_origin(call.exchange.request.raw_path),
                ),
            )
        )

    def _add(self, recorded: Recorded) -> None:
        self._records.append(recorded)
        same = self.records(recorded.model_id)
        if len(same) > self._keep:
            self._records.remove(same[0])
        while _characters(self._records) > MAX_TOTAL_CHARACTERS:
            self._records.popleft()
        for queue in self._followers:
            if not queue.full():
                queue.put_nowait(recorded)


def _characters(records: Iterable[Recorded]) -> int:
    return sum(one.record.characters for one in records)


def _texts(
    body: bytes, answer: bytes, *, is_stream: bool
) -> tuple[str, str, str, str | None] | None:
    """Return the model's name, the texts of request and answer, and a stream's error."""
    try:
        asked = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    name = (asked.get("model") or asked.get("name")) if isinstance(asked, dict) else None
    if not isinstance(name, str):
        return None
    response, error = transcript.answer_text(answer, is_stream=is_stream)
    return name, transcript.request_text(asked), response, error


def _origin(path: str) -> str:
    """Name the dialect that a path belongs to, as Docker Model Runner does; empty: OpenAI's."""
    if path.startswith("/api/"):
        return "ollama/completion"
    return "anthropic/messages" if path.startswith("/anthropic/") else ""
