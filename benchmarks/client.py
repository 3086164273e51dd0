"""A streaming chat client for any OpenAI-compatible URL that notes when each token arrived.

Built on ``runner.http`` (client role) over asyncio, because the client shares the machine with the
server it measures: it costs a fraction of what an SDK costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from runner import http

READ_BYTES = 65536


class RequestFailed(Exception):
    """A request of a measurement got no answer, so there is no figure."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send requests: an OpenAI base URL, as ``http://127.0.0.1:12434/v1``, and a model."""

    url: str
    model: str
    api_key: str | None = None


@dataclass(slots=True)
class Answer:
    """One streamed answer. Times are seconds of ``time.perf_counter``."""

    begun_s: float
    arrivals_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    text: str = ""
    timings: dict[str, Any] = field(default_factory=dict)  # llama.cpp's, where a server tells them
    error: str | None = None

    @property
    def first_token_s(self) -> float:
        """Seconds from the request to the first text; NaN when there was none."""
        return self.arrivals_s[0] - self.begun_s if self.arrivals_s else float("nan")

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between one arrival of text and the next."""
        return [b - a for a, b in zip(self.arrivals_s, self.arrivals_s[1:], strict=False)]

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first arrival by the time they took; NaN for an answer of one arrival.

        Counts what the server says it made, since one arrival may hold several tokens; an answer
        that was cut, whose count never came, counts arrivals.
        """
        tokens = (self.completion_tokens or len(self.arrivals_s)) - 1
        took_s = self.arrivals_s[-1] - self.arrivals_s[0] if self.arrivals_s else 0.0
        return tokens / took_s if took_s else float("nan")


async def chat(target: Target, body: dict[str, Any], answer: Answer | None = None) -> Answer:
    """Send one streamed chat request and read it to its end; failures are told in ``error``.

    Who means to cancel it gives an ``answer`` to be filled.
    """
    answer = answer or Answer(begun_s=time.perf_counter())
    try:
        await _exchange(target, body, answer)
    except (OSError, http.ProtocolError, ValueError) as error:
        answer.error = f"{type(error).__name__}: {error}"
    return answer


async def chat_for(target: Target, body: dict[str, Any], limit_s: float) -> Answer:
    """Chat, but hang up after ``limit_s``, which is no error."""
    answer = Answer(begun_s=time.perf_counter())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await chat(target, body, answer)
    return answer


async def chat_all(
    target: Target, bodies: Iterable[dict[str, Any]], *, at_a_time: int
) -> list[Answer]:
    """Send all requests from so many clients, each one after another; in order of their ends."""
    waiting = iter(bodies)
    done: list[Answer] = []

    async def client() -> None:
        for body in waiting:
            done.append(await chat(target, body))

    await asyncio.gather(*(client() for _ in range(at_a_time)))
    return done


def check(answers: Iterable[Answer]) -> None:
    """Raise RequestFailed when one of them failed: half a load is another load."""
    for answer in answers:
        if answer.error is not None:
            raise RequestFailed(answer.error)


async def _exchange(target: Target, body: dict[str, Any], answer: Answer) -> None:
    parts = urlsplit(target.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        payload = json.dumps({"model": target.model, "stream": True, **body}).encode()
        headers = [("Host", parts.netloc), ("Content-Type", "application/json")]
        if target.api_key:
            headers.append(("Authorization", f"Bearer {target.api_key}"))
        connection = http.Connection(http.Role.CLIENT)
        path = parts.path.rstrip("/") + "/chat/completions"
        writer.write(connection.send_request("POST", path, headers=headers, body=payload))
        await _read(reader, connection, answer)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, connection: http.Connection, answer: Answer) -> None:
    decoder = http.sse.Decoder()
    status = 0
    refusal = b""
    while (event := connection.next_event()) is not http.END_OF_MESSAGE:
        match event:
            case http.NEED_DATA:
                connection.receive(await reader.read(READ_BYTES))
            case http.Response():
                status = event.status
            case http.Data() if status == 200:
                for message in decoder.feed(event.data):
                    _take(message.data, answer)
            case http.Data():
                refusal += event.data
            case http.CONNECTION_CLOSED:
                raise ValueError("the server closed the connection in mid-answer")
    if status != 200:
        answer.error = f"HTTP {status}: {refusal[:300].decode(errors='replace')}"


def _take(data: str, answer: Answer) -> None:
    if data == "[DONE]":
        return
    chunk = json.loads(data)
    if "error" in chunk:
        answer.error = str(chunk["error"])
        return
    answer.timings = chunk.get("timings") or answer.timings
    if usage := chunk.get("usage"):
        answer.prompt_tokens = usage["prompt_tokens"]
        answer.completion_tokens = usage["completion_tokens"]
        details = usage.get("prompt_tokens_details") or {}
        answer.cached_tokens = details.get("cached_tokens", 0)
    for choice in chunk.get("choices", ()):
        if text := choice.get("delta", {}).get("content"):
            answer.arrivals_s.append(time.perf_counter())
            answer.text += text
