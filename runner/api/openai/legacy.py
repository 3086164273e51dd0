"""OpenAI's legacy completions: prompts without a template, streamed or whole."""

from __future__ import annotations

import secrets
import time
from functools import partial

from runner.api import faults
from runner.api.call import Call, EventStream, while_wanted
from runner.api.openai import choosing, legacy_parse, legacy_render
from runner.api.openai.legacy_parse import CompletionRequest, Prompt
from runner.api.openai.render import DONE, Identity, fingerprint
from runner.api.questions import ask
from runner.service import Engines, Lease
from runner.wire.messages import Detokenize, Ended, InfillPrompt, Ready, TextPrompt, TokenPrompt


class Completions:
    """The handler of legacy completions."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        self._version = version
        self._patience_s = patience_s

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(legacy_parse.parse)
        if request.stream:
            headers = choosing.ignored_header(request.ignored)
            await choosing.stream(
                call, headers, partial(self._relay, call, request), patience_s=self._patience_s
            )
        else:
            await self._reply(call, request)

    async def _reply(self, call: Call, request: CompletionRequest) -> None:
        top_logprobs = request.sampling.top_logprobs

        async def fold(
            _: int, completion: choosing.Completion
        ) -> tuple[legacy_render.Choice, Ended]:
            choice = legacy_render.Choice(top_logprobs=top_logprobs)
            return await choosing.fold(completion, choice)

        async with (
            while_wanted(call.exchange),
            await self._engines.lease(request.model) as lease,
        ):
            choosing.check_model(request.model, request.sampling, lease.ready)
            identity = self._identify(request, lease.ready)
            echoes = await _echoes(lease, request)
            made = await choosing.each(lease, request.submits(client=call.client), fold)
        await call.reply(
            legacy_render.completion(identity, made, echoes, request.choices),
            headers=[faults.JSON_TYPE, *choosing.ignored_header(request.ignored)],
        )

    async def _relay(self, call: Call, request: CompletionRequest, events: EventStream) -> bytes:
        """Send all but the last events, and return those: they go out together."""
        async with await self._engines.lease(request.model) as lease:
            choosing.check_model(request.model, request.sampling, lease.ready)
            identity = self._identify(request, lease.ready)
            echoes = await _echoes(lease, request)

            async def relay(index: int, completion: choosing.Completion) -> tuple[bytes, Ended]:
                chunks = legacy_render.Chunks(
                    identity,
                    index,
                    echo=echoes[index // request.choices],
                    top_logprobs=request.sampling.top_logprobs,
                    include_usage=request.include_usage,
                )
                return await choosing.relay(completion, chunks, events)

            lasts = await choosing.each(lease, request.submits(client=call.client), relay)
        usage = b""
        if request.include_usage:
            ended = [one for _, one in lasts]
            usage = legacy_render.usage_chunk(identity, ended, request.choices)
        return b"".join(chunk for chunk, _ in lasts) + usage + DONE

    def _identify(self, request: CompletionRequest, ready: Ready) -> Identity:
        return Identity(
            id=f"cmpl-{secrets.token_hex(16)}",
            created_s=int(time.time()),
            model=request.model,
            fingerprint=fingerprint(self._version, ready),
        )


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
