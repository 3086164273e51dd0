"""The body of a request of OpenAI's legacy completions to one frozen value. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.asking import sampling_of
from runner.api.fields import Fields, as_array, as_integer, as_text, refuse
from runner.api.openai import generation, sampling, structure
from runner.errors import Kind, RunnerError
from runner.wire.messages import InfillPrompt, Sampling, Submit, TextPrompt, TokenPrompt

MAX_CHOICES = 128  # of all prompts together
MAX_TOKENS = 2**20  # of one prompt
MAX_TOKEN = 2**31 - 1

Prompt = TextPrompt | TokenPrompt | InfillPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One request, valid but for what only the loaded model can tell."""

    model: str
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    choices: int  # of each prompt
    echo: bool
    stream: bool
    include_usage: bool
    cache_prompt: bool
    ignored: tuple[str, ...]  # names of fields that had no effect

    def submits(self, *, client: str) -> list[Submit]:
        """Return what the engine is asked: the choices of the first prompt, then of the next."""
        return [
            Submit(
                id=0,
                prompt=prompt,
                sampling=sampling_of(self.sampling, choice),
                max_tokens=self.max_tokens,
                stop=self.stop,
                cache_prompt=self.cache_prompt,
                client=client,
            )
            for prompt in self.prompts
            for choice in range(self.choices)
        ]


def parse(body: dict[str, Any]) -> CompletionRequest:
    """Read a request; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body)
    ignored: dict[str, None] = {}
    model = generation.parse_model(fields)
    generation.refuse_private(fields)
    prompts = _with_suffix(_parse_prompts(fields), fields)
    choices = generation.parse_choices(fields)
    if len(prompts) * choices > MAX_CHOICES:
        refuse("prompt", f"at most {MAX_CHOICES} completions of all prompts", list(prompts))
    _check_best_of(fields, choices)
    echo = fields.boolean("echo") or False
    stream = fields.boolean("stream") or False
    return CompletionRequest(
        model=model,
        prompts=prompts,
        sampling=_parse_sampling(fields, ignored, echo=echo),
        max_tokens=generation.parse_max_tokens(fields),
        stop=generation.parse_stop(fields),
        choices=choices,
        echo=echo,
        stream=stream,
        include_usage=generation.parse_stream_options(fields, ignored) and stream,
        cache_prompt=fields.boolean("cache_prompt") is not False,
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


# ---- prompts ---------------------------------------------------------------------------------


def _parse_prompts(fields: Fields) -> tuple[TextPrompt | TokenPrompt, ...]:
    """Read a text, an array of texts, an array of tokens, or an array of arrays of tokens."""
    value = fields.take("prompt")
    if value is None:
        raise RunnerError(Kind.INVALID_REQUEST, "prompt is required", param="prompt")
    if isinstance(value, str):
        return (TextPrompt(text=value),)
    array = as_array(value, "prompt")
    if not array:
        refuse("prompt", "a text, texts, tokens, or arrays of tokens", array)
    if not isinstance(array[0], str | list):
        return (_parse_tokens(array, "prompt"),)
    if len(array) > MAX_CHOICES:
        refuse("prompt", f"at most {MAX_CHOICES} prompts", array)
    return tuple(_parse_prompt(item, f"prompt[{index}]") for index, item in enumerate(array))


def _parse_prompt(value: Any, param: str) -> TextPrompt | TokenPrompt:
    if isinstance(value, list):
        return _parse_tokens(value, param)
    return TextPrompt(text=as_text(value, param))


def _parse_tokens(array: list[Any], param: str) -> TokenPrompt:
    if not 1 <= len(array) <= MAX_TOKENS:
        refuse(param, f"1 to {MAX_TOKENS} tokens", array)
    return TokenPrompt(
        tokens=tuple(
            as_integer(item, f"{param}[{index}]", 0, MAX_TOKEN) for index, item in enumerate(array)
        )
    )


def _with_suffix(prompts: Sequence[TextPrompt | TokenPrompt], fields: Fields) -> tuple[Prompt, ...]:
    suffix = fields.text("suffix")
    if not suffix:
        return tuple(prompts)
    made: list[Prompt] = []
    for prompt in prompts:
        if isinstance(prompt, TokenPrompt):
            raise RunnerError(
                Kind.INVALID_REQUEST, "suffix goes with a prompt of text", param="suffix"
            )
        made.append(InfillPrompt(prefix=prompt.text, suffix=suffix))
    return tuple(made)


# ---- sampling --------------------------------------------------------------------------------


def _parse_sampling(fields: Fields, ignored: dict[str, None], *, echo: bool) -> Sampling:
    logprobs = fields.integer("logprobs", 0, sampling.MAX_TOP_LOGPROBS)
    if echo and logprobs is not None:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "echo: the log-probabilities of a prompt are not computed",
            hint="send echo or logprobs",
            param="echo",
        )
    parsed = sampling.parse(fields, json_schema=structure.parse(fields, ignored))
    if logprobs is None:
        return parsed
    return msgspec.structs.replace(parsed, top_logprobs=logprobs)


def _check_best_of(fields: Fields, choices: int) -> None:
    """Nothing is computed to be thrown away: every completion that is made is given."""
    best_of = fields.integer("best_of", 1, generation.MAX_CHOICES)
    if best_of not in (None, choices):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"best_of: expected {choices}, which is n, got {best_of}",
            hint="leave it out; ask for all with n and logprobs, and choose among them",
            param="best_of",
        )
