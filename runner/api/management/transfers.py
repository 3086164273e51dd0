"""Docker Model Runner's routes that move models: their answers tell progress line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from runner.api.call import Call, while_wanted
from runner.api.management.progress import Lines, Mode
from runner.api.openai.fields import Fields
from runner.errors import Kind, RunnerError
from runner.net import Stream
from runner.service import Pulled, Watch
from runner.service import Transfers as Service

T = TypeVar("T")

MAX_SOURCE_CHARACTERS = 4096
MAX_TOKEN_CHARACTERS = 16 * 1024
PROGRESS_S = 0.1  # between two lines of a layer, as Docker Model Runner has it


class Transfers:
    """The handlers of the transfers' routes."""

    def __init__(self, transfers: Service) -> None:
        self._transfers = transfers

    async def pull(self, call: Call) -> None:
        """Bring a model into the store. A client that leaves ends it if no other waits for it."""
        source, token = await call.read(_parse_pull)
        answer = _ProgressAnswer(call, "pull")
        async with while_wanted(call.exchange), self._transfers.pull(source, token) as watch:
            await answer.follow(watch, _pulled)


def _pulled(pulled: Pulled) -> str:
    if pulled.is_cached:
        return f"Using cached model: {pulled.model.config.size}"
    return "Model pulled successfully"


class _ProgressAnswer:
    """An answer of lines whose head waits for the first, so that a refusal has its status."""

    def __init__(self, call: Call, mode: Mode) -> None:
        self._call = call
        # The stock CLI sends no Accept and expects HTML escapes; JSON is for whoever asks for it.
        self._is_escaped = call.exchange.request.headers.get("accept") != "application/json"
        self._lines = Lines(mode, is_escaped=self._is_escaped)
        self._stream: Stream | None = None

    async def follow(self, watch: Watch[T], describe: Callable[[T], str]) -> None:
        """Tell what happens until it is over, and then what came of it."""
        while news := await watch.more():
            await self._send(self._lines.events(news))
            await watch.pause(PROGRESS_S)
        try:
            last = self._lines.success(describe(await watch.result()))
        except RunnerError as error:
            if self._stream is None:
                raise
            last = self._lines.error(error)
        await self._send(last)
        assert self._stream is not None
        await self._stream.finish()

    async def _send(self, lines: bytes) -> None:
        if not lines:
            return
        if self._stream is None:
            kind = "text/plain; charset=utf-8" if self._is_escaped else "application/json"
            self._stream = await self._call.open_stream(kind)
        await self._stream.send(lines)


def _parse_pull(body: dict[str, Any]) -> tuple[str, str | None]:
    fields = Fields(body)
    source = (fields.text("from", max_characters=MAX_SOURCE_CHARACTERS) or "").strip()
    if not source:
        raise RunnerError(Kind.INVALID_REQUEST, 'expected {"from": MODEL}', param="from")
    return source, _take_token(fields)


def _take_token(fields: Fields) -> str | None:
    token = fields.text("bearer-token", max_characters=MAX_TOKEN_CHARACTERS)
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise RunnerError(  # it goes into a header as it is; it stays out of errors
            Kind.INVALID_REQUEST, "bearer-token: expected visible ASCII", param="bearer-token"
        )
    return token or None
