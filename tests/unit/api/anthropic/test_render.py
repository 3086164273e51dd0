"""What goes over the wire, compared with samples that are reviewed like code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.api.anthropic import errors, render
from runner.api.anthropic.parse import Shows
from runner.errors import Kind, RunnerError
from runner.wire.messages import Begun, CallDelta, Ended, Piece, Timings

SAMPLES = Path(__file__).resolve().parents[3] / "wire_samples"

BEGUN = Begun(id=1, prompt_tokens=24, cached_tokens=20)
ENDED = Ended(
    id=1,
    reason="eos",
    prompt_tokens=24,
    cached_tokens=20,
    completion_tokens=9,
    reasoning_tokens=2,
    timings=Timings(cache_n=20, prompt_n=4, prompt_ms=8.0, predicted_n=9, predicted_ms=10.0),
)
PIECES = (
    Piece(id=1, text="", tokens=1, reasoning="Let me"),
    Piece(id=1, text="So", tokens=1, reasoning=" think"),
    Piece(id=1, text=' "wörld"\n\u2028', tokens=1),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(0, "", "call_1", "weather"),)),
    Piece(
        id=1,
        text="",
        tokens=2,
        calls=(
            CallDelta(0, '{"city":'),
            CallDelta(0, ' "Rome"}'),
            CallDelta(1, "", "call_2", "now"),
        ),
    ),
)


def answer(shows: Shows = "all", *stops: str) -> render.Answer:
    return render.Answer("msg_0123456789abcdef01234567", "ai/smollm2", stops, shows)


def streamed(told: render.Answer, *pieces: Piece, ended: Ended = ENDED) -> bytes:
    chunks = told.chunks(0)
    parts = [
        chunks.first(BEGUN),
        *map(chunks.piece, pieces),
        chunks.last(ended),
        told.tail([ended]),
    ]
    return b"".join(parts)


def whole(told: render.Answer, *pieces: Piece, ended: Ended = ENDED) -> Any:
    choice = told.choice()
    choice.add(BEGUN)
    for piece in pieces:
        choice.add(piece)
    return json.loads(told.whole([(choice, ended)]))


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def test_a_stream_of_text() -> None:
    pieces = (Piece(id=1, text="Hello", tokens=1), Piece(id=1, text=" you", tokens=1))
    assert streamed(answer(), *pieces) == sample("anthropic_text.sse")


def test_what_goes_on_with_a_call_is_told_before_the_text_that_came_with_it() -> None:
    """Pieces are joined while a client reads slowly."""
    begun = Piece(id=1, text="", tokens=1, calls=(CallDelta(0, "{", "call_1", "weather"),))
    joined = Piece(id=1, text="Done.", tokens=2, calls=(CallDelta(0, "}"),))
    events = streamed(answer(), begun, joined).split(b"\n\n")
    told = [json.loads(event.partition(b"data: ")[2]) for event in events if event]
    assert [event["delta"] for event in told if event["type"] == "content_block_delta"] == [
        {"type": "input_json_delta", "partial_json": "{"},
        {"type": "input_json_delta", "partial_json": "}"},
        {"type": "text_delta", "text": "Done."},
    ]
    assert [event["type"] for event in told].count("content_block_start") == 2


def test_a_stream_of_thinking_text_and_calls() -> None:
    assert streamed(answer(), *PIECES) == sample("anthropic_blocks.sse")


def test_a_stream_that_fails() -> None:
    error = RunnerError(Kind.ENGINE_CRASHED, "the engine process crashed", hint="ask again")
    assert errors.event(error) == sample("anthropic_error.sse")


def test_a_whole_message() -> None:
    choice = answer().choice()
    for piece in PIECES:
        choice.add(piece)
    assert answer().whole([(choice, ENDED)]) + b"\n" == sample("anthropic_message.json")


def test_thoughts_that_are_not_sent_leave_their_place_or_nothing() -> None:
    [hidden, *_] = whole(answer("omitted"), *PIECES)["content"]
    assert hidden == {"type": "thinking", "thinking": "", "signature": render.SIGNATURE}
    assert whole(answer("nothing"), *PIECES)["content"][0]["type"] == "text"
    assert b"thinking_delta" not in streamed(answer("omitted"), *PIECES)
    assert b"signature_delta" in streamed(answer("omitted"), *PIECES)
    assert b"signature" not in streamed(answer("nothing"), *PIECES)


def test_an_answer_of_nothing_has_no_blocks() -> None:
    kinds = [line[7:] for line in streamed(answer()).split(b"\n") if line.startswith(b"event: ")]
    assert kinds == [b"message_start", b"message_delta", b"message_stop"]
    assert whole(answer())["content"] == []


def test_a_call_that_was_cut_short_is_none_but_keeps_its_place_in_a_stream() -> None:
    cut = Piece(id=1, text="", tokens=1, calls=(CallDelta(0, '{"city": "Ro', "c", "weather"),))
    ended = msgspec.structs.replace(ENDED, reason="length")
    message = whole(answer(), cut, ended=ended)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert b'"partial_json":"{\\"city\\": \\"Ro"' in streamed(answer(), cut, ended=ended)


@pytest.mark.parametrize(
    ("ended", "reason", "word"),
    [
        ({"reason": "eos"}, "end_turn", None),
        ({"reason": "stop", "stopping_word": "END"}, "stop_sequence", "END"),
        ({"reason": "stop", "stopping_word": "<|im_end|>"}, "end_turn", None),
        ({"reason": "stop"}, "end_turn", None),
        ({"reason": "length"}, "max_tokens", None),
        ({"reason": "context"}, "model_context_window_exceeded", None),
    ],
)
def test_why_a_message_ended(ended: dict[str, Any], reason: str, word: str | None) -> None:
    last = msgspec.structs.replace(ENDED, **ended)
    message = whole(answer("all", "END"), ended=last)
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, word)
    shown = json.dumps({"stop_reason": reason, "stop_sequence": word}, separators=(",", ":"))
    assert shown.encode() in streamed(answer("all", "END"), ended=last)
