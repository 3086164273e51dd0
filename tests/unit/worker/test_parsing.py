"""The parser's thread: order, what is told when, and answers that no parser trouble loses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from runner.wire.messages import (
    Begun,
    CallDelta,
    Ended,
    Event,
    Failed,
    Piece,
    Timings,
    TokenLogprob,
)
from runner.wire.pieces import join
from runner.worker.parsing import Parsing

WAIT_S = 10.0
TIMINGS = Timings(cache_n=0, prompt_n=1, prompt_ms=1.0, predicted_n=1, predicted_ms=1.0)


class Script:
    """A parser that takes letters of a case for reasoning, digits for arguments of one call."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks = breaks
        self.fed: list[tuple[str, bool]] = []
        self.is_closed = False
        self.is_cut = False

    def feed(
        self, text: str, *, is_final: bool = False, is_cut: bool = False
    ) -> list[dict[str, Any]]:
        self.fed.append((text, is_final))
        self.is_cut = is_cut
        if self.breaks:
            raise ValueError
        deltas: list[dict[str, Any]] = []
        for letter in text:
            if letter.isdigit():
                deltas.append({"tool_call": {"index": 0, "arguments": letter}})
            elif letter.isupper():
                deltas.append({"reasoning_content": letter})
            elif letter != "#":  # markup
                deltas.append({"content": letter})
        return deltas

    def close(self) -> None:
        self.is_closed = True


class Stage:
    """A running stage, and what it told."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.parsing = Parsing(self.told.extend)
        threading.Thread(target=self.parsing.run, daemon=True).start()

    def finish(self) -> list[Event]:
        assert self.parsing.finish(WAIT_S)
        return self.told


@pytest.fixture
def stage() -> Iterator[Stage]:
    yield Stage()


def ended(id: int = 1) -> Ended:
    return Ended(id, "eos", 1, 0, 1, TIMINGS)


def pieces(events: list[Event]) -> Piece:
    return join([event for event in events if isinstance(event, Piece)])


def test_without_a_parser_events_pass_at_once(stage: Stage) -> None:
    events: list[Event] = [Begun(1, 1, 0), Piece(1, "A", 1), ended()]
    stage.parsing.take(events)
    assert stage.told == events


def test_an_answer_is_told_of_by_channel_and_its_end_comes_last(stage: Stage) -> None:
    parser = Script()
    stage.parsing.open(1, parser)
    stage.parsing.take([Begun(1, 1, 0), Piece(1, "TH", 2)])
    stage.parsing.take([Piece(1, "ok1", 3), Piece(2, "A", 1)])
    stage.parsing.take([Piece(1, "2", 1), ended()])
    told = [event for event in stage.finish() if event.id == 1]
    assert told[0] == Begun(1, 1, 0)
    whole = pieces(told)
    assert (whole.reasoning, whole.text, whole.calls) == ("TH", "ok", (CallDelta(0, "12"),))
    last = told[-1]
    assert isinstance(last, Ended)
    assert last.reasoning_tokens == 2
    assert parser.is_closed
    assert parser.fed[-1][1]
    assert Piece(2, "A", 1) in stage.told


def test_logprobs_of_markup_come_with_what_follows_or_at_the_end(stage: Stage) -> None:
    one, two = (TokenLogprob(token, b"#", -1.0) for token in (1, 2))
    stage.parsing.open(1, Script())
    stage.parsing.take([Piece(1, "#", 1, (one,))])
    stage.parsing.take([Piece(1, "a", 1), Piece(1, "#", 1, (two,)), ended()])
    assert pieces(stage.finish()).logprobs == (one, two)


def test_a_failure_drops_what_was_not_told(stage: Stage) -> None:
    stage.parsing.open(1, Script())
    stage.parsing.take([Failed(1, "cancelled", "x")])
    assert stage.finish() == [Failed(1, "cancelled", "x")]


def test_trouble_with_the_parser_loses_no_text(stage: Stage) -> None:
    stage.parsing.open(1, Script(breaks=True))
    stage.parsing.take([Piece(1, "some", 1)])
    stage.parsing.take([Piece(1, " text", 1), ended()])
    told = stage.finish()
    assert pieces(told).text == "some text"
    assert isinstance(told[-1], Ended)
