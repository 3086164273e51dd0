"""Bodies of llama-server's own routes to frozen values (its README). Pure.

``model`` may be absent where nothing is generated: llama-server has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.api.fields import (
    Fields,
    Shape,
    array,
    as_integer,
    boolean,
    refuse,
    required,
    text,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.openai import adapters, generation, legacy_parse, sampling, structure
from runner.api.openai.legacy_parse import CompletionRequest, Prompt
from runner.wire.messages import (
    Detokenize,
    InfillPrompt,
    Snippet,
    Tokenize,
)

MAX_TOKENS = 2**20
MAX_TOKEN = 2**31 - 1
MAX_SNIPPETS = 1024
MAX_FILENAME_CHARACTERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """Which tokens a text is."""

    model: str | None
    question: Tokenize
    ignored: tuple[str, ...]  # names of fields that had no effect


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeRequest:
    """Which text tokens are."""

    model: str | None
    question: Detokenize
    ignored: tuple[str, ...]


# ---- fields ----------------------------------------------------------------------------------

CONTENT = required(text("content", "the text"))
ADD_SPECIAL = boolean("add_special", "whether the model's first and last tokens are added")
PARSE_SPECIAL = boolean("parse_special", "whether names of special tokens are read as tokens")
WITH_PIECES = boolean("with_pieces", "whether each token's text is told")
TOKENIZE = Shape(
    "tokenize", (generation.ANY_MODEL, CONTENT, ADD_SPECIAL, PARSE_SPECIAL, WITH_PIECES)
)

TOKENS = required(
    array(
        "tokens",
        "the tokens",
        {"items": {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN}, "maxItems": MAX_TOKENS},
    )
)
DETOKENIZE = Shape("detokenize", (generation.ANY_MODEL, TOKENS))

SNIPPET_TEXT = required(text("text", "what the file says"))
SNIPPET_NAME = text("filename", "its name", max_characters=MAX_FILENAME_CHARACTERS)
SNIPPET = Shape("snippet", (SNIPPET_TEXT, SNIPPET_NAME))
PREFIX = required(text("input_prefix", "what comes before the gap"))
SUFFIX = required(text("input_suffix", "what comes after it"))
EXTRA = array("input_extra", "texts of other files", {"items": SNIPPET, "maxItems": MAX_SNIPPETS})
START = text("prompt", "how the gap's text begins")
INFILL = Shape(
    "infill",
    (
        *generation.FIELDS,
        KEEP_ALIVE,
        PREFIX,
        SUFFIX,
        EXTRA,
        START,
        *structure.FIELDS,
        *sampling.FIELDS,
        sampling.LOGPROBS,
        sampling.TOP_LOGPROBS,
    ),
)

COMPLETION = Shape(
    "completion of llama-server",
    (
        *generation.FIELDS,
        *generation.CHOICES,
        KEEP_ALIVE,
        legacy_parse.PROMPT,
        *structure.FIELDS,
        *sampling.FIELDS,
    ),
)


# ---- parsing ---------------------------------------------------------------------------------


def parse_tokenize(body: dict[str, Any]) -> TokenizeRequest:
    """Read a body of ``/tokenize``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=TOKENIZE)
    return TokenizeRequest(
        model=fields.take(generation.ANY_MODEL),
        question=Tokenize(
            text=fields.take(CONTENT),
            add_special=fields.take(ADD_SPECIAL) or False,
            parse_special=fields.take(PARSE_SPECIAL) is not False,
            with_pieces=fields.take(WITH_PIECES) or False,
        ),
        ignored=tuple(fields),  # evaluated last: what nobody took
    )


def parse_detokenize(body: dict[str, Any]) -> DetokenizeRequest:
    """Read a body of ``/detokenize``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=DETOKENIZE)
    tokens = fields.take(TOKENS)
    if len(tokens) > MAX_TOKENS:
        refuse("tokens", f"at most {MAX_TOKENS} tokens", tokens)
    checked = (as_integer(each, f"tokens[{i}]", 0, MAX_TOKEN) for i, each in enumerate(tokens))
    return DetokenizeRequest(
        model=fields.take(generation.ANY_MODEL),
        question=Detokenize(tokens=tuple(checked)),
        ignored=tuple(fields),
    )


def parse_infill(body: dict[str, Any]) -> CompletionRequest:
    """Read a body of ``/infill``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=INFILL)
    prompt = InfillPrompt(
        prefix=fields.take(PREFIX),
        suffix=fields.take(SUFFIX),
        extra=_parse_extra(fields),
        start=fields.take(START) or "",
    )
    top_logprobs = sampling.parse_logprobs(fields)
    return _complete(fields, (prompt,), choices=1, top_logprobs=top_logprobs)


def parse_completion(body: dict[str, Any]) -> CompletionRequest:
    """Read a body of ``/completion``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=COMPLETION)
    prompts = legacy_parse.parse_prompts(fields.take(legacy_parse.PROMPT))
    choices = generation.parse_choices(fields)
    legacy_parse.check_count(prompts, choices)
    return _complete(fields, prompts, choices=choices, top_logprobs=None)


def _complete(
    fields: Fields, prompts: tuple[Prompt, ...], *, choices: int, top_logprobs: int | None
) -> CompletionRequest:
    """Read what all routes for text have."""
    ignored: dict[str, None] = {}
    return CompletionRequest(
        model=fields.take(generation.MODEL),
        prompts=prompts,
        sampling=sampling.parse(
            fields, json_schema=structure.parse(fields, ignored), top_logprobs=top_logprobs
        ),
        max_tokens=generation.parse_max_tokens(fields),
        stop=fields.take(generation.STOP) or (),
        choices=choices,
        echo=False,
        stream=fields.take(generation.STREAM) or False,
        include_usage=False,
        cache_prompt=fields.take(generation.CACHE_PROMPT) is not False,
        adapters=fields.take(adapters.LORA),
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


def _parse_extra(fields: Fields) -> tuple[Snippet, ...]:
    snippets = fields.take(EXTRA) or []
    if len(snippets) > MAX_SNIPPETS:
        refuse("input_extra", f"at most {MAX_SNIPPETS} texts", snippets)
    return tuple(_parse_snippet(each, f"input_extra[{i}]") for i, each in enumerate(snippets))


def _parse_snippet(value: Any, param: str) -> Snippet:
    fields = SNIPPET.open(value, param)
    return Snippet(text=fields.take(SNIPPET_TEXT), filename=fields.take(SNIPPET_NAME) or "file")
