from __future__ import annotations

import json
from typing import Any

import pytest

from runner.cli.chat import Answer, Conversation, Said, Spent, describe_cost
from runner.errors import Kind, RunnerError
from tests.support.console import FakeRemote

PATH = "POST /v1/chat/completions"


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(text: str | None, finish: str | None = None) -> bytes:
    return event({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})


USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 8},
}
TIMINGS = {"prompt_n": 4, "prompt_ms": 20.0, "predicted_n": 4, "predicted_ms": 80.0}
STREAM = (
    event({"choices": [{"delta": {"role": "assistant"}}]})
    + delta("Par")
    + b": heartbeat\n\n"
    + delta("ïs")
    + delta(None, "stop")
    + event({"choices": [], "usage": USAGE, "timings": TIMINGS})
    + b"data: [DONE]\n\n"
)


def ask(pieces: list[Any]) -> tuple[list[Said], Answer]:
    with Answer(FakeRemote({PATH: pieces}), {}) as answer:  # type: ignore[arg-type]
        return list(answer), answer


@pytest.mark.parametrize(
    "pieces",
    [[STREAM], [STREAM[i : i + 1] for i in range(len(STREAM))]],
    ids=["whole", "byte by byte"],
)
def test_an_answer_is_text_and_then_counts(pieces: list[bytes]) -> None:
    text, answer = ask(pieces)
    assert text == [Said("Par"), Said("ïs")]
    assert (answer.finish_reason, answer.usage, answer.timings) == ("stop", USAGE, TIMINGS)


def test_an_error_in_the_stream_is_raised_with_its_kind() -> None:
    error = {"error": {"message": "the engine died", "code": "engine_crashed", "param": None}}
    with pytest.raises(RunnerError, match="the engine died") as caught:
        ask([delta("Par"), event(error)])
    assert caught.value.kind is Kind.ENGINE_CRASHED


def test_a_request_has_the_turns_in_order() -> None:
    conversation = Conversation("m", "Be brief.", {"seed": 7}, [("q1", "a1")])
    assert conversation.request("q2") == {
        "seed": 7,
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "q1"},
            {"role": "assistant", "content": "a1"},
            {"role": "user", "content": "q2"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_thoughts_are_told_apart() -> None:
    thought = event({"choices": [{"delta": {"reasoning_content": "Hm."}}]})
    text, _ = ask([thought, delta("Paris")])
    assert text == [Said("Hm.", is_thought=True), Said("Paris")]


def test_the_cost_is_told_as_far_as_it_is_known() -> None:
    _, answer = ask([STREAM])
    assert describe_cost(answer, Spent(0.5, 1.25)) == (
        "prompt 12 tokens (8 cached) in 0.02 s (200.0/s), answer 4 tokens in 0.08 s (50.0/s), "
        "ended by stop, first words after 0.50 s, 1.25 s in all"
    )
    _, answer = ask([delta("x")])
    assert describe_cost(answer, Spent(0.5, 1.25)) == (
        "prompt 0 tokens (0 cached), answer 0 tokens, first words after 0.50 s, 1.25 s in all"
    )


def test_the_cost_of_thinking_is_told() -> None:
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}}
    _, answer = ask([event({"choices": [], "usage": usage})])
    assert "answer 9 tokens (6 thinking)" in describe_cost(answer, Spent(0.0, 0.0))


@pytest.mark.parametrize("pieces", [[b"data: {nope\n\n"], [b'data: "x"\n\n', b"data: [DONE"]])
def test_an_answer_that_is_no_stream_of_objects_is_one_error(pieces: list[bytes]) -> None:
    with pytest.raises(RunnerError, match="no stream of JSON") as caught:
        ask(pieces)
    assert caught.value.kind is Kind.UNAVAILABLE
