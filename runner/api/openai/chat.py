"""Chat completions, streamed or whole: one request, one lease, ``n`` submits, one answer."""

from __future__ import annotations

import secrets
import time
from functools import partial

from runner.api import faults
from runner.api.asking import ChatRequest
from runner.api.call import Call, EventStream, while_wanted
from runner.api.openai import choosing, parse, render
from runner.service import Engines
from runner.wire.messages import Ended, Ready, Submit


class Chat:
    """The handler of chat completions."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        self._version = version
        self._patience_s = patience_s

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(parse.parse)
        if request.stream:
            headers = choosing.ignored_header(request.ignored)
            await choosing.stream(
                call, headers, partial(self._relay, call, request), patience_s=self._patience_s
            )
        else:
            await self._reply(call, request)

    async def _reply(self, call: Call, request: ChatRequest) -> None:
        async with (
            while_wanted(call.exchange),
            await self._engines.lease(request.model) as lease,
        ):
            choosing.check_model(request.model, request.sampling, lease.ready)
            identity = self._identify(request, lease.ready)

            async def fold(_: int, completion: choosing.Completion) -> tuple[render.Choice, Ended]:
                return await choosing.fold(completion, render.Choice())

            choices = await choosing.each(lease, _submits(request, call), fold)
        wants_logprobs = request.sampling.top_logprobs is not None
        await call.reply(
            render.completion(identity, choices, wants_logprobs=wants_logprobs),
            headers=[faults.JSON_TYPE, *choosing.ignored_header(request.ignored)],
        )

    async def _relay(self, call: Call, request: ChatRequest, events: EventStream) -> bytes:
        """Send all but the last events, and return those: they go out together."""
        async with await self._engines.lease(request.model) as lease:
            choosing.check_model(request.model, request.sampling, lease.ready)
            identity = self._identify(request, lease.ready)

            async def relay(index: int, completion: choosing.Completion) -> tuple[bytes, Ended]:
                chunks = render.Chunks(identity, index, include_usage=request.include_usage)
                return await choosing.relay(completion, chunks, events)

            lasts = await choosing.each(lease, _submits(request, call), relay)
        ended = [one for _, one in lasts]
        usage = render.usage_chunk(identity, ended) if request.include_usage else b""
        return b"".join(chunk for chunk, _ in lasts) + usage + render.DONE

    def _identify(self, request: ChatRequest, ready: Ready) -> render.Identity:
        return render.Identity(
            id=f"chatcmpl-{secrets.token_hex(16)}",
            created_s=int(time.time()),
            model=request.model,
            fingerprint=render.fingerprint(self._version, ready),
        )


def _submits(request: ChatRequest, call: Call) -> list[Submit]:
    return [request.submit(index, client=call.client) for index in range(request.choices)]
