"""Answers to reasoning, content and tool calls, on a thread of its own: the engine never waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from runner.wire.messages import (
    CallDelta,
    Ended,
    Event,
    Piece,
    RequestId,
    TokenLogprob,
    is_last,
)
from runner.wire.pieces import join, join_calls

LOG = logging.getLogger(__name__)


class Parser(Protocol):
    """The part of ``binding.Parser`` that is used here."""

    def feed(
        self, text: str, *, is_final: bool = False, is_cut: bool = False
    ) -> list[dict[str, Any]]:
        """Add text and return what is new; ``is_cut``: final for want of room."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


@dataclass(slots=True)
class Answer:
    """One answer being parsed."""

    parser: Parser
    unparsed: list[Piece] = field(default_factory=list)
    tokens: int = 0  # parsed and not told of yet
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning_tokens: int = 0

    def parse(self, id: RequestId, *, is_final: bool, is_cut: bool = False) -> Piece | None:
        """Parse what has gathered; return what is new, if anything is."""
        piece = join(self.unparsed) if self.unparsed else Piece(id, "", 0)
        self.unparsed = []
        deltas = self.parser.feed(piece.text, is_final=is_final, is_cut=is_cut)
        told = Piece(
            id,
            "".join(delta.get("content", "") for delta in deltas),
            self.tokens + piece.tokens,
            self.logprobs + piece.logprobs,
            "".join(delta.get("reasoning_content", "") for delta in deltas),
            join_calls(_call(delta["tool_call"]) for delta in deltas if "tool_call" in delta),
        )
        self.reasoning_tokens += _reasoning_tokens(told)
        if told.text or told.reasoning or told.calls or (is_final and told.logprobs):
            self.tokens, self.logprobs = 0, ()
            return told
        self.tokens, self.logprobs = told.tokens, told.logprobs  # markup: told of with what follows
        return None


def _call(delta: dict[str, Any]) -> CallDelta:
    return CallDelta(delta["index"], delta["arguments"], delta.get("id", ""), delta.get("name", ""))


def _reasoning_tokens(told: Piece) -> int:
    """Share the tokens of a piece out by its characters."""
    if not told.reasoning:
        return 0
    other = len(told.text) + sum(len(call.name) + len(call.arguments) for call in told.calls)
    return round(told.tokens * len(told.reasoning) / (len(told.reasoning) + other))


class Parsing:
    """Stands between the engine and the outbox, and parses the answers that have a parser.

    :meth:`open` and :meth:`take` are for the engine thread, :meth:`run` for a thread of its own.
    Events without a parser pass at once; those of one id keep their order.
    """

    def __init__(self, emit: Callable[[list[Event]], None]) -> None:
        self._emit = emit
        self._answers: dict[RequestId, Answer] = {}
        self._changed = threading.Condition()
        self._queue: list[Event] = []

    def open(self, id: RequestId, parser: Parser) -> None:
        """Parse the answer with this id, whose first event has not come yet; closes ``parser``."""
        with self._changed:
            self._answers[id] = Answer(parser)

    def take(self, events: list[Event]) -> None:
        """Take what a step produced."""
        if not self._answers:  # the rule, and then there is nothing to wait for
            self._emit(events)
            return
        plain = [event for event in events if event.id not in self._answers]
        if plain:
            self._emit(plain)
        if len(plain) < len(events):
            with self._changed:
                self._queue += [event for event in events if event.id in self._answers]
                self._changed.notify()

    def run(self) -> None:
        """Parse for ever."""
        while True:
            events = self._wait()
            told = [told for event in events for told in self._handle(event)]
            told += self._parse_new({event.id for event in events})
            if told:
                self._emit(told)
            self._close({event.id for event in events if is_last(event)})

    def finish(self, timeout_s: float) -> bool:
        """Wait until every answer was told of to its end; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._answers, timeout_s)

    def _close(self, ids: set[RequestId]) -> None:
        for id in ids:
            self._answers[id].parser.close()
            with self._changed:
                del self._answers[id]
                self._changed.notify_all()

    def _wait(self) -> list[Event]:
        """Return what has come; wait for it."""
        with self._changed:
            while not self._queue:
                self._changed.wait()
            events, self._queue = self._queue, []
            return events

    def _handle(self, event: Event) -> Sequence[Event]:
        """Keep a piece; anything else is told of, what was kept before it."""
        answer = self._answers[event.id]
        if isinstance(event, Piece):
            answer.unparsed.append(event)
            return ()
        if not isinstance(event, Ended):
            answer.unparsed = [] if is_last(event) else answer.unparsed
            return (event,)
        is_cut = event.reason in ("length", "context")
        told = self._parse(event.id, answer, is_final=True, is_cut=is_cut)
        ended = msgspec.structs.replace(event, reasoning_tokens=answer.reasoning_tokens)
        return (ended,) if told is None else (told, ended)

    def _parse_new(self, ids: set[RequestId]) -> list[Event]:
        told = [
            self._parse(id, self._answers[id], is_final=False)
            for id in ids
            if self._answers[id].unparsed
        ]
        return [piece for piece in told if piece is not None]

    def _parse(
        self, id: RequestId, answer: Answer, *, is_final: bool, is_cut: bool = False
    ) -> Piece | None:
        unparsed = list(answer.unparsed)
        try:
            return answer.parse(id, is_final=is_final, is_cut=is_cut)
        except Exception:  # an answer is never lost for the trouble of its parser
            LOG.exception("the answer to request %d could not be parsed", id)
            return join(unparsed) if unparsed else None
