"""The conversation of a request: checked message by message and rebuilt from what was understood.

The model's template runs on what is returned here, so no member a client made up reaches it. Pure.
"""

from __future__ import annotations

from typing import Any

from runner.api import jsonbody
from runner.api.fields import Fields, as_array, as_object, describe, refuse
from runner.errors import Kind, RunnerError

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_MESSAGES = 10_000
MAX_PARTS = 1_000
MAX_TOOL_CALLS = 128
MAX_NAME_CHARACTERS = 256

# Part types of OpenAI and llama-server that need a model with eyes or ears.
MEDIA_PARTS = frozenset(
    {"image_url", "input_image", "input_audio", "audio", "file", "video_url", "input_video"}
)

Message = dict[str, Any]


def parse(fields: Fields, ignored: dict[str, None]) -> list[Message]:
    """Take ``messages``; names of members not understood are added to ``ignored``."""
    value = fields.take("messages")
    if value is None:
        raise RunnerError(Kind.INVALID_REQUEST, "messages is required", param="messages")
    array = as_array(value, "messages")
    if not array:
        refuse("messages", "at least one message", array)
    if len(array) > MAX_MESSAGES:
        refuse(f"messages[{MAX_MESSAGES}]", f"at most {MAX_MESSAGES} messages", array)
    messages = [_parse_message(item, f"messages[{i}]", ignored) for i, item in enumerate(array)]
    _check_end(messages)
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
    fields = Fields(as_object(value, param), f"{param}.")
    role = fields.take("role")
    if role not in ROLES:
        refuse(f"{param}.role", "one of " + ", ".join(ROLES), role)
    message: Message = {"role": role}
    calls = _parse_tool_calls(fields, param) if role == "assistant" else []
    refusal = fields.text("refusal") if role == "assistant" else None
    content = _parse_content(fields, f"{param}.content")
    if content is None and not calls and refusal is None:
        refuse(f"{param}.content", "a string or an array of text parts", None)
    message["content"] = refusal if content is None else content
    for name in _TEXTS_OF_ROLE[role]:
        if (text := fields.text(name)) is not None:
            message[name] = text
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


# Members besides content that templates know, by role.
_TEXTS_OF_ROLE: dict[str, tuple[str, ...]] = {
    "system": ("name",),
    "developer": ("name",),
    "user": ("name",),
    "assistant": ("name", "reasoning_content"),
    "tool": ("name", "tool_call_id"),
}


# ---- content ---------------------------------------------------------------------------------


def _parse_content(fields: Fields, param: str) -> str | list[Message] | None:
    value = fields.take("content")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        refuse(param, "a string or an array of text parts", value)
    if not 1 <= len(value) <= MAX_PARTS:
        refuse(param, f"1 to {MAX_PARTS} parts", value)
    return [_parse_part(part, f"{param}[{index}]") for index, part in enumerate(value)]


def _parse_part(value: Any, param: str) -> Message:
    fields = Fields(as_object(value, param), f"{param}.")
    kind = fields.take("type")
    if isinstance(kind, str) and kind in MEDIA_PARTS:
        raise RunnerError(
            Kind.MODEL_NOT_SUPPORTED,
            f"{param}: this server takes text only, got {describe(kind)}",
            param=param,
        )
    if kind not in ("text", "refusal"):
        refuse(f"{param}.type", '"text"', kind)
    text = fields.text(kind)
    if text is None:
        refuse(f"{param}.{kind}", "a string", None)
    return {"type": "text", "text": text}


# ---- tool calls of earlier turns -------------------------------------------------------------


def _parse_tool_calls(fields: Fields, param: str) -> list[Message]:
    array = fields.array("tool_calls") or []
    if len(array) > MAX_TOOL_CALLS:
        refuse(f"{param}.tool_calls", f"at most {MAX_TOOL_CALLS} calls", array)
    return [_parse_tool_call(call, f"{param}.tool_calls[{i}]") for i, call in enumerate(array)]


def _parse_tool_call(value: Any, param: str) -> Message:
    fields = Fields(as_object(value, param), f"{param}.")
    if (kind := fields.take("type")) not in (None, "function"):
        refuse(f"{param}.type", '"function"', kind)
    function = Fields(fields.object("function") or {}, f"{param}.function.")
    name = function.text("name", max_characters=MAX_NAME_CHARACTERS)
    if not name:
        refuse(f"{param}.function.name", "a function's name", name)
    arguments = function.text("arguments")
    if arguments == "":
        arguments = "{}"  # how several servers write a call without arguments
    _check_arguments(arguments, f"{param}.function.arguments")
    call: Message = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if (identity := fields.text("id")) is not None:
        call["id"] = identity
    return call


def _check_arguments(arguments: str | None, param: str) -> None:
    """Templates parse the arguments again: text that is no JSON object fails deep inside them."""
    if arguments is None:
        refuse(param, "a string that holds a JSON object", None)
    try:
        jsonbody.decode_object(arguments.encode())
    except RunnerError:
        refuse(param, "a string that holds a JSON object", arguments)
