"""The body of a request of OpenAI's legacy completions to one frozen value. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.api.asking import sampling_of
from runner.api.fields import (
    Fields,
    Shape,
    anything,
    as_array,
    as_integer,
    as_text,
    boolean,
    integer,
    refuse,
    required,
    text,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.openai import adapters, generation, sampling, structure
from runner.errors import Kind, RunnerError
from runner.wire.messages import (
    AdapterScale,
    InfillPrompt,
    Sampling,
    Submit,
    TextPrompt,
    TokenPrompt,
)

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
    adapters: tuple[AdapterScale, ...] | None
    keep_alive_s: float | None
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
                adapters=self.adapters,
                prompt_logprobs=self.echo and self.sampling.top_logprobs is not None,
            )
            for prompt in self.prompts
            for choice in range(self.choices)
        ]


PROMPT = required(
    anything(
        "prompt",
        "what is continued: a text, tokens, or an array of either",
        {"type": ["string", "array"], "minItems": 1, "maxItems": MAX_TOKENS},
    )
)
SUFFIX = text("suffix", "what follows the gap that is filled, where the model can fill gaps")
ECHO = boolean("echo", "whether the answer begins with the prompt, and so do its `logprobs`")
LOGPROBS = integer(
    "logprobs", "tell so many likely tokens at each place", 0, sampling.MAX_TOP_LOGPROBS
)
BEST_OF = integer("best_of", "only what n is: all that is made is given", 1, generation.MAX_CHOICES)

SHAPE = Shape(
    "completion",
    (
        *generation.FIELDS,
        *generation.CHOICES,
        generation.STREAM_OPTIONS,
        KEEP_ALIVE,
        PROMPT,
        SUFFIX,
        ECHO,
        LOGPROBS,
        BEST_OF,
        *structure.FIELDS,
        *sampling.FIELDS,
    ),
)


def parse(body: dict[str, Any]) -> CompletionRequest:
    """Read a request; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=SHAPE)
    ignored: dict[str, None] = {}
    model = fields.take(generation.MODEL)
    prompts = _with_suffix(parse_prompts(fields.take(PROMPT)), fields.take(SUFFIX))
    choices = generation.parse_choices(fields)
    check_count(prompts, choices)
    _check_best_of(fields.take(BEST_OF), choices)
    stream = fields.take(generation.STREAM) or False
    return CompletionRequest(
        model=model,
        prompts=prompts,
        sampling=sampling.parse(
            fields,
            json_schema=structure.parse(fields, ignored),
            top_logprobs=fields.take(LOGPROBS),
        ),
        max_tokens=generation.parse_max_tokens(fields),
        stop=fields.take(generation.STOP) or (),
        choices=choices,
        echo=fields.take(ECHO) or False,
        stream=stream,
        include_usage=generation.parse_stream_options(fields, ignored) and stream,
        cache_prompt=fields.take(generation.CACHE_PROMPT) is not False,
        adapters=fields.take(adapters.LORA),
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


# ---- prompts ---------------------------------------------------------------------------------


def parse_prompts(value: Any) -> tuple[TextPrompt | TokenPrompt, ...]:
    """Read a text, an array of texts, an array of tokens, or an array of arrays of tokens."""
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


def check_count(prompts: Sequence[Prompt], choices: int) -> None:
    """Raise INVALID_REQUEST when all prompts together would have too many completions."""
    if len(prompts) * choices > MAX_CHOICES:
        refuse("prompt", f"at most {MAX_CHOICES} completions of all prompts", list(prompts))


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


def _with_suffix(
    prompts: Sequence[TextPrompt | TokenPrompt], suffix: str | None
) -> tuple[Prompt, ...]:
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


def _check_best_of(best_of: int | None, choices: int) -> None:
    """Nothing is computed to be thrown away: every completion that is made is given."""
    if best_of not in (None, choices):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"best_of: expected {choices}, which is n, got {best_of}",
            hint="leave it out; ask for all with n and logprobs, and choose among them",
            param="best_of",
        )
