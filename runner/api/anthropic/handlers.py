"""Anthropic's Messages API: answers, and counts of tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import msgspec

from runner.api import faults
from runner.api.answering import Answering, Form
from runner.api.anthropic import errors, parse, render
from runner.api.call import Call, Handler, while_wanted
from runner.api.choosing import ignored_header
from runner.api.keys import Scope
from runner.api.openai.preloading import preloading
from runner.api.questions import ask
from runner.api.routes import OPENAI_PREFIXES, Route
from runner.service import Engines, Lease


class Messages:
    """The handlers of messages."""

    def __init__(self, engines: Engines, *, patience_s: float) -> None:
        form = Form(error_event=errors.event, heartbeat=render.PING)
        self._engines = engines
        self._answering = Answering(engines, form, patience_s=patience_s)

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes: where Anthropic has them, and where Docker Model Runner does."""
        create = preloading(self._engines, self.create)
        count = "count the tokens of a conversation"
        for prefix in (*OPENAI_PREFIXES, "/anthropic/v1"):
            path = f"{prefix}/messages"
            yield Route("POST", path, Scope.INFER, create, "answer a conversation", parse.SHAPE)
            path = f"{path}/count_tokens"
            yield Route("POST", path, Scope.INFER, self.count, count, parse.SHAPE)

    async def create(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read_chat(parse.parse)

        async def begin(_: Lease) -> render.Answer:
            return render.Answer(
                id=f"msg_{secrets.token_hex(12)}",
                model=request.model,
                stop_sequences=request.stop,
                shows_thinking=request.shows_thinking,
            )

        await self._answering.give(call, request, begin)

    async def count(self, call: Call) -> None:
        """Tell how many tokens the model would read."""
        request = await call.read_chat(parse.parse)
        async with while_wanted(call.exchange), await self._engines.lease(request.model) as lease:
            answered = await ask(lease, request.prompt)
        counted = {"input_tokens": len(answered.tokens)}
        headers = [faults.JSON_TYPE, *ignored_header(request.ignored)]
        await call.reply(msgspec.json.encode(counted), headers=headers)
