"""From a submit to a tokenised prompt with a generator: what needs no engine thread."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from runner.binding import Code, NativeError
from runner.engine import SequenceRequest
from runner.engine.admission import too_long
from runner.errors import Kind, RunnerError
from runner.wire.messages import (
    ChatPrompt,
    InfillPrompt,
    Prompt,
    RequestId,
    Sampling,
    Submit,
    TextPrompt,
    TokenPrompt,
)
from runner.worker.adapters import LoadedAdapters
from runner.worker.conversation import Conversations, Turn
from runner.worker.infill import InfillTokens, infill_tokens
from runner.worker.llama import MAX_TOP_LOGPROBS
from runner.worker.media import Seeing, Unencoded
from runner.worker.number_bounds import NumberBounds
from runner.worker.parsing import Parser
from runner.worker.saved import SavedText

MAX_SCORES = 2**18  # of a prompt's tokens and the likeliest ones at their places: one message
TAIL_TOKENS = 64  # llama.cpp keeps at least so many for its penalties

Limit = Callable[[int], AbstractContextManager[None]]  # a time limit for one id
Least = Callable[[int], None]  # hears how many tokens there will be at least; raises RunnerError


class Tokenizer(Protocol):
    """The part of ``binding.Model`` that is used here."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Tokens of a text."""
        ...


class Generators(Protocol):
    """The part of ``binding.Context`` that is used here."""

    def new_generator(self, settings: dict[str, Any]) -> int:
        """Make a generator."""
        ...

    def schema_to_grammar(self, schema_json: str) -> str:
        """GBNF of a JSON schema."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request the scheduler can take, the stop strings its generator scans for, and its parser.

    ``stored`` is a text of an earlier life of the model that begins like the prompt. ``media`` is
    what must be encoded before the scheduler takes it.
    """

    request: SequenceRequest
    stops: tuple[str, ...]
    parser: Parser | None = None  # None: the text is content as it comes
    stored: SavedText | None = None
    media: Unencoded | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt's tokens, and the turn of a conversation that they came from.

    With ``media``, which is to be closed, some of the tokens are names of rows.
    """

    tokens: Sequence[int]
    text: str | None = None  # None: it began as tokens
    turn: Turn | None = None
    media: Unencoded | None = None

    def close(self) -> None:
        """Free what the media hold, where they will not be encoded."""
        if self.media is not None:
            self.media.parts.close()


@dataclass(frozen=True, slots=True)
class Prompter:
    """Prepares requests of one model. Any thread may call it."""

    tokenizer: Tokenizer
    conversations: Conversations | None
    no_template: str  # why there are none
    generators: Generators | None  # None: an embedding or reranking model
    context_size: int
    vocabulary: int  # tokens
    token_bytes: int  # of ``rn_model_info``
    infill: InfillTokens
    penalty_tokens: int  # the model's own wish for repeat_last_n; 0: none
    adapters: LoadedAdapters = field(default_factory=LoadedAdapters)
    seeing: Seeing | None = None  # None: the model takes text only

    def prepare(self, submit: Submit, deadline_s: float | None, limit: Limit) -> Prepared:
        """Render, tokenise, and make the generator.

        ``limit`` guards the rendering, the only part that runs foreign code. Raises RunnerError:
        TEMPLATE_ERROR, or INVALID_REQUEST with the parameter at fault.
        """
        if self.generators is None:
            message = "this is an embedding or reranking model: it does not generate text"
            raise RunnerError(Kind.MODEL_NOT_SUPPORTED, message, param="model")
        adapters = self.adapters.choose(submit.adapters)
        schema = submit.sampling.json_schema
        rendered = self.render(
            submit.prompt, submit.id, limit, self._check_context, json_schema=schema
        )
        tokens, turn = rendered.tokens, rendered.turn
        stops = submit.stop + (turn.stops if turn is not None else ())
        generator, fits = None, 0 < len(tokens) < self.context_size
        try:
            scored_top = _scored_top(submit, len(tokens))
            if submit.max_tokens != 0 and fits:
                generator = self._new_generator(submit, turn, stops)
        except RunnerError:
            rendered.close()
            raise
        if not fits:
            rendered.close()  # the scheduler refuses it: nothing is to be encoded
        request = SequenceRequest(
            submit.id,
            tuple(tokens),
            generator,
            max_tokens=submit.max_tokens,
            tail_tokens=self._tail_tokens(submit.sampling),
            shares_prefix=submit.cache_prompt,
            client=submit.client,
            deadline_s=deadline_s,
            adapters=adapters,
            scored_top=scored_top,
        )
        return Prepared(
            request, stops, self._open_parser(submit, turn), media=rendered.media if fits else None
        )

    def render(
        self,
        prompt: Prompt,
        id: RequestId,
        limit: Limit,
        check_least: Least,
        *,
        json_schema: str | None = None,
    ) -> Rendered:
        """Make tokens of a prompt. Raises RunnerError as :meth:`prepare` does.

        ``check_least`` can refuse a text that is far too long before it is tokenised.
        """
        match prompt:
            case ChatPrompt():
                return self._render_chat(prompt, id, limit, check_least, json_schema)
            case TextPrompt(text=text):
                check_least(least_tokens(self.token_bytes, text))
                return Rendered(self._tokenize(text), text)
            case TokenPrompt(tokens=tokens):
                self.check_tokens(tokens, "prompt")
                return Rendered(tokens)
            case InfillPrompt():
                files = (snippet.text for snippet in prompt.extra)
                texts = (prompt.prefix, prompt.suffix, prompt.start, *files)
                check_least(least_tokens(self.token_bytes, *texts))
                return Rendered(infill_tokens(prompt, self.infill, self._tokenize_plain))

    def check_tokens(self, tokens: Sequence[int], param: str) -> None:
        """Raise RunnerError(INVALID_REQUEST) for a token that the model does not have."""
        for index, token in enumerate(tokens):
            if not 0 <= token < self.vocabulary:
                raise RunnerError(
                    Kind.INVALID_REQUEST,
                    f"token {token} (the one at index {index}) is not in the vocabulary of this "
                    f"model, which ends at {self.vocabulary - 1}",
                    param=param,
                )

    def _check_context(self, least: int) -> None:
        if least >= self.context_size:
            raise too_long(least, self.context_size, is_least=True)

    def _tokenize(self, text: str) -> list[int]:
        return self.tokenizer.tokenize(text, add_special=True, parse_special=True)

    def _tokenize_plain(self, text: str) -> list[int]:
        return self.tokenizer.tokenize(text, add_special=False, parse_special=False)

    def _render_chat(
        self,
        prompt: ChatPrompt,
        id: RequestId,
        limit: Limit,
        check_least: Least,
        json_schema: str | None,
    ) -> Rendered:
        if self.conversations is None:
            raise RunnerError(Kind.TEMPLATE_ERROR, self.no_template)
        try:
            with limit(id):
                turn = self.conversations.render(prompt, json_schema, now_s=int(time.time()))
        except NativeError as error:
            self.conversations.check_tools(prompt)
            if error.code is Code.GRAMMAR:
                raise RunnerError(Kind.INVALID_REQUEST, error.message, param="tools") from error
            raise RunnerError(Kind.TEMPLATE_ERROR, error.message, param="messages") from error
        check_least(least_tokens(self.token_bytes, turn.text))
        if not turn.media:
            return Rendered(self._tokenize(turn.text), turn.text, turn)
        assert self.seeing is not None, "a marker without a projector"
        tokens, media = self.seeing.read(turn.text, turn.media)
        return Rendered(tokens, turn.text, turn, media)

    def _open_parser(self, submit: Submit, turn: Turn | None) -> Parser | None:
        if self.conversations is None or turn is None or turn.parser is None:
            return None
        parser = self.conversations.open_parser(turn.parser)
        prompt = submit.prompt
        if isinstance(prompt, ChatPrompt) and prompt.continue_final_message:
            parser.feed("")  # what the prompt holds of the answer is known to who asks
        return parser

    def _new_generator(self, submit: Submit, turn: Turn | None, stops: tuple[str, ...]) -> int:
        sampling = submit.sampling
        if (sampling.top_logprobs or 0) > MAX_TOP_LOGPROBS:
            message = f"at most {MAX_TOP_LOGPROBS} top_logprobs are given"
            raise RunnerError(Kind.INVALID_REQUEST, message, param="top_logprobs")
        settings = generator_settings(submit, stops, context_size=self.context_size)
        if turn is not None:
            settings["preserved_tokens"] = turn.preserved_tokens
            if turn.budget is not None:
                settings["reasoning_budget"] = turn.budget
            if turn.grammar:
                settings.pop("json_schema", None)  # it is part of that grammar
                settings |= turn.grammar
        assert self.generators is not None
        try:
            if schema := settings.get("json_schema"):
                numbers = NumberBounds()
                held = numbers.held(json.loads(schema), "response_format")
                if numbers.rules:  # else the shim makes the grammar, and keeps it for the next
                    grammar = self.generators.schema_to_grammar(json.dumps(held))
                    settings["grammar"] = numbers.settled(grammar)
                    del settings["json_schema"]
            return self.generators.new_generator(settings)
        except NativeError as error:
            raise _refusal(error, submit) from error

    def _tail_tokens(self, sampling: Sampling) -> int:
        wanted = [TAIL_TOKENS, self.penalty_tokens]
        for wish in (sampling.repeat_last_n, sampling.dry_penalty_last_n):
            wanted.append(self.context_size if wish == -1 else wish or 0)
        return max(wanted)


def _scored_top(submit: Submit, tokens: int) -> int | None:
    """Say how many likeliest tokens are told beside each of the prompt's; None: not even those."""
    if not submit.prompt_logprobs:
        return None
    top = submit.sampling.top_logprobs or 0
    if tokens * (1 + top) > MAX_SCORES:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"logprobs: {tokens} tokens of an echoed prompt with {top} likely ones at each place "
            f"are more than the {MAX_SCORES} that one answer tells",
            hint="ask for fewer, or echo a shorter prompt",
            param="logprobs",
        )
    return top


def least_tokens(token_bytes: int, *texts: str) -> int:
    """Return how many tokens texts have at least, where ``token_bytes`` of ``rn_model_info`` tells.

    A character is a byte or more, so that nothing has to be encoded for it.
    """
    return sum(map(len, texts)) // token_bytes if token_bytes else 0


def generator_settings(
    submit: Submit, stops: tuple[str, ...], *, context_size: int
) -> dict[str, Any]:
    """Write a request's sampling as ``rn_gen_new`` takes it; ``None`` leaves it to the model."""
    settings = {
        name: value
        for name, value in msgspec.structs.asdict(submit.sampling).items()
        if value is not None
    }
    for name in ("repeat_last_n", "dry_penalty_last_n"):
        if settings.get(name) == -1:
            settings[name] = context_size
    settings["logit_bias"] = [
        [token, False if bias == -math.inf else bias] for token, bias in submit.sampling.logit_bias
    ]
    settings["stop"] = stops
    if submit.max_tokens is not None:
        settings["max_tokens"] = submit.max_tokens
    return settings


def _refusal(error: NativeError, submit: Submit) -> RunnerError:
    if error.code is Code.GRAMMAR:
        param = "grammar" if submit.sampling.json_schema is None else "response_format"
        if isinstance(submit.prompt, ChatPrompt) and submit.prompt.tools_json is not None:
            param = "tools"
        return RunnerError(Kind.INVALID_REQUEST, f"{param}: {error.message}", param=param)
    if error.code is Code.ARGUMENT:  # "name: what is wrong"
        name = error.message.partition(":")[0]
        return RunnerError(
            Kind.INVALID_REQUEST, error.message, param=name if name.isidentifier() else None
        )
    kind = Kind.BUSY if error.code is Code.STATE else Kind.INTERNAL
    return RunnerError(kind, error.message)
