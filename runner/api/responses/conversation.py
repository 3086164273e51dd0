"""Items as the conversation that they stand for, in the messages of chat completions. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from runner.api.openai import custom
from runner.api.responses.thoughts import unseal
from runner.api.responses.tools import known_name

Item = dict[str, Any]
Message = dict[str, Any]

_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_PART = re.compile(r"messages\[(\d+)\]\.content\[(\d+)\]")


def messages(
    instructions: str | None, before: Iterable[Item], items: Sequence[Item]
) -> list[Message]:
    """Return the messages that a model reads: items of earlier responses, and of the request.

    Images, sounds and files have a ``param``: see :func:`naming`.

    The thoughts, texts and calls of one turn are one message. Instructions, and what system and
    developer say at the beginning, are one too: many templates take no second one.
    """
    conversation = _Conversation()
    if instructions:
        conversation.add({"role": "system", "content": instructions})
    for item in before:
        conversation.take(item, None)
    for index, item in enumerate(items):
        conversation.take(item, f"input[{index}]")
    return conversation.messages


def naming(messages: Sequence[Message]) -> Callable[[str], str]:
    """Return what gives a part of the messages the name that its sender knows it by."""

    def name(found: re.Match[str]) -> str:
        part = messages[int(found[1])]["content"][int(found[2])]
        return str(part.get("param", found[0]))

    return lambda param: _PART.sub(name, param)


class _Conversation:
    """Messages as they are put together."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._thoughts: list[str] = []  # that belong to the answer that follows

    def add(self, message: Message) -> None:
        self._thoughts.clear()
        self.messages.append(message)

    def take(self, item: Item, param: str | None) -> None:
        kind = item["type"]
        if kind == "reasoning":
            self._thoughts += _thoughts(item)
        elif kind in _OUTPUTS:
            output = _content(item["output"], param, "output")
            self.add({"role": "tool", "tool_call_id": item["call_id"], "content": output})
        elif kind != "message":
            if item["status"] != "incomplete":
                self._answer().setdefault("tool_calls", []).append(_call(item))
        elif item["role"] == "assistant":
            _append(self._answer(), _content(item["content"], param))
        else:
            self._take_message(item, param)

    def _take_message(self, item: Item, param: str | None) -> None:
        content = _content(item["content"], param)
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


def _content(
    content: str | list[Item], param: str | None, member: str = "content"
) -> str | list[Message]:
    """Return what is said; one text is written as text, as chat clients do.

    ``param`` is the item of the request that it is ``member`` of, None of an earlier response.
    """
    if isinstance(content, str):
        return content
    parts = [
        _part(part, "previous_response_id" if param is None else f"{param}.{member}[{index}]")
        for index, part in enumerate(content)
    ]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _part(part: Item, param: str) -> Message:
    match part["type"]:
        case "input_image":
            url = {"url": part["image_url"]}
            return {"type": "image_url", "image_url": url, "param": param}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"], "param": param}
        case "input_file":
            file = {"file_data": part["file_data"], "filename": part["filename"]}
            return {"type": "file", "file": file, "param": param}
        case "refusal":
            return {"type": "text", "text": part["refusal"]}
        case _:
            return {"type": "text", "text": part["text"]}


def _call(item: Item) -> Message:
    arguments = item.get("arguments")
    if item["type"] == "custom_tool_call":
        arguments = custom.arguments_of(item["input"])
    function = {"name": known_name(item["name"], item.get("namespace")), "arguments": arguments}
    return {"type": "function", "id": item["call_id"], "function": function}


def _thoughts(item: Item) -> list[str]:
    """Return thoughts where they are whole, else what is known of them."""
    told = "".join(part["text"] for part in item.get("content", ()))
    summary = "".join(part["text"] for part in item["summary"])
    thoughts = told or unseal(item.get("encrypted_content", "")) or summary
    return [thoughts] if thoughts else []
