"""The fields of every request for text: model, length, stop, choices, stream. Pure.

Each function takes its fields, and raises INVALID_REQUEST naming the one at fault.
"""

from __future__ import annotations

from runner.api.fields import Fields, as_text, refuse
from runner.errors import Kind, RunnerError

MAX_CHOICES = 16
MAX_TOKENS = 2**31 - 1
MAX_MODEL_CHARACTERS = 512
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1024

# They steer llama-server's inside: slots, files, other users' caches, unchecked grammars.
PRIVATE = frozenset(
    {
        "backend_sampling",
        "chat_format",
        "chat_parser",
        "generation_prompt",
        "grammar",
        "grammar_lazy",
        "grammar_triggers",
        "grammar_type",
        "id_slot",
        "lora",
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
    }
)


def parse_model(fields: Fields) -> str:
    """Take the name of the model."""
    model = fields.text("model", max_characters=MAX_MODEL_CHARACTERS)
    if not model or not model.strip():
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "model is required",
            hint="GET /v1/models lists the models of this server",
            param="model",
        )
    return model


def refuse_private(fields: Fields) -> None:
    """Refuse the fields that are not for clients."""
    for name in fields:
        if name in PRIVATE or name.startswith("speculative."):
            hint = "use response_format with a JSON schema" if name == "grammar" else None
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{name[:80]} is private to the engine and is not taken from clients",
                hint=hint,
                param=name[:80],
            )


def parse_max_tokens(fields: Fields) -> int | None:
    """Read the three names of one limit; -1 is llama-server's "until the context is full"."""
    given = {
        name: fields.integer(name, -1, MAX_TOKENS)
        for name in ("n_predict", "max_completion_tokens", "max_tokens")
    }
    limits = {limit for limit in given.values() if limit is not None}
    if len(limits) > 1:
        names = " and ".join(name for name, limit in given.items() if limit is not None)
        raise RunnerError(
            Kind.INVALID_REQUEST, f"{names} name different limits; send one", param="max_tokens"
        )
    limit = next(iter(limits), -1)
    return None if limit == -1 else limit


def parse_stop(fields: Fields) -> tuple[str, ...]:
    """Take the texts to stop at, each once."""
    value = fields.take("stop")
    if value is None:
        return ()
    array = [value] if isinstance(value, str) else value
    if not isinstance(array, list) or len(array) > MAX_STOPS:
        refuse("stop", f"a string or an array of at most {MAX_STOPS} strings", value)
    for index, item in enumerate(array):
        param = "stop" if isinstance(value, str) else f"stop[{index}]"
        if not as_text(item, param, MAX_STOP_CHARACTERS):
            refuse(param, "a string that is not empty", item)
    return tuple(dict.fromkeys(array))


def parse_choices(fields: Fields) -> int:
    """Take how many answers are wanted."""
    names = ("n", "n_cmpl")
    counts = [fields.integer(name, 1, MAX_CHOICES) for name in names]
    return next((count for count in counts if count is not None), 1)


def parse_stream_options(fields: Fields, ignored: dict[str, None]) -> bool:
    """Take the options; return whether a stream ends with its usage."""
    options = Fields(fields.object("stream_options") or {}, "stream_options.")
    include_usage = options.boolean("include_usage") or False
    options.drop(["include_obfuscation"])  # padding against a listener on the network path
    ignored.update(dict.fromkeys(f"stream_options.{name}" for name in options))
    return include_usage
