"""The fields of every request for text: model, length, stop, choices, stream. Pure.

Each function takes its fields, and raises INVALID_REQUEST naming the one at fault.
"""

from __future__ import annotations

from typing import Any

from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    as_text,
    boolean,
    integer,
    nested,
    refuse,
    required,
)
from runner.api.openai import adapters
from runner.errors import Kind, RunnerError

MAX_CHOICES = 16
MAX_TOKENS = 2**31 - 1
MAX_MODEL_CHARACTERS = 512
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1024


def _read_model(value: Any, param: str) -> str:
    name = as_text(value, param, MAX_MODEL_CHARACTERS)
    if not name.strip():
        refuse(param, "the name of a model", value)
    return name


def _read_stop(value: Any, param: str) -> tuple[str, ...]:
    """Read the texts to stop at, each once."""
    array = [value] if isinstance(value, str) else value
    if not isinstance(array, list) or len(array) > MAX_STOPS:
        refuse(param, f"a string or an array of at most {MAX_STOPS} strings", value)
    for index, item in enumerate(array):
        place = param if isinstance(value, str) else f"{param}[{index}]"
        if not as_text(item, place, MAX_STOP_CHARACTERS):
            refuse(place, "a string that is not empty", item)
    return tuple(dict.fromkeys(array))


# ---- fields ----------------------------------------------------------------------------------

ANY_MODEL = Field(
    "model",
    "which model answers",
    {"type": "string", "minLength": 1, "maxLength": MAX_MODEL_CHARACTERS},
    _read_model,
)
MODEL = required(ANY_MODEL, "GET /v1/models lists the models of this server")

LENGTHS = tuple(
    integer(
        name,
        f"the most tokens that are generated; -1: until the context is full{more}",
        -1,
        MAX_TOKENS,
    )
    for name, more in (
        ("n_predict", " (llama-server's name)"),
        ("max_completion_tokens", ""),
        ("max_tokens", " (the older name)"),
    )
)
STOP = Field(
    "stop",
    "texts that end the answer; they are not part of it",
    {
        "type": ["string", "array"],
        "minLength": 1,
        "maxLength": MAX_STOP_CHARACTERS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS},
        "maxItems": MAX_STOPS,
    },
    _read_stop,
)
CHOICES = (
    integer("n", "how many answers are made", 1, MAX_CHOICES),
    integer("n_cmpl", "how many answers are made (llama-server's name)", 1, MAX_CHOICES),
)
STREAM = boolean("stream", "whether the answer is sent as it is made")
INCLUDE_USAGE = boolean("include_usage", "whether a last chunk counts the tokens")
STREAM_OPTIONS = nested(
    "stream_options",
    "how an answer is streamed",
    Shape(
        "stream options",
        (INCLUDE_USAGE, Ignored("include_obfuscation", "chunks are not padded")),
    ),
)
CACHE_PROMPT = boolean("cache_prompt", "whether what earlier requests left may be used again")

_PRIVATE = "is private to the engine and is not taken from clients"
# They steer llama-server's inside: slots, files, other users' caches, unchecked grammars.
PRIVATE = (
    Refused("grammar", _PRIVATE, "use response_format with a JSON schema"),
    *(
        Refused(name, _PRIVATE)
        for name in (
            "backend_sampling",
            "chat_format",
            "chat_parser",
            "generation_prompt",
            "grammar_lazy",
            "grammar_triggers",
            "grammar_type",
            "id_slot",
            "n_cache_reuse",
            "n_discard",
            "n_keep",
            "parse_tool_calls",
            "preserved_tokens",
            "reasoning_control",
            "reasoning_budget_start_tag",
            "reasoning_budget_end_tag",
            "reasoning_budget_end_tags",
            "slot_id",
            "speculative.n_max",
            "speculative.n_min",
            "speculative.ngram_min_hits",
            "speculative.ngram_size_m",
            "speculative.ngram_size_n",
            "speculative.p_min",
            "speculative.type",
            "speculative.types",
        )
    ),
)
_OTHER_STRUCTURE = "is vLLM's way to ask for a structure, and is not supported"
FOREIGN = tuple(
    Refused(name, _OTHER_STRUCTURE, "use response_format with a JSON schema")
    for name in (
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "structured_outputs",
    )
)
UNUSED = (
    Ignored("n_indent", "lines are not indented by force"),
    Ignored("post_sampling_probs", "probabilities are those before sampling"),
    Ignored("response_fields", "answers are whole"),
    Ignored("return_progress", "streams do not tell how a prompt is read"),
    Ignored("return_tokens", "answers are text"),
    Ignored("sse_ping_interval", "the server chooses when to send heartbeats"),
    Ignored("t_max_predict_ms", "only tokens limit an answer's length"),
    Ignored("timings_per_token", "timings are told once, at the end"),
    Ignored("user", "clients are told apart by address and key"),
    Ignored("verbose", "answers do not hold the engine's inside"),
)

# Of all requests for text, whatever they are of.
FIELDS: tuple[Field[Any] | Ignored | Refused, ...] = (
    MODEL,
    STREAM,
    *LENGTHS,
    STOP,
    CACHE_PROMPT,
    adapters.LORA,
    *UNUSED,
    *PRIVATE,
    *FOREIGN,
)


# ---- readers ---------------------------------------------------------------------------------


def parse_max_tokens(fields: Fields) -> int | None:
    """Read the three names of one limit; -1 is llama-server's "until the context is full"."""
    given = {length.name: fields.take(length) for length in LENGTHS}
    limits = {limit for limit in given.values() if limit is not None}
    if len(limits) > 1:
        names = " and ".join(name for name, limit in given.items() if limit is not None)
        raise RunnerError(
            Kind.INVALID_REQUEST, f"{names} name different limits; send one", param="max_tokens"
        )
    limit = next(iter(limits), -1)
    return None if limit == -1 else limit


def parse_choices(fields: Fields) -> int:
    """Take how many answers are wanted."""
    counts = [fields.take(name) for name in CHOICES]
    return next((count for count in counts if count is not None), 1)


def parse_stream_options(fields: Fields, ignored: dict[str, None]) -> bool:
    """Take the options; return whether a stream ends with its usage."""
    options = fields.take(STREAM_OPTIONS)
    if options is None:
        return False
    include_usage = options.take(INCLUDE_USAGE) or False
    ignored.update(dict.fromkeys(f"stream_options.{name}" for name in options))
    return include_usage
