"""Answers of chores that take long: lines of progress, then one that tells what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from runner.api import faults
from runner.api.call import Call
from runner.api.management import chores
from runner.errors import RunnerError
from runner.net import Stream

T = TypeVar("T")
OnProgress = Callable[[int, int], None]

PROGRESS_S = 0.2  # between two lines


async def tell(
    call: Call,
    work: Callable[[OnProgress], Coroutine[Any, Any, T]],
    last_line: Callable[[T], bytes],
) -> None:
    """Answer with lines of progress and a last one.

    The head waits for the first line, so that work which is refused has a status.
    """
    latest: list[tuple[int, int]] = []
    stream: Stream | None = None
    working = asyncio.create_task(work(lambda *counts: latest.append(counts)))
    try:
        while not (await asyncio.wait([working], timeout=PROGRESS_S))[0]:
            stream = stream or await call.open_stream("application/json")
            if latest:
                await stream.send(chores.progress_line(*latest.pop()))
                latest.clear()
        if stream is None:
            result = await working
            stream = await call.open_stream("application/json")
            line = last_line(result)
        else:
            line = _line_of(working, last_line)
        await stream.send(line)
        await stream.finish()
    finally:
        working.cancel()
        await asyncio.wait([working])


def _line_of(done: asyncio.Task[T], last_line: Callable[[T], bytes]) -> bytes:
    try:
        return last_line(done.result())
    except RunnerError as error:
        return faults.render(error) + b"\n"
