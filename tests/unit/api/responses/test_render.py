"""What goes over the wire, compared with samples that are reviewed like code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.api.responses import parse, render, replay
from runner.api.responses.thoughts import seal, unseal
from runner.errors import Kind, RunnerError
from runner.wire.messages import Begun, CallDelta, Ended, Piece, Timings, TokenLogprob

SAMPLES = Path(__file__).resolve().parents[3] / "wire_samples"

TOOLS: list[Any] = [
    {"type": "function", "name": "weather", "parameters": {"type": "object"}},
    {"type": "custom", "name": "patch", "description": "change files"},
    {
        "type": "namespace",
        "name": "mcp__notes",
        "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}],
    },
]
BEGUN = Begun(id=1, prompt_tokens=24, cached_tokens=20)
ENDED = Ended(
    id=1,
    reason="eos",
    prompt_tokens=24,
    cached_tokens=20,
    completion_tokens=9,
    timings=Timings(cache_n=20, prompt_n=4, prompt_ms=8.0, predicted_n=9, predicted_ms=10.0),
    reasoning_tokens=2,
)
CUT = msgspec.structs.replace(ENDED, reason="length")
TEXT = (
    Piece(id=1, text="Hello", tokens=1),
    Piece(id=1, text="", tokens=1),
    Piece(id=1, text=' "wörld"\n\u2028', tokens=1),
)
WORK = (
    Piece(id=1, text="", tokens=1, reasoning="I should"),
    Piece(id=1, text="Wait.", tokens=2, reasoning=" look."),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(0, "", "call_a", "weather"),)),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(0, '{"city":'),)),
    Piece(
        id=1,
        text="",
        tokens=1,
        calls=(
            CallDelta(0, '"Rome"}'),
            CallDelta(1, '{"input":"+ a\\n', "call_b", "patch"),
        ),
    ),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(1, '+ b"}'),)),
    Piece(id=1, text="", tokens=1, calls=(CallDelta(2, "{}", "call_c", "mcp__notes__find"),)),
)


def answer(kept: list[Any] | None = None, **members: Any) -> render.Answer:
    request = parse.parse({"model": "ai/smollm2", "input": "hi", **members})
    identity = render.Identity(
        key="0123456789abcdef0123456789abcdef", created_s=1767225600, echo=request.echo
    )
    kept = [] if kept is None else kept
    return render.Answer(identity, request.telling, keep=kept.append)


def streamed(told: render.Answer, pieces: tuple[Piece, ...], ended: Ended = ENDED) -> bytes:
    chunks = told.chunks(0)
    events = [chunks.first(BEGUN), *map(chunks.piece, pieces), chunks.last(ended)]
    return b"".join(events) + told.tail([ended])


def whole(told: render.Answer, pieces: tuple[Piece, ...], ended: Ended = ENDED) -> Any:
    transcript = told.choice()
    for event in (BEGUN, *pieces):
        transcript.add(event)
    return json.loads(told.whole([(transcript, ended)]))


def read(stream: bytes) -> list[Any]:
    return [json.loads(event.split(b"\ndata: ")[1]) for event in stream.strip().split(b"\n\n")]


@pytest.mark.parametrize(
    ("name", "members", "pieces", "ended"),
    [
        ("response_stream.sse", {}, TEXT, ENDED),
        ("response_stream_cut.sse", {}, TEXT[:1], CUT),
        ("response_stream_work.sse", {"tools": TOOLS}, WORK, ENDED),
        (
            "response_stream_summary.sse",
            {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]},
            WORK[:2],
            ENDED,
        ),
    ],
)
def test_a_stream(name: str, members: Any, pieces: Any, ended: Ended) -> None:
    assert streamed(answer(**members), pieces, ended) == (SAMPLES / name).read_bytes()


@pytest.mark.parametrize("pieces", [TEXT, WORK, (), WORK[:1]])
@pytest.mark.parametrize("ended", [ENDED, CUT])
def test_a_stream_ends_with_what_a_whole_answer_is(pieces: tuple[Piece, ...], ended: Ended) -> None:
    events = read(streamed(answer(tools=TOOLS), pieces, ended))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]
    assert last["type"] == ("response.incomplete" if ended is CUT else "response.completed")
    assert last["response"] == whole(answer(tools=TOOLS), pieces, ended)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == last["response"]["output"]
    for index, item in enumerate(done):
        assert item["id"].endswith(f"_0123456789abcdef0123456789abcdef{index:04x}")


def joined(events: list[Any]) -> list[Any]:
    """Events without their numbers; deltas that follow one another are one."""
    told: list[Any] = []
    for event in events:
        event = {name: value for name, value in event.items() if name != "sequence_number"}
        if told and event["type"].endswith(".delta") and told[-1]["type"] == event["type"]:
            told[-1]["delta"] += event["delta"]
            if "logprobs" in event:
                told[-1]["logprobs"] += event["logprobs"]
        else:
            told.append(event)
    return told


@pytest.mark.parametrize("pieces", [TEXT, WORK, (), WORK[:1], WORK[:3]])
@pytest.mark.parametrize("ended", [ENDED, CUT])
@pytest.mark.parametrize(
    "members",
    [
        {"tools": TOOLS},
        {
            "tools": TOOLS,
            "reasoning": {"summary": "auto"},
            "include": ["reasoning.encrypted_content"],
        },
    ],
)
def test_a_replay_tells_what_the_stream_told(
    pieces: tuple[Piece, ...], ended: Ended, members: Any
) -> None:
    kept: list[Any] = []
    live = read(streamed(answer(kept, **members), pieces, ended))
    again = read(replay.stream(kept[0], after=-1))
    assert [event["sequence_number"] for event in again] == list(range(len(again)))
    assert joined(again) == joined(live)


def test_a_replay_begins_where_it_is_asked_to_and_always_tells_the_last_event() -> None:
    response = whole(answer(), TEXT)
    told = read(replay.stream(response, after=-1))
    assert read(replay.stream(response, after=0)) == told[1:]
    assert read(replay.stream(response, after=3)) == told[4:]
    assert read(replay.stream(response, after=len(told) - 1)) == told[-1:]
    assert read(replay.stream(response, after=10**6)) == told[-1:]


def test_a_replay_of_a_failure_ends_with_it() -> None:
    kept: list[Any] = []
    failing = answer(kept)
    failing.chunks(0).first(BEGUN)
    failing.failed(RunnerError(Kind.BUSY, "no room"))
    told = read(replay.stream(kept[0], after=-1))
    assert [event["type"] for event in told] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]


def test_what_goes_on_with_a_call_comes_before_the_text_after_it() -> None:
    call = Piece(id=1, text="", tokens=1, calls=(CallDelta(0, "{", "call_a", "weather"),))
    rest = Piece(id=1, text="Done.", tokens=1, calls=(CallDelta(0, "}"),))
    output = whole(answer(tools=TOOLS), (call, rest))["output"]
    assert [item["type"] for item in output] == ["function_call", "message"]
    assert output[0]["arguments"] == "{}"


def test_an_answer_that_is_cut_says_so_at_its_last_item() -> None:
    response = whole(answer(tools=TOOLS), WORK[:4], CUT)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    statuses = [item["status"] for item in response["output"]]
    assert statuses == ["completed", "completed", "incomplete"]
    assert response["output"][2]["arguments"] == '{"city":'


def test_a_custom_call_that_is_cut_is_told_as_far_as_it_came() -> None:
    call = Piece(id=1, text="", tokens=1, calls=(CallDelta(0, '{"inp', "call_b", "patch"),))
    [item] = whole(answer(tools=TOOLS), (call,), CUT)["output"]
    assert (item["type"], item["input"], item["status"]) == (
        "custom_tool_call",
        '{"inp',
        "incomplete",
    )


def test_logprobs_are_of_the_text() -> None:
    shown = TokenLogprob(token=1, piece=b"a", logprob=-0.5, top=((2, b"b", -1.0),))
    piece = Piece(id=1, text="a", tokens=1, logprobs=(shown,))
    response = whole(answer(top_logprobs=1), (WORK[0], piece))
    [part] = response["output"][1]["content"]
    assert part["logprobs"] == [
        {
            "id": 1,
            "token": "a",
            "bytes": [97],
            "logprob": -0.5,
            "top_logprobs": [{"id": 2, "token": "b", "bytes": [98], "logprob": -1.0}],
        }
    ]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.ENGINE_CRASHED, "server_error"),
        (Kind.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
        (Kind.RATE_LIMITED, "rate_limit_exceeded"),
    ],
)
def test_a_stream_that_fails_midway(kind: Kind, code: str) -> None:
    kept: list[Any] = []
    told = answer(kept)
    chunks = told.chunks(0)
    sent = chunks.first(BEGUN) + chunks.piece(TEXT[0])
    events = read(sent + told.failed(RunnerError(kind, "it broke", hint="ask again")))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": code, "message": "it broke (ask again)"}
    assert kept == [last["response"]]


@pytest.mark.parametrize("is_rendered", [False, True])
def test_a_stream_that_fails_before_its_first_text_is_opened_once(is_rendered: bool) -> None:
    told = answer()
    if is_rendered:
        told.chunks(0).first(BEGUN)  # which is sent with the first text, and there is none
    events = read(told.failed(RunnerError(Kind.LOAD_FAILED, "it does not load")))
    types = [event["type"] for event in events]
    assert types == ["response.created", "response.in_progress", "response.failed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]


def test_a_complete_response_is_kept_as_it_is_told() -> None:
    kept: list[Any] = []
    response = whole(answer(kept, metadata={"a": "b"}), TEXT)
    assert kept == [response]
    assert response["metadata"] == {"a": "b"}


def test_thoughts_come_back_out_of_their_seal() -> None:
    assert unseal(seal("naïve 🙂")) == "naïve 🙂"
    assert unseal("gAAAAABo") is None
    assert unseal("thoughts:*") is None
    assert unseal("thoughts:/w==") is None
