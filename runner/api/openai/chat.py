"""OpenAI's chat completions."""

from __future__ import annotations

import secrets
import time

from runner.api.answering import Answering, Form
from runner.api.call import Call
from runner.api.openai import parse, render
from runner.service import Engines, Lease


class Chat:
    """The handler of chat completions."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        form = Form(error_event=render.error_event)
        self._answering = Answering(engines, form, patience_s=patience_s)
        self._version = version

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(parse.parse)

        async def begin(lease: Lease) -> render.Answer:
            identity = render.Identity(
                id=f"chatcmpl-{secrets.token_hex(16)}",
                created_s=int(time.time()),
                model=request.model,
                fingerprint=render.fingerprint(self._version, lease.ready),
            )
            return render.Answer(
                identity,
                include_usage=request.include_usage,
                wants_logprobs=request.sampling.top_logprobs is not None,
            )

        await self._answering.give(call, request, begin)
