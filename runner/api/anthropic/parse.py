"""The body of a Messages request to one frozen value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from runner.api.anthropic import messages, tools
from runner.api.anthropic.typed import TYPE, Typed, note_rest, one
from runner.api.asking import ChatRequest
from runner.api.fields import (
    NO_LIMIT,
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    integer,
    members,
    nested,
    number,
    required,
    word,
)
from runner.api.openai import generation, media, structure
from runner.api.openai.messages import Message
from runner.api.openai.translated import prompt_of
from runner.errors import Kind, RunnerError
from runner.wire.messages import Sampling

MAX_TOKENS = integer(
    "max_tokens",
    "the most tokens that are generated; without it, until the context is full",
    1,
    generation.MAX_TOKENS,
)
STOP_SEQUENCES = Field(
    "stop_sequences", "texts that end the answer", generation.STOP.schema, generation.STOP.read
)
TEMPERATURE = number("temperature", "how random tokens are chosen; 0: the likeliest", 0.0, NO_LIMIT)
TOP_P = number("top_p", "keep the likeliest tokens that have this share together", 0.0, 1.0)
TOP_K = integer("top_k", "keep so many of the likeliest tokens; 0: all", 0, 2**31 - 1)

BUDGET = integer("budget_tokens", "tokens a thought may have before it is ended", 1, 2**31 - 1)
DISPLAY = word(
    "display", "whether thinking is sent, or only that there was", ("summarized", "omitted")
)
THINKING = one(
    "thinking",
    "whether the model thinks before it answers; without it it does not, where it can do without",
    {
        "enabled": Shape("thinking enabled", (TYPE, DISPLAY, BUDGET)),
        "adaptive": Shape("thinking adaptive", (TYPE, DISPLAY)),
        "between_tools": Shape("thinking between tools", (TYPE,)),
        "disabled": Shape("thinking disabled", (TYPE,)),
    },
)

SCHEMA = required(members("schema", "the JSON schema of the answer, which it is held to"))
FORMAT = one(
    "format", "the structure of the answer", {"json_schema": Shape("format", (TYPE, SCHEMA))}
)
EFFORT = word("effort", "told to the template", ("low", "medium", "high", "xhigh", "max"))
OUTPUT_CONFIG = nested(
    "output_config", "what the answer is like", Shape("output config", (EFFORT, FORMAT))
)

_UNKNOWN_HERE = "has no meaning on a server of one's own"
SHAPE = Shape(
    "messages request",
    (
        generation.MODEL,
        messages.MESSAGES,
        messages.SYSTEM,
        MAX_TOKENS,
        STOP_SEQUENCES,
        generation.STREAM,
        TEMPERATURE,
        TOP_P,
        TOP_K,
        THINKING,
        tools.TOOLS,
        tools.TOOL_CHOICE,
        OUTPUT_CONFIG,
        Ignored("cache_control", "every prompt is cached, as far as there is memory"),
        Ignored("context_management", "the client decides what it sends"),
        Ignored("diagnostics", "usage tells what was found in the cache"),
        Ignored("inference_geo", _UNKNOWN_HERE),
        Ignored("metadata", "clients are told apart by address and key"),
        Ignored("service_tier", _UNKNOWN_HERE),
        Ignored("speed", "it is always as fast as it can"),
        Ignored("user_profile_id", _UNKNOWN_HERE),
        Refused("container", "asks for a sandbox, which this server has not"),
        Refused("mcp_servers", "asks the server to call others; let the client call them"),
        Refused("output_format", "is an old name", "send output_config.format"),
        Refused("thread", "asks for a conversation kept here; send all of its messages"),
    ),
)

Shows = Literal["all", "omitted", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest(ChatRequest):
    """A chat request whose answer is told as a message."""

    shows_thinking: Shows


def parse(body: dict[str, Any]) -> MessagesRequest:
    """Read a request; raise INVALID_REQUEST or MODEL_NOT_SUPPORTED naming the field at fault."""
    fields = Fields(body, shape=SHAPE)
    ignored: dict[str, None] = {}
    conversation = messages.parse(fields, ignored)
    _check_end(conversation)
    asked = tools.parse(fields, ignored)
    effort, json_schema = _parse_output(fields.take(OUTPUT_CONFIG), ignored)
    thinks, budget, shows = _parse_thinking(fields.take(THINKING), ignored)
    return MessagesRequest(
        model=fields.take(generation.MODEL),
        prompt=prompt_of(conversation, asked, thinks=thinks, effort=effort, budget=budget),
        sampling=Sampling(
            temperature=fields.take(TEMPERATURE),
            top_p=fields.take(TOP_P),
            top_k=fields.take(TOP_K),
            json_schema=json_schema,
        ),
        max_tokens=fields.take(MAX_TOKENS),
        stop=fields.take(STOP_SEQUENCES) or (),
        choices=1,
        stream=fields.take(generation.STREAM) or False,
        include_usage=False,
        cache_prompt=True,
        shows_thinking=shows,
        remote=media.remote_files(conversation),
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


def _check_end(conversation: list[Message]) -> None:
    """A call that ends the conversation has no answer to go on from."""
    if "tool_calls" in conversation[-1]:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "messages: the last ends with a tool_use; send its tool_result, too",
            param="messages",
        )


def _parse_thinking(
    thinking: Typed | None, ignored: dict[str, None]
) -> tuple[bool, int | None, Shows]:
    """Return whether to think, how much, and what is sent of it.

    A client that asked for no thinking reads the first block as the answer: it gets no other first,
    even from a model that cannot but think.
    """
    if thinking is None:
        return False, None, "nothing"
    kind, fields = thinking
    budget = fields.take(BUDGET) if kind == "enabled" else None
    display = fields.take(DISPLAY) if kind in ("enabled", "adaptive") else None
    note_rest(fields, ignored)
    if kind == "disabled":
        return False, None, "nothing"
    return True, budget, "omitted" if display == "omitted" else "all"


def _parse_output(config: Fields | None, ignored: dict[str, None]) -> tuple[str | None, str | None]:
    """Return the effort and the schema of the answer, as JSON text."""
    if config is None:
        return None, None
    effort, form = config.take(EFFORT), config.take(FORMAT)
    note_rest(config, ignored)
    if form is None:
        return effort, None
    _, fields = form
    param = fields.param("schema")
    json_schema = structure.write(fields.take(SCHEMA), param, is_strict=True, ignored=ignored)
    note_rest(fields, ignored)
    return effort, json_schema
