"""Items as the conversation that they stand for, in the messages of chat completions. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from runner.api.responses.thoughts import unseal
from runner.api.responses.tools import CUSTOM_ARGUMENT, known_name

Item = dict[str, Any]
Message = dict[str, Any]

_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def messages(instructions: str | None, items: Iterable[Item]) -> list[Message]:
    """Return the messages that a model reads.

    The thoughts, texts and calls of one turn are one message. Instructions, and what system and
    developer say at the beginning, are one too: many templates take no second one.
    """
    conversation = _Conversation()
    if instructions:
        conversation.add({"role": "system", "content": instructions})
    for item in items:
        conversation.take(item)
    return conversation.messages


class _Conversation:
    """Messages as they are put together."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._thoughts: list[str] = []  # that belong to the answer that follows

    def add(self, message: Message) -> None:
        self._thoughts.clear()
        self.messages.append(message)

    def take(self, item: Item) -> None:
        kind = item["type"]
        if kind == "reasoning":
            self._thoughts += _thoughts(item)
        elif kind in _OUTPUTS:
            output = _content(item["output"])
            self.add({"role": "tool", "tool_call_id": item["call_id"], "content": output})
        elif kind != "message":
            if item["status"] != "incomplete":
                self._answer().setdefault("tool_calls", []).append(_call(item))
        elif item["role"] == "assistant":
            _append(self._answer(), _content(item["content"]))
        else:
            self._take_message(item)

    def _take_message(self, item: Item) -> None:
        content = _content(item["content"])
        is_start = [message["role"] for message in self.messages] in (["system"], ["developer"])
        if is_start and item["role"] in ("system", "developer"):
            _append(self.messages[0], content)
        else:
            self.add({"role": item["role"], "content": content})

    def _answer(self) -> Message:
        """Return the message of the assistant that goes on, or a new one, with its thoughts."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": None})
        answer = self.messages[-1]
        if self._thoughts:
            before = [answer["reasoning_content"]] if "reasoning_content" in answer else []
            answer["reasoning_content"] = "\n\n".join([*before, *self._thoughts])
            self._thoughts.clear()
        return answer


def _append(message: Message, content: str | list[Message]) -> None:
    """Add to what a message says: a paragraph to text, parts to parts."""
    said = message["content"]
    if not said:
        message["content"] = content
    elif isinstance(said, str) and isinstance(content, str):
        message["content"] = f"{said}\n\n{content}"
    else:
        message["content"] = [*_parts(said), *_parts(content)]


def _parts(content: str | list[Message]) -> list[Message]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _content(content: str | list[Item]) -> str | list[Message]:
    """Return what is said; one text is written as text, as chat clients do."""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in content]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _part(part: Item) -> Message:
    match part["type"]:
        case "input_image":
            return {"type": "image_url", "image_url": {"url": part["image_url"]}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case "input_file":
            file = {"file_data": part["file_data"], "filename": part["filename"]}
            return {"type": "file", "file": file}
        case "refusal":
            return {"type": "text", "text": part["refusal"]}
        case _:
            return {"type": "text", "text": part["text"]}


def _call(item: Item) -> Message:
    arguments = item.get("arguments")
    if item["type"] == "custom_tool_call":
        arguments = json.dumps({CUSTOM_ARGUMENT: item["input"]}, ensure_ascii=False)
    function = {"name": known_name(item["name"], item.get("namespace")), "arguments": arguments}
    return {"type": "function", "id": item["call_id"], "function": function}


def _thoughts(item: Item) -> list[str]:
    """Return thoughts where they are whole, else what is known of them."""
    told = "".join(part["text"] for part in item.get("content", ()))
    summary = "".join(part["text"] for part in item["summary"])
    thoughts = told or unseal(item.get("encrypted_content", "")) or summary
    return [thoughts] if thoughts else []
