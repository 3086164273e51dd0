"""What a model says, as items one after the other with the events that tell of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runner.api.responses.output import (
    CustomCall,
    Event,
    FunctionCall,
    Item,
    Message,
    OpenItem,
    Reasoning,
    Status,
)
from runner.api.responses.tools import Tool
from runner.wire.messages import Begun, CallDelta, Piece, TokenLogprob


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What a request says of how items are told."""

    tools: Mapping[str, Tool]  # by the name that the model knows
    has_summary: bool = False  # thoughts are told as a summary
    is_sealed: bool = False  # thoughts are told as encrypted_content too


class Transcript:
    """The items of one answer. ``key`` is in their ids; no other answer has it."""

    def __init__(self, key: str, telling: Telling) -> None:
        self.items: list[Item] = []  # those that are done
        self._key = key
        self._telling = telling
        self._open: OpenItem | None = None

    def add(self, event: Begun | Piece) -> None:
        """Take what comes of an answer that is told whole."""
        if isinstance(event, Piece):
            for _ in self.take(event):
                pass

    def take(self, piece: Piece) -> Iterator[Event]:
        """Take new text; give the events that tell it."""
        # A piece lists calls last, but what goes on with a call was said before any new text.
        begun = [call for call in piece.calls if not call.name]
        for call in begun:
            yield from self._take_call(call)
        if piece.reasoning:
            yield from self._take_reasoning(piece.reasoning)
        if piece.text:
            yield from self._take_text(piece.text, piece.logprobs)
        for call in piece.calls[len(begun) :]:
            yield from self._take_call(call)

    def end(self, *, is_cut: bool) -> Iterator[Event]:
        """End the answer; one that says nothing is an empty message."""
        if self._open is None and not self.items:
            yield from self._begin(Message(self._id("msg")))
        yield from self._finish("incomplete" if is_cut else "completed")

    def _take_reasoning(self, text: str) -> Iterator[Event]:
        if not isinstance(self._open, Reasoning):
            telling = self._telling
            new = Reasoning(
                self._id("rs"), as_summary=telling.has_summary, is_sealed=telling.is_sealed
            )
            yield from self._begin(new)
        assert isinstance(self._open, Reasoning)
        yield from self._placed([self._open.add(text)])

    def _take_text(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> Iterator[Event]:
        if not isinstance(self._open, Message):
            yield from self._begin(Message(self._id("msg")))
        assert isinstance(self._open, Message)
        yield from self._placed([self._open.add(text, logprobs)])

    def _take_call(self, call: CallDelta) -> Iterator[Event]:
        """Take a call's next text: calls come one after the other, and a name begins one."""
        if call.name:
            tool = self._telling.tools.get(call.name) or Tool(call.name)
            if tool.is_custom:
                new: OpenItem = CustomCall(self._id("ctc"), call_id=call.id, tool=tool)
            else:
                new = FunctionCall(self._id("fc"), call_id=call.id, tool=tool)
            yield from self._begin(new)
        if call.arguments and isinstance(self._open, FunctionCall | CustomCall):
            yield from self._placed(self._open.add(call.arguments))

    def _begin(self, item: OpenItem) -> Iterator[Event]:
        yield from self._finish("completed")
        self._open = item
        yield from self._placed(item.begin())

    def _finish(self, status: Status) -> Iterator[Event]:
        if self._open is not None:
            yield from self._placed(self._open.finish(status))
            self.items.append(self._open.render(status))
            self._open = None

    def _placed(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            yield {**event, "output_index": len(self.items)}

    def _id(self, prefix: str) -> str:
        """Name the next item so that its answer and its place are found by the name alone."""
        index = len(self.items) + (self._open is not None)
        return f"{prefix}_{self._key}{index:04x}"
