"""What a request for a response may have. Pure."""

from __future__ import annotations

from typing import Any

from runner.api.fields import (
    Field,
    Ignored,
    Refused,
    Shape,
    anything,
    as_array,
    boolean,
    integer,
    nested,
    refuse,
    required,
    text,
    word,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.openai import adapters, generation, sampling, structure
from runner.api.openai import parse as chat
from runner.api.responses import items, tools

MAX_METADATA = 16
MAX_KEY_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 512

SEALED_THOUGHTS = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
# What else there is to include is of tools that nobody runs here, or is told unasked.
INCLUDABLE = (
    SEALED_THOUGHTS,
    LOGPROBS,
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "web_search_call.action.sources",
    "web_search_call.results",
)


def _read_metadata(value: Any, param: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_METADATA:
        refuse(param, f"an object of at most {MAX_METADATA} members", value)
    for name, said in value.items():
        if len(name) > MAX_KEY_CHARACTERS:
            refuse(param, f"names of at most {MAX_KEY_CHARACTERS} characters", name)
        if not isinstance(said, str) or len(said) > MAX_VALUE_CHARACTERS:
            limit = f"a string of at most {MAX_VALUE_CHARACTERS} characters"
            refuse(f"{param}.{name}", limit, said)
    return value


def _read_include(value: Any, param: str) -> frozenset[str]:
    names = as_array(value, param)
    for index, name in enumerate(names):
        if name not in INCLUDABLE:
            refuse(f"{param}[{index}]", "one of " + ", ".join(INCLUDABLE), name)
    return frozenset(names)


def _read_false(value: Any, param: str) -> bool:
    if value is not False:
        refuse(param, "false: an answer is made while its client waits", value)
    return value


# ---- fields ----------------------------------------------------------------------------------

INPUT = anything(
    "input",
    "what is asked: a text, or items",
    {"type": ["string", "array"], "items": {"anyOf": items.SHAPES}},
)
INSTRUCTIONS = text("instructions", "what the model is told first; of this response alone")
PREVIOUS = text("previous_response_id", "the response whose conversation goes on")
MAX_TOKENS = integer(
    "max_output_tokens", "the most tokens that are generated", 1, generation.MAX_TOKENS
)
TOP_LOGPROBS = integer(
    "top_logprobs", "how many other tokens are told", 0, sampling.MAX_TOP_LOGPROBS
)
INCLUDE = Field(
    "include",
    f"what else is told: {SEALED_THOUGHTS}, {LOGPROBS}",
    {"type": "array", "items": {"enum": list(INCLUDABLE)}},
    _read_include,
)
METADATA = Field(
    "metadata",
    "texts by name, told again",
    {
        "type": "object",
        "maxProperties": MAX_METADATA,
        "additionalProperties": {"type": "string", "maxLength": MAX_VALUE_CHARACTERS},
    },
    _read_metadata,
)
STORE = boolean("store", "whether the response is kept for later requests; true if absent")
TRUNCATION = word("truncation", "nothing is left out of a conversation", ("disabled",))
BACKGROUND = Field("background", "only false", {"const": False}, _read_false)

EFFORT = word(
    "effort",
    'how much to think, for templates that know degrees; "none": not at all',
    ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
)
_SUMMARIES = ("auto", "concise", "detailed")
SUMMARY = word("summary", "whether thoughts are told, whole, as a summary", _SUMMARIES)
GENERATE_SUMMARY = word("generate_summary", "the older name of summary", _SUMMARIES)
REASONING = nested(
    "reasoning",
    "how to think, and how thoughts are told",
    Shape(
        "response reasoning options",
        (
            EFFORT,
            SUMMARY,
            GENERATE_SUMMARY,
            Ignored("context", "the model's template decides which thoughts it reads again"),
            Ignored("mode", "models here have one"),
        ),
    ),
)
FORMAT_KIND = required(
    word("type", "free text, any JSON, or a structure", ("text", "json_object", "json_schema"))
)
FORMAT = nested(
    "format",
    "the form that the answer must have; it is enforced while generating",
    Shape(
        "response format of text",
        (
            FORMAT_KIND,
            structure.SCHEMA,
            structure.STRICT,
            structure.LABEL,
            Ignored("description", "the model does not read it"),
        ),
    ),
)
TEXT = nested(
    "text",
    "the form of the answer",
    Shape(
        "response text options",
        (FORMAT, Ignored("verbosity", "the model is not told how much to say")),
    ),
)
STREAM_OPTIONS = nested(
    "stream_options",
    "how an answer is streamed",
    Shape("response stream options", (Ignored("include_obfuscation", "events are not padded"),)),
)


def _called(name: str, here: str) -> Refused:
    return Refused(name, "is of chat completions", f"send {here}")


SHAPE = Shape(
    "response",
    (
        generation.MODEL,
        INPUT,
        INSTRUCTIONS,
        PREVIOUS,
        *tools.FIELDS,
        MAX_TOKENS,
        TEXT,
        REASONING,
        generation.STREAM,
        STREAM_OPTIONS,
        STORE,
        METADATA,
        INCLUDE,
        TOP_LOGPROBS,
        TRUNCATION,
        BACKGROUND,
        *sampling.FIELDS,
        generation.STOP,
        generation.CACHE_PROMPT,
        KEEP_ALIVE,
        adapters.LORA,
        *chat.BUDGETS,
        chat.BUDGET_MESSAGE,
        chat.TEMPLATE_ARGUMENTS,
        *generation.UNUSED,
        *generation.PRIVATE,
        *generation.FOREIGN,
        _called("max_tokens", MAX_TOKENS.name),
        _called("max_completion_tokens", MAX_TOKENS.name),
        _called("messages", INPUT.name),
        _called("reasoning_effort", "reasoning.effort"),
        _called("response_format", "text.format"),
        Refused("context_management", "asks to shorten conversations, which is not done"),
        Refused("conversation", "is not kept here", "send previous_response_id, or all items"),
        Refused("moderation", "asks for moderation, which is not done"),
        Refused("prompt", "names a prompt that OpenAI keeps", "send instructions"),
        Ignored("access_programs", "there are none"),
        Ignored("background_options", "there is no background"),
        Ignored("client_metadata", "nothing is done with it"),
        Ignored("image", "images are read as they are"),
        Ignored("max_tool_calls", "the client makes the calls, and can stop"),
        Ignored("prompt_cache_key", "all prompts are cached"),
        Ignored("prompt_cache_options", "all prompts are cached while there is room"),
        Ignored("prompt_cache_retention", "all prompts are cached while there is room"),
        Ignored("safety_identifier", "nothing is reported about users"),
        Ignored("service_tier", "all requests are served alike"),
    ),
)
