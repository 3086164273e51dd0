"""What goes over the wire, compared with samples that are reviewed like code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.api.openai import render
from runner.errors import Kind, RunnerError
from runner.wire.messages import Begun, CallDelta, Ended, Piece, Ready, Timings, TokenLogprob
from tests.support.fake_engine import FACTS, SETTINGS

SAMPLES = Path(__file__).resolve().parents[3] / "wire_samples"

READY = Ready(pid=1, model=FACTS, settings=SETTINGS, system_info="", devices=(), load_ms=0.5)
IDENTITY = render.Identity(
    id="chatcmpl-0123456789abcdef0123456789abcdef",
    created_s=1767225600,
    model="ai/smollm2",
    fingerprint="fp_0123456789ab",
)
TIMINGS = Timings(cache_n=20, prompt_n=4, prompt_ms=8.0, predicted_n=3, predicted_ms=10.0)
ENDED = Ended(
    id=1,
    reason="eos",
    prompt_tokens=24,
    cached_tokens=20,
    completion_tokens=3,
    timings=TIMINGS,
)
BEGUN = Begun(id=1, prompt_tokens=24, cached_tokens=20)
PIECES = (
    Piece(id=1, text="Hello", tokens=1),
    Piece(id=1, text="", tokens=1),
    Piece(id=1, text=' "wörld"\n😀\x7f\u2028</script>', tokens=1),
)
LOGPROBS = Piece(
    id=1,
    text="é",
    tokens=2,
    logprobs=(
        TokenLogprob(token=128, piece=b"\xc3", logprob=-0.5, top=((128, b"\xc3", -0.5),)),
        TokenLogprob(token=102, piece=b"\xa9", logprob=float("-inf")),
    ),
)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def test_a_stream() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False)
    stream = [chunks.first(BEGUN), *map(chunks.piece, PIECES), chunks.last(ENDED), render.DONE]
    assert b"".join(stream) == sample("chat_stream.sse")


def test_a_stream_with_usage() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=True)
    stream = [
        chunks.first(BEGUN),
        chunks.piece(PIECES[0]),
        chunks.last(ENDED),
        render.usage_chunk(IDENTITY, [ENDED]),
        render.DONE,
    ]
    assert b"".join(stream) == sample("chat_stream_usage.sse")


def test_a_stream_of_logprobs() -> None:
    chunks = render.Chunks(IDENTITY, 1, include_usage=False)
    assert chunks.first(BEGUN) + chunks.piece(LOGPROBS) == sample("chat_stream_logprobs.sse")


def test_a_stream_that_fails() -> None:
    error = RunnerError(Kind.ENGINE_CRASHED, "the engine process crashed", hint="ask again")
    assert render.error_event(error) == sample("chat_stream_error.sse")


def folded(*pieces: Piece) -> render.Choice:
    choice = render.Choice()
    choice.add(Begun(id=1, prompt_tokens=24, cached_tokens=20))
    for piece in pieces:
        choice.add(piece)
    return choice


def test_a_whole_answer() -> None:
    body = render.completion(IDENTITY, [(folded(*PIECES), ENDED)], wants_logprobs=False)
    assert body + b"\n" == sample("chat_completion.json")


def test_a_whole_answer_of_two_choices_with_logprobs() -> None:
    cut = msgspec.structs.replace(ENDED, reason="length", cached_tokens=24, completion_tokens=7)
    choices = [(folded(LOGPROBS), ENDED), (folded(LOGPROBS), cut)]
    body = render.completion(IDENTITY, choices, wants_logprobs=True)
    assert body + b"\n" == sample("chat_completion_choices.json")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("eos", "stop"), ("stop", "stop"), ("length", "length"), ("context", "length")],
)
def test_finish_reasons_are_openais(reason: Any, shown: str) -> None:
    ended = msgspec.structs.replace(ENDED, reason=reason)
    chunk = render.Chunks(IDENTITY, 0, include_usage=False).last(ended)
    assert json.loads(chunk[6:])["choices"][0]["finish_reason"] == shown


def test_the_rate_counts_gaps_and_nothing_divides_by_zero() -> None:
    assert render.render_timings(TIMINGS) == {
        "cache_n": 20,
        "prompt_n": 4,
        "prompt_ms": 8.0,
        "prompt_per_token_ms": 2.0,
        "prompt_per_second": 500.0,
        "predicted_n": 3,
        "predicted_ms": 10.0,
        "predicted_per_token_ms": 5.0,
        "predicted_per_second": 200.0,
    }
    nothing = Timings(cache_n=0, prompt_n=0, prompt_ms=0.0, predicted_n=0, predicted_ms=0.0)
    assert set(render.render_timings(nothing).values()) == {0}


def test_guesses_are_told_of_where_there_were_any() -> None:
    drafted = msgspec.structs.replace(TIMINGS, draft_n=8, draft_n_accepted=5)
    timings = render.render_timings(drafted)
    assert [*timings][-2:] == ["draft_n", "draft_n_accepted"]
    assert (timings["draft_n"], timings["draft_n_accepted"]) == (8, 5)


def test_choices_share_one_prompt_in_the_count() -> None:
    other = msgspec.structs.replace(ENDED, cached_tokens=24, completion_tokens=5)
    assert render.render_usage([ENDED, other]) == {
        "prompt_tokens": 24,
        "completion_tokens": 8,
        "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_the_fingerprint_tells_engines_apart() -> None:
    other = msgspec.structs.replace(READY, system_info="AVX2")
    first = render.fingerprint("1", READY)
    assert first == render.fingerprint("1", msgspec.structs.replace(READY, pid=9, load_ms=1.0))
    assert len({first, render.fingerprint("1", other), render.fingerprint("2", READY)}) == 3


# ---- reasoning and calls ---------------------------------------------------------------------

THOUGHT = Piece(id=1, text="", tokens=2, reasoning="Hm")
CALLED = Piece(id=1, text="Ok.", tokens=2, calls=(CallDelta(0, '{"city"', "call_a", "weather"),))
GOES_ON = Piece(
    id=1, text="", tokens=2, calls=(CallDelta(0, ":1}"), CallDelta(1, "", "call_b", "now"))
)


def test_a_stream_of_calls() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False)
    pieces = map(chunks.piece, (THOUGHT, CALLED, GOES_ON))
    stream = [chunks.first(BEGUN), *pieces, chunks.last(ENDED), render.DONE]
    assert b"".join(stream) == sample("chat_stream_calls.sse")


def test_a_whole_answer_that_calls() -> None:
    body = render.completion(
        IDENTITY, [(folded(THOUGHT, CALLED, GOES_ON), ENDED)], wants_logprobs=False
    )
    assert body + b"\n" == sample("chat_completion_calls.json")


def deltas(stream: bytes) -> list[Any]:
    events = [event.removeprefix(b"data: ") for event in stream.split(b"\n\n") if event]
    return [json.loads(event)["choices"][0]["delta"] for event in events]


def test_each_channel_has_chunks_of_its_own() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False)
    stream = b"".join(map(chunks.piece, (THOUGHT, CALLED, GOES_ON)))
    first = {"name": "weather", "arguments": ""}
    second = {"name": "now", "arguments": ""}
    assert deltas(stream) == [
        {"reasoning_content": "Hm"},
        {"content": "Ok."},
        {"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": first}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {"tool_calls": [{"index": 1, "id": "call_b", "type": "function", "function": second}]},
    ]
    assert b'"finish_reason":"tool_calls"' in chunks.last(ENDED)


TEXTS = frozenset({"now"})
NOTED = Piece(1, "", 1, calls=(CallDelta(1, '{"input"', "call_b", "now"), CallDelta(1, ': "a')))
REST = Piece(1, "", 1, calls=(CallDelta(1, '\\nb"}'), CallDelta(2, "{}", "call_c", "weather")))


def test_a_custom_tools_text_is_told_at_once() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False, custom_tools=TEXTS)
    stream = b"".join(map(chunks.piece, (NOTED, REST)))
    begun = {"name": "now", "input": ""}
    third = {"name": "weather", "arguments": ""}
    assert deltas(stream) == [
        {"tool_calls": [{"index": 1, "id": "call_b", "type": "custom", "custom": begun}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "a\nb"}}]},
        {"tool_calls": [{"index": 2, "id": "call_c", "type": "function", "function": third}]},
        {"tool_calls": [{"index": 2, "function": {"arguments": "{}"}}]},
    ]


def test_the_last_custom_tools_text_comes_before_the_end() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False, custom_tools=TEXTS)
    chunks.piece(NOTED)
    said, end = deltas(chunks.last(ENDED))  # it was cut: the JSON as far as it came
    assert said == {"tool_calls": [{"index": 1, "custom": {"input": '{"input": "a'}}]}
    assert end == {}
    assert b'"finish_reason":"tool_calls"' in chunks.last(ENDED)


def test_logprobs_of_a_text_that_is_held_back_are_told() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False, custom_tools=TEXTS)
    chunks.piece(NOTED)
    held = msgspec.structs.replace(LOGPROBS, text="", calls=(CallDelta(1, "x"),))
    stream = chunks.piece(held)
    assert deltas(stream) == [{}]
    assert b'"logprobs":{"content":[{' in stream


def test_a_whole_call_of_a_custom_tool() -> None:
    choice = render.Choice(TEXTS)
    for piece in (NOTED, REST):
        choice.add(piece)
    message = choice.render(0, ENDED, wants_logprobs=False)["message"]
    assert message["tool_calls"] == [
        {"id": "call_b", "type": "custom", "custom": {"name": "now", "input": "a\nb"}},
        {
            "id": "call_c",
            "type": "function",
            "function": {"name": "weather", "arguments": "{}"},
        },
    ]


def test_a_call_that_was_cut_is_not_called_complete() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False)
    chunks.piece(CALLED)
    cut = msgspec.structs.replace(ENDED, reason="length")
    assert b'"finish_reason":"length"' in chunks.last(cut)


def test_logprobs_go_with_the_first_chunk_of_a_piece() -> None:
    chunks = render.Chunks(IDENTITY, 0, include_usage=False)
    piece = msgspec.structs.replace(LOGPROBS, reasoning="Hm")
    first, second = (event for event in chunks.piece(piece).split(b"\n\n") if event)
    assert b'"logprobs":{"content":[{"id":128' in first
    assert b'"logprobs":null' in second


def test_a_whole_answer_of_calls_has_no_content() -> None:
    choice = render.Choice()
    for piece in (THOUGHT, msgspec.structs.replace(CALLED, text=""), GOES_ON):
        choice.add(piece)
    shown = choice.render(0, ENDED, wants_logprobs=False)
    assert shown["finish_reason"] == "tool_calls"
    assert shown["message"] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm",
        "tool_calls": [
            {
                "id": "call_a",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":1}'},
            },
            {"id": "call_b", "type": "function", "function": {"name": "now", "arguments": ""}},
        ],
    }
