"""Items of an answer while they come to be, and the events that tell of each step. Pure.

The order of events is OpenAI's: an item is added, its part is added, deltas, the text is done, the
part is done, the item is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.api.openai import custom
from runner.api.openai.render import render_logprobs
from runner.api.responses.thoughts import seal
from runner.api.responses.tools import Tool
from runner.wire.messages import TokenLogprob

Event = dict[str, Any]
Item = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete"]


@dataclass(slots=True)
class OpenItem(ABC):
    """What all items have: an id, and text that grows."""

    id: str
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self.texts)

    def begin(self) -> Iterator[Event]:
        """Give the events that open it."""
        yield {"type": "response.output_item.added", "item": self.render("in_progress")}

    def finish(self, status: Status) -> Iterator[Event]:
        """Give the events that close it."""
        yield {"type": "response.output_item.done", "item": self.render(status)}

    @abstractmethod
    def render(self, status: Status) -> Item:
        """Return the item as it is now."""


@dataclass(slots=True)
class Message(OpenItem):
    """Text for the user."""

    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def begin(self) -> Iterator[Event]:
        """Give the events that open it."""
        yield from OpenItem.begin(self)
        yield {"type": "response.content_part.added", **self._place, "part": self._part}

    def add(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> Event:
        """Take new text."""
        return self.add_rendered(text, render_logprobs(logprobs))

    def add_rendered(self, text: str, shown: list[dict[str, Any]]) -> Event:
        """Take new text whose logprobs are as they are told."""
        self.texts.append(text)
        self.logprobs += shown
        kind = "response.output_text.delta"
        return {"type": kind, **self._place, "delta": text, "logprobs": shown}

    def finish(self, status: Status) -> Iterator[Event]:
        """Give the events that close it."""
        kind = "response.output_text.done"
        yield {"type": kind, **self._place, "text": self.text, "logprobs": self.logprobs}
        yield {"type": "response.content_part.done", **self._place, "part": self._part}
        yield from OpenItem.finish(self, status)

    def render(self, status: Status) -> Item:
        """Return the item as it is now."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [] if status == "in_progress" else [self._part],
        }

    @property
    def _part(self) -> Item:
        part = {"type": "output_text", "text": self.text, "annotations": []}
        return {**part, "logprobs": self.logprobs}

    @property
    def _place(self) -> Event:
        return {"item_id": self.id, "content_index": 0}


@dataclass(slots=True)
class Reasoning(OpenItem):
    """Thoughts: as text of their own, or as a summary where the client asked for one.

    Nothing here sums them up: who shows summaries alone shows the thoughts themselves.
    """

    as_summary: bool = False
    is_sealed: bool = False  # told once more, for clients that send nothing else back

    def begin(self) -> Iterator[Event]:
        """Give the events that open it."""
        yield from OpenItem.begin(self)
        yield {"type": f"response.{self._part_kind}.added", **self._place, "part": self._part}

    def add(self, text: str) -> Event:
        """Take new text."""
        self.texts.append(text)
        return {"type": f"response.{self._text_kind}.delta", **self._place, "delta": text}

    def finish(self, status: Status) -> Iterator[Event]:
        """Give the events that close it."""
        yield {"type": f"response.{self._text_kind}.done", **self._place, "text": self.text}
        yield {"type": f"response.{self._part_kind}.done", **self._place, "part": self._part}
        yield from OpenItem.finish(self, status)

    def render(self, status: Status) -> Item:
        """Return the item as it is now."""
        parts = [] if status == "in_progress" else [self._part]
        item: Item = {"id": self.id, "type": "reasoning", "status": status, "summary": []}
        item["summary" if self.as_summary else "content"] = parts
        if self.is_sealed and parts:
            item["encrypted_content"] = seal(self.text)
        return item

    @property
    def _part(self) -> Item:
        kind = "summary_text" if self.as_summary else "reasoning_text"
        return {"type": kind, "text": self.text}

    @property
    def _part_kind(self) -> str:
        return "reasoning_summary_part" if self.as_summary else "content_part"

    @property
    def _text_kind(self) -> str:
        return "reasoning_summary_text" if self.as_summary else "reasoning_text"

    @property
    def _place(self) -> Event:
        return {"item_id": self.id, "summary_index" if self.as_summary else "content_index": 0}


@dataclass(slots=True, kw_only=True)
class FunctionCall(OpenItem):
    """A call of a function."""

    call_id: str
    tool: Tool

    def add(self, text: str) -> Iterator[Event]:
        """Take the next part of the arguments."""
        self.texts.append(text)
        kind = "response.function_call_arguments.delta"
        yield {"type": kind, "item_id": self.id, "delta": text}

    def finish(self, status: Status) -> Iterator[Event]:
        """Give the events that close it."""
        kind = "response.function_call_arguments.done"
        names = {"name": self.tool.name}
        yield {"type": kind, "item_id": self.id, **names, "arguments": self.text}
        yield from OpenItem.finish(self, status)

    def render(self, status: Status) -> Item:
        """Return the item as it is now."""
        item = {"id": self.id, "type": "function_call", "status": status, "call_id": self.call_id}
        return {**item, **self.tool.names, "arguments": self.text}


@dataclass(slots=True, kw_only=True)
class CustomCall(OpenItem):
    """A call of a custom tool: the model writes a function's one argument, the client sees text.

    The text is told at once, when the JSON around it is complete.
    """

    call_id: str
    tool: Tool

    def add(self, text: str) -> Iterator[Event]:
        """Take the next part of the JSON."""
        self.texts.append(text)
        yield from ()

    def finish(self, status: Status) -> Iterator[Event]:
        """Give the events that close it."""
        kind = "response.custom_tool_call_input"
        text = custom.text_of(self.text)
        yield {"type": f"{kind}.delta", "item_id": self.id, "delta": text}
        yield {"type": f"{kind}.done", "item_id": self.id, "input": text}
        yield from OpenItem.finish(self, status)

    def render(self, status: Status) -> Item:
        """Return the item as it is now."""
        item = {"id": self.id, "type": "custom_tool_call", "status": status}
        text = "" if status == "in_progress" else custom.text_of(self.text)
        return {**item, "call_id": self.call_id, **self.tool.names, "input": text}
