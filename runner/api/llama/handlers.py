"""llama-server's own routes: tokens, templates, infill, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from runner.api import faults
from runner.api.answering import Answering, Form
from runner.api.call import Call, Handler, while_wanted
from runner.api.choosing import ignored_header
from runner.api.fields import Shape, flag, text
from runner.api.keys import Scope
from runner.api.llama import parse, render
from runner.api.openai import parse as chat_parse
from runner.api.openai.legacy_parse import CompletionRequest
from runner.api.openai.render import error_event
from runner.api.questions import ask, name_or_only, only_name
from runner.api.routes import LLAMA_PREFIXES, OPENAI_PREFIXES, Route
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease, RunningModel
from runner.wire.messages import Answered

MODEL = text("model", "the model; without it, the only one in memory")
FAIL_ON_NO_SLOT = flag("fail_on_no_slot", "whether a model without a free slot is an error")


class Llama:
    """The handlers of llama-server's routes, and of OpenAI's count of tokens."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        self._answering = Answering(engines, Form(error_event=error_event), patience_s=patience_s)
        self._version = version

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""

        def post(path: str, handler: Handler, about: str, body: Shape) -> Route[Handler]:
            return Route("POST", path, Scope.INFER, handler, about, body)

        about = "count the tokens of a conversation"
        for prefix in (*OPENAI_PREFIXES, *LLAMA_PREFIXES):
            counts = f"{prefix}/chat/completions/input_tokens"
            yield post(counts, self.count, about, chat_parse.SHAPE)
        for prefix in LLAMA_PREFIXES:
            yield post(f"{prefix}/tokenize", self.tokenize, "tell a text's tokens", parse.TOKENIZE)
            yield post(
                f"{prefix}/detokenize", self.detokenize, "tell tokens' text", parse.DETOKENIZE
            )
            yield post(
                f"{prefix}/apply-template",
                self.apply_template,
                "tell what the model reads of a conversation",
                chat_parse.SHAPE,
            )
            yield post(f"{prefix}/infill", self.infill, "fill the gap in a text", parse.INFILL)
            for name in ("completion", "completions"):
                yield post(f"{prefix}/{name}", self.complete, "continue texts", parse.COMPLETION)
            about = "tell of a model in memory"
            yield Route("GET", f"{prefix}/props", Scope.INFER, self.props, about, query=(MODEL,))
            about = "tell how busy a model in memory is"
            query = (MODEL, FAIL_ON_NO_SLOT)
            yield Route("GET", f"{prefix}/slots", Scope.INFER, self.slots, about, query=query)
            about = "list the LoRA adapters of a model in memory"
            path, handler = f"{prefix}/lora-adapters", self.lora_adapters
            yield Route("GET", path, Scope.INFER, handler, about, query=(MODEL,))

    async def tokenize(self, call: Call) -> None:
        """Tell the tokens of a text."""
        request = await call.read(parse.parse_tokenize)
        answered = await self._ask(call, request.model, request.question)
        shown = render.tokens(answered, with_pieces=request.question.with_pieces)
        await _reply(call, shown, request.ignored)

    async def detokenize(self, call: Call) -> None:
        """Tell the text of tokens."""
        request = await call.read(parse.parse_detokenize)
        answered = await self._ask(call, request.model, request.question)
        await _reply(call, {"content": answered.text}, request.ignored)

    async def apply_template(self, call: Call) -> None:
        """Tell what the model would read of a conversation."""
        request = await call.read_chat(lambda body: chat_parse.parse(self._named(body)))
        answered = await self._ask(call, request.model, request.prompt)
        await _reply(call, {"prompt": answered.text}, request.ignored)

    async def count(self, call: Call) -> None:
        """Tell how many tokens a conversation is."""
        request = await call.read_chat(chat_parse.parse)
        answered = await self._ask(call, request.model, request.prompt)
        counted = {"object": "response.input_tokens", "input_tokens": len(answered.tokens)}
        await _reply(call, counted, request.ignored)

    async def infill(self, call: Call) -> None:
        """Fill the gap between two texts."""
        await self._complete(call, parse.parse_infill)

    async def complete(self, call: Call) -> None:
        """Continue texts."""
        await self._complete(call, parse.parse_completion)

    async def _complete(
        self, call: Call, read: Callable[[dict[str, Any]], CompletionRequest]
    ) -> None:
        request = await call.read(lambda body: read(self._named(body)))

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
        if call.query(FAIL_ON_NO_SLOT) and all(slot["is_processing"] for slot in shown):
            raise RunnerError(Kind.BUSY, "no slot is free", retry_after_s=1)
        await call.reply(msgspec.json.encode(shown))

    async def lora_adapters(self, call: Call) -> None:
        """Tell of the adapters of a model in memory."""
        await call.reply(msgspec.json.encode(render.adapters(self._running(call))))

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a request that names no model mean the only one in memory."""
        only = only_name(self._engines)
        return body if only is None else {"model": only} | body

    def _running(self, call: Call) -> RunningModel:
        name = name_or_only(call.query(MODEL), self._engines)
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


async def _reply(call: Call, shown: Any, ignored: tuple[str, ...]) -> None:
    headers = [faults.JSON_TYPE, *ignored_header(ignored)]
    await call.reply(msgspec.json.encode(shown), headers=headers)
