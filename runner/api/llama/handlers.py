"""llama-server's own routes: tokens, templates, infill, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from runner.api.answering import Answering, Form
from runner.api.asking import ChatRequest
from runner.api.call import Call, while_wanted
from runner.api.llama import parse, render
from runner.api.openai import parse as chat_parse
from runner.api.openai.render import error_event
from runner.api.openai.response_input import chat_body
from runner.api.questions import ask, name_or_only, only_name
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease, RunningModel
from runner.wire.messages import Answered


class Llama:
    """The handlers of llama-server's routes, and of OpenAI's counts of tokens."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        self._answering = Answering(engines, Form(error_event=error_event), patience_s=patience_s)
        self._version = version

    async def tokenize(self, call: Call) -> None:
        """Tell the tokens of a text."""
        request = await call.read(parse.parse_tokenize)
        answered = await self._ask(call, request.model, request.question)
        shown = render.tokens(answered, with_pieces=request.question.with_pieces)
        await call.reply(msgspec.json.encode(shown))

    async def detokenize(self, call: Call) -> None:
        """Tell the text of tokens."""
        request = await call.read(parse.parse_detokenize)
        answered = await self._ask(call, request.model, request.question)
        await call.reply(msgspec.json.encode({"content": answered.text}))

    async def apply_template(self, call: Call) -> None:
        """Tell what the model would read of a conversation."""
        request = await call.read(lambda body: chat_parse.parse(self._named(body)))
        answered = await self._ask(call, request.model, request.prompt)
        await call.reply(msgspec.json.encode({"prompt": answered.text}))

    async def count(self, call: Call) -> None:
        """Tell how many tokens a conversation is."""
        await self._count(call, chat_parse.parse)

    async def count_response(self, call: Call) -> None:
        """Tell how many tokens the input of a response is."""
        await self._count(call, lambda body: chat_parse.parse(chat_body(body)))

    async def _count(self, call: Call, read: Callable[[dict[str, Any]], ChatRequest]) -> None:
        request = await call.read(read)
        answered = await self._ask(call, request.model, request.prompt)
        counted = {"object": "response.input_tokens", "input_tokens": len(answered.tokens)}
        await call.reply(msgspec.json.encode(counted))

    async def infill(self, call: Call) -> None:
        """Fill the gap between two texts."""
        request = await call.read(lambda body: parse.parse_infill(self._named(body)))

        async def begin(_: Lease) -> render.Answer:
            return render.Answer(request.model, request.sampling)

        await self._answering.give(call, request, begin)

    async def props(self, call: Call) -> None:
        """Tell of a model in memory; nothing is loaded for that."""
        shown = render.props(self._running(call), version=self._version)
        await call.reply(msgspec.json.encode(shown))

    async def slots(self, call: Call) -> None:
        """Tell how busy a model in memory is; with ``fail_on_no_slot`` 503 when all of it is."""
        shown = render.slots(self._running(call))
        if call.query_flag("fail_on_no_slot") and all(slot["is_processing"] for slot in shown):
            raise RunnerError(Kind.BUSY, "no slot is free", retry_after_s=1)
        await call.reply(msgspec.json.encode(shown))

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a request that names no model mean the only one in memory."""
        only = only_name(self._engines)
        return body if only is None else {"model": only} | body

    def _running(self, call: Call) -> RunningModel:
        name = name_or_only(call.query("model"), self._engines)
        running: Sequence[RunningModel] = self._engines.running()
        for model in running:
            if name in (model.name, model.id, *model.tags):
                return model
        raise RunnerError(
            Kind.NOT_FOUND,
            f"{name[:200]} is not in memory",
            hint="GET /engines/ps lists what is; a request to it loads a model",
            param="model",
        )

    async def _ask(self, call: Call, name: str | None, question: Any) -> Answered:
        name = name_or_only(name, self._engines)
        async with while_wanted(call.exchange), await self._engines.lease(name) as lease:
            return await ask(lease, question)
