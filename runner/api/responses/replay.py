"""A response that is kept, as the events that could have told it: each text in one piece. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.api.openai import custom
from runner.api.responses.output import CustomCall, Event, FunctionCall, Item, Message, Reasoning
from runner.api.responses.render import Response, numbered
from runner.api.responses.tools import Tool

MAX_EVENTS = 10**6  # more than any response has

_UNTOLD: dict[str, Any] = {
    "status": "in_progress",
    "error": None,
    "incomplete_details": None,
    "output": [],
    "output_text": "",
    "usage": None,
}


def stream(response: Response, *, after: int) -> bytes:
    """Render the events numbered higher than ``after``, and the last one whatever its number."""
    told = [numbered(event, number) for number, event in enumerate(_events(response))]
    return b"".join(told[min(after + 1, len(told) - 1) :])


def _events(response: Response) -> Iterator[Event]:
    begun = response | _UNTOLD
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        for event in _item_events(item):
            yield {**event, "output_index": index}
    yield {"type": f"response.{response['status']}", "response": response}


def _item_events(item: Item) -> Iterator[Event]:
    match item["type"]:
        case "message":
            [part] = item["content"]
            message = Message(item["id"])
            yield from message.begin()
            if part["text"]:
                yield message.add_rendered(part["text"], part["logprobs"])
            yield from message.finish(item["status"])
        case "reasoning":
            [part] = item["summary"] or item["content"]
            thought = Reasoning(
                item["id"],
                as_summary=bool(item["summary"]),
                is_sealed="encrypted_content" in item,
            )
            yield from thought.begin()
            yield thought.add(part["text"])
            yield from thought.finish(item["status"])
        case "function_call":
            call = FunctionCall(item["id"], call_id=item["call_id"], tool=_tool(item))
            yield from call.begin()
            if item["arguments"]:
                yield from call.add(item["arguments"])
            yield from call.finish(item["status"])
        case "custom_tool_call":
            written = CustomCall(item["id"], call_id=item["call_id"], tool=_tool(item))
            yield from written.begin()
            yield from written.add(custom.arguments_of(item["input"]))
            yield from written.finish(item["status"])


def _tool(item: Item) -> Tool:
    return Tool(item["name"], item.get("namespace"))
