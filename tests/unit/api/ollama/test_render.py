"""What Ollama's clients read, compared with samples that are reviewed like code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import ollama
import pytest

from runner.api.ollama import render
from runner.wire.messages import Begun, CallDelta, Ended, Piece, Timings, TokenLogprob

SAMPLES = Path(__file__).resolve().parents[3] / "wire_samples"

TIMINGS = Timings(cache_n=20, prompt_n=4, prompt_ms=8.0, predicted_n=3, predicted_ms=10.5)
ENDED = Ended(
    id=1,
    reason="eos",
    prompt_tokens=24,
    cached_tokens=20,
    completion_tokens=3,
    timings=TIMINGS,
)
PIECES = (
    Piece(id=1, text="", tokens=2, reasoning="I greet."),
    Piece(id=1, text="Hello", tokens=1),
    Piece(id=1, text="", tokens=1),
    Piece(id=1, text=' "wörld"\n😀\u2028', tokens=1),
)
CALLS = (
    Piece(id=1, text="Let me see.", tokens=1),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(0, id="call_a", name="weather"),)),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(0, arguments='{"city":'),)),
    Piece(
        id=1,
        text="",
        tokens=1,
        calls=(CallDelta(0, arguments=' "Köln"}'), CallDelta(1, id="call_b", name="now")),
    ),
)


def answer(members: str) -> render.Answer:
    """An answer whose clock goes on by a millisecond whenever it is looked at."""
    ticks = iter(range(5_000_000, 10**9, 1_000_000))
    timing = render.Timing(1_767_225_600_123_456_789, 5_000_000, lambda: next(ticks))
    shown = {"chat": render.chat_members, "generate": render.generate_members}[members]
    return render.Answer("smollm2", shown, timing, load_ns=2_000)


def stream(members: str, pieces: Sequence[Piece], ended: Ended = ENDED) -> bytes:
    chunks = answer(members).chunks(0)
    begun = Begun(id=1, prompt_tokens=24, cached_tokens=20)
    return b"".join([chunks.first(begun), *map(chunks.piece, pieces), chunks.last(ended)])


def whole(members: str, pieces: Sequence[Piece], ended: Ended = ENDED) -> bytes:
    told = answer(members)
    choice = told.choice()
    for piece in pieces:
        choice.add(piece)
    return told.whole([(choice, ended)]) + told.tail([ended])


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (stream("chat", PIECES), "ollama_chat.ndjson"),
        (stream("chat", CALLS), "ollama_chat_calls.ndjson"),
        (stream("generate", PIECES), "ollama_generate.ndjson"),
        (whole("chat", CALLS) + b"\n", "ollama_chat.json"),
        (whole("generate", PIECES) + b"\n", "ollama_generate.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answers_are_the_samples(made: bytes, name: str) -> None:
    assert made == sample(name)


def test_a_line_has_no_other_end() -> None:
    made = stream("chat", PIECES).decode()
    assert [json.loads(line)["done"] for line in made.splitlines()] == [False, False, False, True]


def test_a_call_that_was_cut_off_is_left_out() -> None:
    cut = msgspec.structs.replace(ENDED, reason="length")
    last, *rest = reversed(stream("chat", CALLS[:3], cut).splitlines())
    assert json.loads(last)["done_reason"] == "length"
    assert all("tool_calls" not in json.loads(line)["message"] for line in rest)


def test_logprobs_stand_beside_the_text() -> None:
    logprob = TokenLogprob(token=7, piece=b"Hi", logprob=-0.5, top=((7, b"Hi", -0.5),))
    piece = Piece(id=1, text="Hi", tokens=1, logprobs=(logprob,))
    first = json.loads(stream("generate", [piece]).splitlines()[0])
    told = {"id": 7, "token": "Hi", "bytes": [72, 105], "logprob": -0.5}
    assert first["response"] == "Hi"
    assert first["logprobs"] == [{**told, "top_logprobs": [told]}]
    assert json.loads(whole("chat", [piece]))["logprobs"] == first["logprobs"]


def test_an_answer_without_text() -> None:
    assert json.loads(whole("generate", []))["response"] == ""


def test_what_is_kept() -> None:
    said = render.chat_members(render.NOTHING)
    assert json.loads(render.kept("a", said, is_loaded=False, now="T")) == {
        "model": "a",
        "created_at": "T",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "unload",
    }


@pytest.mark.parametrize("name", ["ollama_chat.ndjson", "ollama_chat_calls.ndjson"])
def test_ollamas_client_reads_the_samples(name: str) -> None:
    parts = [ollama.ChatResponse(**json.loads(line)) for line in sample(name).splitlines()]
    assert parts[-1].done_reason == "stop"
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    if "calls" in name:
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("weather", {"city": "Köln"}),
            ("now", {}),
        ]
    else:
        assert parts[0].message.thinking == "I greet."
