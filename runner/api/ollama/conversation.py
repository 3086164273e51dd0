"""Ollama's messages and tools as the conversation that they stand for. Pure.

They are written as chat completions have them, whose readers check and rebuild the rest; errors go
on naming what the client sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Shape,
    array,
    as_text,
    members,
    nested,
    refuse,
    required,
    text,
)
from runner.api.openai.tools import Tools
from runner.api.openai.translated import prompt_of, read
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt

EFFORTS = ("low", "medium", "high")

Message = dict[str, Any]

# What base64 of a file begins with.
_IMAGE_TYPES = {"/9j/": "jpeg", "iVBOR": "png", "R0lG": "gif", "UklGR": "webp"}

_NAME = required(text("name", "the function's name"))
_ARGUMENTS = members("arguments", "what it was called with")
_FUNCTION = required(
    nested(
        "function",
        "what was called",
        Shape(
            "Ollama function call",
            (_NAME, _ARGUMENTS, Ignored("index", "calls are taken in their order")),
        ),
    )
)
_ID = text("id", "what the answer to the call names it by")
CALL = Shape("Ollama tool call", (_FUNCTION, _ID, Ignored("type", "all calls are of functions")))

_ROLE = text("role", "who speaks: system, user, assistant or tool")
_CONTENT = text("content", "what is said")
_THINKING = text("thinking", "what the model thought before it said that")
IMAGES = array("images", "base64 of images, seen before the text", {"items": {"type": "string"}})
_TOOL_CALLS = array("tool_calls", "the calls that the model made", {"items": CALL})
_TOOL_NAME = text("tool_name", "which tool this is the answer of")
_TOOL_CALL_ID = text("tool_call_id", "which call this is the answer to")
MESSAGE = Shape(
    "Ollama message",
    (_ROLE, _CONTENT, _THINKING, IMAGES, _TOOL_CALLS, _TOOL_NAME, _TOOL_CALL_ID),
)
MESSAGES = array(
    "messages",
    "the conversation; none at all loads the model, or unloads it",
    {"items": MESSAGE},
)


def parse(values: Sequence[Any], ignored: dict[str, None]) -> list[Message]:
    """Read ``messages``, at least one; names of members not understood are added to ``ignored``."""
    translated = [
        _translate(MESSAGE.open(value, f"messages[{i}]"), ignored) for i, value in enumerate(values)
    ]
    return _read(translated, r"messages[\1].images[\2]", ignored)


def ask(
    prompt: str, images: Sequence[Any], system: str | None, ignored: dict[str, None]
) -> list[Message]:
    """Put a single question, with what is said to the model before it."""
    asked: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    asked.append({"role": "user", "content": _content(prompt, images, "images")})
    return _read(asked, r"images[\2]", ignored)


def chat_prompt(
    conversation: Sequence[Message], asked: Tools, think: bool | str | None
) -> ChatPrompt:
    """Return what the model is asked; a last message of the assistant is gone on with."""
    last = conversation[-1]
    if last["role"] == "assistant" and "tool_calls" in last:
        param = f"messages[{len(conversation) - 1}].tool_calls"
        message = f"{param}: a message with tool calls cannot be continued"
        raise RunnerError(Kind.INVALID_REQUEST, message, param=param)
    return prompt_of(
        conversation,
        asked,
        thinks=None if think is None else think is not False,
        effort=think if isinstance(think, str) else None,
    )


def _read_think(value: Any, param: str) -> bool | str:
    if isinstance(value, bool) or (isinstance(value, str) and value in EFFORTS):
        return value
    refuse(param, "true, false, or one of " + ", ".join(EFFORTS), value)


THINK: Field[bool | str] = Field(
    "think",
    "whether a model that can think does, or how much",
    {"type": ["boolean", "string"], "enum": [True, False, *EFFORTS]},
    _read_think,
)


# ---- messages --------------------------------------------------------------------------------


def _translate(fields: Fields, ignored: dict[str, None]) -> Message:
    role = (fields.take(_ROLE) or "").lower()
    calls = fields.take(_TOOL_CALLS) or []
    images = fields.take(IMAGES) or []
    content = fields.take(_CONTENT)
    message: Message = {"role": role}
    if content is not None or images or not calls:
        message["content"] = _content(content or "", images, fields.param("images"))
    if calls:
        path = fields.param("tool_calls")
        message["tool_calls"] = [
            _translate_call(CALL.open(call, f"{path}[{i}]"), ignored)
            for i, call in enumerate(calls)
        ]
    told = {
        "reasoning_content": fields.take(_THINKING),
        "name": fields.take(_TOOL_NAME),
        "tool_call_id": fields.take(_TOOL_CALL_ID),
    }
    message |= {name: value for name, value in told.items() if value is not None}
    ignored.update(dict.fromkeys(f"messages[].{name}" for name in fields))
    return message


def _content(said: str, images: Sequence[Any], param: str) -> str | list[Message]:
    """Write a text and its images; they come first, so an image's index is its part's."""
    if not images:
        return said
    parts: list[Message] = [
        {"type": "image_url", "image_url": {"url": _data_url(image, f"{param}[{index}]")}}
        for index, image in enumerate(images)
    ]
    return [*parts, {"type": "text", "text": said}] if said else parts


def _data_url(value: Any, param: str) -> str:
    encoded = as_text(value, param)
    if encoded.startswith("data:"):
        return encoded
    kinds = (kind for begin, kind in _IMAGE_TYPES.items() if encoded.startswith(begin))
    return f"data:image/{next(kinds, 'jpeg')};base64,{encoded}"


def _translate_call(fields: Fields, ignored: dict[str, None]) -> Message:
    function = fields.take(_FUNCTION)
    arguments = json.dumps(function.take(_ARGUMENTS) or {}, ensure_ascii=False)
    called = {"name": function.take(_NAME), "arguments": arguments}
    call: Message = {"type": "function", "function": called}
    if (identity := fields.take(_ID)) is not None:
        call["id"] = identity
    for place, left in (("", fields), (".function", function)):
        ignored.update(dict.fromkeys(f"messages[].tool_calls[]{place}.{name}" for name in left))
    return call


# ---- what chat completions make of it --------------------------------------------------------

_PART = re.compile(r"messages\[(\d+)\]\.content\[(\d+)\](?:\.image_url(?:\.url)?)?")


def _read(translated: list[Message], image: str, ignored: dict[str, None]) -> list[Message]:
    """Have their reader check it; errors of a part name the ``image`` that it was made of."""

    def rename(param: str) -> str:
        return _PART.sub(image, param) if _PART.fullmatch(param) else param

    return read(translated, rename, ignored)
