"""OpenAI's chat completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from runner.api.answering import Answering, Form
from runner.api.call import Call, Handler
from runner.api.keys import Scope
from runner.api.openai import parse, render
from runner.api.openai.preloading import preloading
from runner.api.routes import LLAMA_PREFIXES, OPENAI_PREFIXES, Route
from runner.service import Engines, Lease


class Chat:
    """The handler of chat completions."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        form = Form(error_event=render.error_event)
        self._answering = Answering(engines, form, patience_s=patience_s)
        self._version = version

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its routes; llama-server has them without a version in the path, too."""
        handler = preloading(self._engines, self)
        for prefix in (*LLAMA_PREFIXES, *OPENAI_PREFIXES):
            path = f"{prefix}/chat/completions"
            yield Route("POST", path, Scope.INFER, handler, "answer a conversation", parse.SHAPE)

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read_chat(parse.parse)

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
                custom_tools=request.custom_tools,
            )

        await self._answering.give(call, request, begin)
