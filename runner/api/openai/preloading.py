"""Docker Model Runner's ``X-Preload-Only``: load the model of a request, and answer nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from runner.api.call import Call, while_wanted
from runner.api.openai import parse
from runner.service import Engines

HEADER = "x-preload-only"


def preloading(
    engines: Engines, handler: Callable[[Call], Awaitable[None]]
) -> Callable[[Call], Awaitable[None]]:
    """Let a handler of requests that name a model be asked for the model alone."""

    async def answer(call: Call) -> None:
        if call.exchange.request.headers.get(HEADER) != "true":
            await handler(call)
            return
        model = await call.read(parse.parse_model_name)
        async with while_wanted(call.exchange), await engines.lease(model):
            pass
        await call.reply(b"")

    return answer
