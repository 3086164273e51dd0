"""The conversation of a request: checked message by message and rebuilt from what was understood.

The model's template runs on what is returned here, so no member a client made up reaches it. Pure.
"""

from __future__ import annotations

from typing import Any

from runner.api import jsonbody
from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Shape,
    anything,
    array,
    as_object,
    describe,
    nested,
    refuse,
    required,
    text,
    word,
)
from runner.api.openai import custom, media
from runner.errors import Kind, RunnerError

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_MESSAGES = 10_000
MAX_PARTS = 1_000
MAX_TOOL_CALLS = 128
MAX_NAME_CHARACTERS = 256

Message = dict[str, Any]


# ---- fields ----------------------------------------------------------------------------------

CALL_NAME = text("name", "the name of the function", max_characters=MAX_NAME_CHARACTERS)
ARGUMENTS = text("arguments", "its arguments: a JSON object, as text")
CALL_FUNCTION = required(
    nested("function", "what is called", Shape("called function", (CALL_NAME, ARGUMENTS)))
)
CALL_TYPE = word("type", "what is called", ("function", "custom"))
CALL_ID = text("id", "what the call's result names it by")
_INDEX = Ignored("index", "calls are in their order")
TOOL_CALL = Shape("tool call", (CALL_ID, CALL_TYPE, CALL_FUNCTION, _INDEX))
CALL_INPUT = required(text("input", "the text that it is called with"))
CALL_CUSTOM = required(
    nested("custom", "what is called", Shape("called custom tool", (CALL_NAME, CALL_INPUT)))
)
CUSTOM_CALL = Shape("custom tool call", (CALL_ID, CALL_TYPE, CALL_CUSTOM, _INDEX))

PART_TYPE = required(text("type", '"text", "refusal" (of the assistant), or what media it is'))
PART_TEXT = text("text", "the text")
PART_REFUSAL = text("refusal", "the words of a refusal")
PART = Shape("content part", (PART_TYPE, PART_TEXT, PART_REFUSAL, *media.MEMBERS))

ROLE = required(word("role", "who speaks", ROLES))
CONTENT = anything(
    "content",
    "what is said: a text, or an array of parts",
    {"type": ["string", "array"], "items": PART, "minItems": 1, "maxItems": MAX_PARTS},
)
REFUSAL = text("refusal", "the words of a refusal; only of the assistant")
TOOL_CALLS = array(
    "tool_calls",
    "the calls of the assistant",
    {"items": {"anyOf": [TOOL_CALL, CUSTOM_CALL]}, "maxItems": MAX_TOOL_CALLS},
)
NAME = text("name", "what the speaker is called")
REASONING = text("reasoning_content", "what the assistant thought before")
TOOL_CALL_ID = text("tool_call_id", "the call that a tool's message is the result of")
MESSAGE = Shape(
    "message",
    (
        ROLE,
        CONTENT,
        NAME,
        TOOL_CALLS,
        TOOL_CALL_ID,
        REASONING,
        REFUSAL,
        Ignored("annotations", "the model does not read them"),
        Ignored("audio", "what was said is read as text"),
        Ignored("cache_control", "all prompts are cached"),
        Ignored("function_call", "the old form of tool_calls"),
    ),
)
MESSAGES = required(
    array(
        "messages",
        "the conversation; a last message of the assistant is continued",
        {"items": MESSAGE, "minItems": 1, "maxItems": MAX_MESSAGES},
    )
)
# Members besides content that templates know, by role.
_TEXTS_OF_ROLE: dict[str, tuple[Field[str], ...]] = {
    "system": (NAME,),
    "developer": (NAME,),
    "user": (NAME,),
    "assistant": (NAME, REASONING),
    "tool": (NAME, TOOL_CALL_ID),
}


# ---- messages --------------------------------------------------------------------------------


def parse(fields: Fields, ignored: dict[str, None]) -> list[Message]:
    """Take ``messages``; names of members not understood are added to ``ignored``."""
    items = fields.take(MESSAGES)
    if not items:
        refuse("messages", "at least one message", items)
    if len(items) > MAX_MESSAGES:
        refuse(f"messages[{MAX_MESSAGES}]", f"at most {MAX_MESSAGES} messages", items)
    messages = [_parse_message(item, f"messages[{i}]", ignored) for i, item in enumerate(items)]
    _check_end(messages)
    media.check(messages)
    return messages


def _check_end(messages: list[Message]) -> None:
    if [message["role"] for message in messages[-2:]] == ["assistant", "assistant"]:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "messages: the last two are both of the assistant; only one can be continued",
            param=f"messages[{len(messages) - 1}].role",
        )


def _parse_message(value: Any, param: str, ignored: dict[str, None]) -> Message:
    if _is_plain(value):
        return {"role": value["role"], "content": value["content"]}
    fields = MESSAGE.open(value, param)
    role = fields.take(ROLE)
    message: Message = {"role": role}
    calls = _parse_tool_calls(fields, param, ignored) if role == "assistant" else []
    refusal = fields.take(REFUSAL) if role == "assistant" else None
    content = _parse_content(fields, f"{param}.content")
    message["content"] = refusal if content is None else content
    for field in _TEXTS_OF_ROLE[role]:
        if (said := fields.take(field)) is not None:
            message[field.name] = said
    if message["content"] is None and not calls:
        if not message.get("reasoning_content"):
            refuse(f"{param}.content", "a string or an array of text parts", None)
        message["content"] = ""  # cut off while it thought
    if calls:
        message["tool_calls"] = calls
    ignored.update(dict.fromkeys(f"messages[].{name}" for name in fields))
    return message


def _is_plain(value: Any) -> bool:
    """Whether it is what nearly every message is: a role and text, and nothing else."""
    return (
        isinstance(value, dict)
        and value.keys() == {"role", "content"}
        and isinstance(value["content"], str)
        and isinstance(value["role"], str)
        and value["role"] in ROLES
    )


# ---- content ---------------------------------------------------------------------------------


def _parse_content(fields: Fields, param: str) -> str | list[Message] | None:
    value = fields.take(CONTENT)
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        refuse(param, "a string or an array of text parts", value)
    if not 1 <= len(value) <= MAX_PARTS:
        refuse(param, f"1 to {MAX_PARTS} parts", value)
    return [parse_part(part, f"{param}[{index}]") for index, part in enumerate(value)]


def parse_part(value: Any, param: str) -> Message:
    """Read one part of a content; ``param`` is what errors call it."""
    fields = PART.open(value, param)
    kind = fields.take(PART_TYPE)
    if kind in media.PARTS:
        return media.parse_part(kind, fields, param)
    if kind in media.UNKNOWN_PARTS:
        raise RunnerError(
            Kind.MODEL_NOT_SUPPORTED,
            f"{param}: text, images and sounds are understood, got {describe(kind)}",
            param=param,
        )
    if kind not in ("text", "refusal"):
        refuse(f"{param}.type", '"text"', kind)
    said = fields.take(PART_TEXT if kind == "text" else PART_REFUSAL)
    if said is None:
        refuse(f"{param}.{kind}", "a string", None)
    return {"type": "text", "text": said}


# ---- tool calls of earlier turns -------------------------------------------------------------


def _parse_tool_calls(fields: Fields, param: str, ignored: dict[str, None]) -> list[Message]:
    calls = fields.take(TOOL_CALLS) or []
    if len(calls) > MAX_TOOL_CALLS:
        refuse(f"{param}.tool_calls", f"at most {MAX_TOOL_CALLS} calls", calls)
    return [
        _parse_tool_call(call, f"{param}.tool_calls[{i}]", ignored) for i, call in enumerate(calls)
    ]


def _parse_tool_call(value: Any, param: str, ignored: dict[str, None]) -> Message:
    is_custom = as_object(value, param).get("type") == "custom"
    fields = (CUSTOM_CALL if is_custom else TOOL_CALL).open(value, param)
    fields.take(CALL_TYPE)
    called = fields.take(CALL_CUSTOM if is_custom else CALL_FUNCTION)
    name = called.take(CALL_NAME)
    if not name:
        refuse(called.param(CALL_NAME.name), "a tool's name", name)
    if is_custom:
        arguments = custom.arguments_of(called.take(CALL_INPUT))
    else:
        arguments = _parse_arguments(called)
    call: Message = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if (identity := fields.take(CALL_ID)) is not None:
        call["id"] = identity
    for place, left in (("", fields), (".custom" if is_custom else ".function", called)):
        ignored.update(dict.fromkeys(f"messages[].tool_calls[]{place}.{name}" for name in left))
    return call


def _parse_arguments(function: Fields) -> str:
    """Templates parse the arguments again: text that is no JSON object fails deep inside them."""
    arguments = function.take(ARGUMENTS)
    if arguments == "":
        return "{}"  # how several servers write a call without arguments
    try:
        if arguments is not None:
            jsonbody.decode_object(arguments.encode())
            return arguments
    except RunnerError:
        pass
    refuse(function.param(ARGUMENTS.name), "a string that holds a JSON object", arguments)
