"""OpenAI's legacy completions: prompts without a template."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from runner.api.answering import Answering, Form
from runner.api.call import Call, Handler
from runner.api.keys import Scope
from runner.api.openai import legacy_parse, legacy_render
from runner.api.openai.legacy_parse import CompletionRequest, Prompt
from runner.api.openai.preloading import preloading
from runner.api.openai.render import Identity, error_event, fingerprint
from runner.api.questions import ask
from runner.api.routes import OPENAI_PREFIXES, Route
from runner.service import Engines, Lease
from runner.wire.messages import Detokenize, InfillPrompt, TextPrompt, TokenPrompt


class Completions:
    """The handler of legacy completions."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        form = Form(error_event=error_event)
        self._answering = Answering(engines, form, patience_s=patience_s)
        self._version = version

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its routes."""
        handler, shape = preloading(self._engines, self), legacy_parse.SHAPE
        for prefix in OPENAI_PREFIXES:
            yield Route(
                "POST", f"{prefix}/completions", Scope.INFER, handler, "continue texts", shape
            )

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(legacy_parse.parse)

        async def begin(lease: Lease) -> legacy_render.Answer:
            identity = Identity(
                id=f"cmpl-{secrets.token_hex(16)}",
                created_s=int(time.time()),
                model=request.model,
                fingerprint=fingerprint(self._version, lease.ready),
            )
            return legacy_render.Answer(
                identity,
                echoes=await _echoes(lease, request),
                choices=request.choices,
                top_logprobs=request.sampling.top_logprobs,
                include_usage=request.include_usage,
            )

        await self._answering.give(call, request, begin)


async def _echoes(lease: Lease, request: CompletionRequest) -> list[str]:
    """Return the text before each prompt's completions."""
    if not request.echo:
        return [""] * len(request.prompts)
    return [await _text(lease, prompt) for prompt in request.prompts]


async def _text(lease: Lease, prompt: Prompt) -> str:
    match prompt:
        case TextPrompt(text=text) | InfillPrompt(prefix=text):
            return text
        case TokenPrompt(tokens=tokens):
            return (await ask(lease, Detokenize(tokens=tokens))).text
