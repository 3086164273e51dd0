from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.client import Answer, RequestFailed, Target, chat, chat_all, chat_for, check

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
STREAM = OK + (
    b'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n'
    b'data: {"choices":[{"delta":{"content":"two tokens"}}]}\n\n'
    b'data: {"choices":[{"delta":{"content":" more"}}],"timings":{"draft_n":4}}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,'
    b'"prompt_tokens_details":{"cached_tokens":5}}}\n\n'
    b"data: [DONE]\n\n"
)


@asynccontextmanager
async def server(reply: bytes, *, closes: bool = True) -> AsyncIterator[Target]:
    """A server that gives every request the same bytes."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        if not closes:
            await gone.wait()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield Target(f"http://127.0.0.1:{port}/v1", "m")
    finally:
        gone.set()
        listener.close()


def ask(reply: bytes) -> Answer:
    async def run() -> Answer:
        async with server(reply) as target:
            return await chat(target, {"messages": []})

    return asyncio.run(run())


def test_an_answer_counts_what_the_server_says_it_made() -> None:
    answer = ask(STREAM)
    assert (answer.error, answer.text) == (None, "two tokens more")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (9, 5, 3)
    assert len(answer.arrivals_s) == 2
    assert answer.timings == {"draft_n": 4}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops", "HTTP 500: oops"),
        (OK + b'data: {"error":{"message":"full"}}\n\n', "{'message': 'full'}"),
    ],
)
def test_a_refusal_is_an_error_and_no_figure(reply: bytes, error: str) -> None:
    answer = ask(reply)
    assert answer.error == error
    with pytest.raises(RequestFailed):
        check([answer])


def test_all_requests_are_sent_by_so_many_clients() -> None:
    async def run() -> list[Answer]:
        async with server(STREAM) as target:
            return await chat_all(target, [{"n": n} for n in range(5)], at_a_time=2)

    assert [answer.completion_tokens for answer in asyncio.run(run())] == [3, 3, 3, 3, 3]


def test_an_answer_that_takes_too_long_is_cut_without_an_error() -> None:
    async def run() -> Answer:
        async with server(STREAM[:-60], closes=False) as target:
            return await chat_for(target, {}, 0.2)

    answer = asyncio.run(run())
    assert (answer.error, len(answer.arrivals_s)) == (None, 2)


def test_the_rate_counts_tokens_after_the_first_arrival() -> None:
    answer = Answer(begun_s=0.0, arrivals_s=[1.0, 2.0, 3.0], completion_tokens=9)
    assert answer.decode_tokens_per_s == 4.0
    assert Answer(begun_s=0.0, arrivals_s=[1.0, 2.0, 3.0]).decode_tokens_per_s == 1.0
    assert math.isnan(Answer(begun_s=0.0, arrivals_s=[1.0]).decode_tokens_per_s)
