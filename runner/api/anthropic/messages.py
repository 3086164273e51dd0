"""Anthropic's ``system`` and ``messages`` as the messages of a chat completion. Pure."""

from __future__ import annotations

import re
from typing import Any

from runner.api.anthropic.blocks import (
    REDACTED_BLOCK,
    SHOWN,
    TEXT_BLOCK,
    THINKING_BLOCK,
    TOOL_RESULT_BLOCK,
    TOOL_USE_BLOCK,
    Reader,
    content_of,
)
from runner.api.anthropic.typed import Typed, blocks, note_rest, open_typed
from runner.api.fields import Fields, Shape, array, refuse, required, text
from runner.api.openai import media
from runner.api.openai.messages import MAX_MESSAGES, MAX_TOOL_CALLS, Message

SYSTEM = blocks("system", "what the model is told first", {"text": TEXT_BLOCK})

ROLE = required(text("role", "who says it"))
BLOCKS = {
    "user": {**SHOWN, "tool_result": TOOL_RESULT_BLOCK},
    "assistant": {
        "text": TEXT_BLOCK,
        "tool_use": TOOL_USE_BLOCK,
        "thinking": THINKING_BLOCK,
        "redacted_thinking": REDACTED_BLOCK,
    },
    "system": {"text": TEXT_BLOCK},
}
CONTENT = {
    role: required(blocks("content", "what is said", shapes)) for role, shapes in BLOCKS.items()
}
MESSAGE = {
    role: Shape(f"message of the {role}", (ROLE, content)) for role, content in CONTENT.items()
}
MESSAGES = required(
    array(
        "messages",
        "the conversation; an answer goes on where its last message is the assistant's",
        {"items": {"anyOf": list(MESSAGE.values())}, "minItems": 1},
    )
)

# The first line of Claude Code's system prompt, for Anthropic's accounts, is another one in every
# request: left in, it would spoil the cached prefix of all that follows.
_BILLING = re.compile(r"\Ax-anthropic-billing-header:(?:[ \t]*[a-z_]+=[^;\n]*;)+\s*")


def parse(fields: Fields, ignored: dict[str, None]) -> list[Message]:
    """Take both fields; names of members without effect are added to ``ignored``.

    Messages of one role that follow each other become one, as Anthropic has it.
    """
    reader = Reader(ignored)
    messages: list[Message] = []
    if system := _read_system(fields.take(SYSTEM) or [], reader):
        messages.append({"role": "system", "content": system})
    given = fields.take(MESSAGES)
    if not 1 <= len(given) <= MAX_MESSAGES:
        refuse("messages", f"1 to {MAX_MESSAGES} messages", given)
    for index, value in enumerate(given):
        param = f"messages[{index}]"
        role, content = _open(value, param, ignored)
        match role:
            case "assistant":
                _add_assistant(messages, content, reader, f"{param}.content")
            case "user":
                _add_user(messages, content, reader)
            case _:
                messages.append({"role": role, "content": _read_system(content, reader)})
    if not messages:
        refuse("messages", "at least one message with content", given)
    settled = [_settled(message) for message in messages]
    media.check(settled)
    return settled


def _open(value: Any, param: str, ignored: dict[str, None]) -> tuple[str, list[Typed]]:
    """Return who says a message, and its blocks."""
    role, fields = open_typed(value, param, MESSAGE, by=ROLE)
    content = fields.take(CONTENT[role])
    if not content and role != "assistant":
        refuse(f"{param}.content", "a text, or at least one block", content)
    note_rest(fields, ignored)
    return role, content


def _read_system(content: list[Typed], reader: Reader) -> str:
    texts = [_BILLING.sub("", part["text"]) for block in content for part in reader.shown(block)]
    return "\n\n".join(text for text in texts if text)


def _add_user(messages: list[Message], content: list[Typed], reader: Reader) -> None:
    """Add what the user says; each result of a tool is a message of its own."""
    for block in content:
        kind, fields = block
        if kind == "tool_result":
            messages.append(reader.result(fields))
        elif messages and messages[-1]["role"] == "user":
            messages[-1]["content"] += reader.shown(block)
        else:
            messages.append({"role": "user", "content": reader.shown(block)})


def _add_assistant(
    messages: list[Message], content: list[Typed], reader: Reader, param: str
) -> None:
    """Add what the assistant said, thought and called; of nothing at all there is no message."""
    if not content:
        return
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": []})
    message = messages[-1]
    for kind, fields in content:
        if kind == "tool_use":
            message.setdefault("tool_calls", []).append(reader.call(fields))
        elif kind == "text":
            message["content"] += reader.shown((kind, fields))
        elif thought := reader.thought(kind, fields):
            message["reasoning_content"] = message.get("reasoning_content", "") + thought
    if len(message.get("tool_calls", [])) > MAX_TOOL_CALLS:
        refuse(param, f"at most {MAX_TOOL_CALLS} calls", content)


def _settled(message: Message) -> Message:
    """Return a message whose content is as templates know it best: plain text where it is text."""
    content = message["content"]
    if message["role"] == "assistant":
        return message | {"content": "".join(part["text"] for part in content)}
    return message if isinstance(content, str) else message | {"content": content_of(content)}
