"""The conversation: cases B6, B7 and B15 of demands-security.md."""

from __future__ import annotations

from typing import Any

import pytest

from runner.api.fields import Fields
from runner.api.openai import messages
from runner.errors import Kind, RunnerError


def parse(*conversation: Any) -> tuple[list[messages.Message], list[str]]:
    ignored: dict[str, None] = {}
    parsed = messages.parse(Fields({"messages": list(conversation)}), ignored)
    return parsed, list(ignored)


def refusal(conversation: Any) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        messages.parse(Fields({"messages": conversation}), {})
    return caught.value


USER = {"role": "user", "content": "Hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "Hello", "reasoning_content": "They greet."},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ],
)
def test_a_message_is_rebuilt_as_it_was(message: dict[str, Any]) -> None:
    assert parse(message) == ([message], [])


def test_what_an_sdk_sends_back_is_understood() -> None:
    answer = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    }
    parsed, ignored = parse(USER, answer, USER)
    assert parsed[1] == {"role": "assistant", "content": "Hello"}
    assert ignored == ["messages[].annotations"]


def test_a_refusal_stands_for_the_content() -> None:
    assert parse({"role": "assistant", "refusal": "I cannot."})[0][0]["content"] == "I cannot."


def test_a_call_without_arguments_has_none() -> None:
    call = {"function": {"name": "f", "arguments": ""}}
    parsed, _ = parse({"role": "assistant", "tool_calls": [call]})
    assert parsed[0]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("conversation", "param"),
    [
        (None, "messages"),
        ("Hi", "messages"),
        ({}, "messages"),
        ([], "messages"),
        (["Hi"], "messages[0]"),
        ([USER, {"content": "Hi"}], "messages[1].role"),
        ([{"role": "robot", "content": "Hi"}], "messages[0].role"),
        ([{"role": ["user"], "content": "Hi"}], "messages[0].role"),
        ([USER, {"role": "user"}], "messages[1].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "assistant", "content": None}], "messages[0].content"),
        ([{"role": "assistant", "tool_calls": []}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": {"type": "text"}}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": ["Hi"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": "Hi", "name": 1}], "messages[0].name"),
        ([USER] * 10_001, "messages[10000]"),
        (
            [USER, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
            "messages[2].role",
        ),
    ],
)
def test_what_is_wrong_is_named(conversation: Any, param: str) -> None:
    error = refusal(conversation)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, param)


def test_a_call_of_a_custom_tool_is_told_as_a_functions() -> None:
    call = {"id": "c2", "type": "custom", "custom": {"name": "note", "input": "+ é"}}
    parsed, _ = parse(USER, {"role": "assistant", "tool_calls": [call]})
    assert parsed[1]["tool_calls"] == [
        {
            "type": "function",
            "function": {"name": "note", "arguments": '{"input": "+ é"}'},
            "id": "c2",
        }
    ]


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"type": "custom"}, "custom"),
        ({"type": "custom", "custom": {"input": "a"}}, "custom.name"),
        ({"type": "custom", "custom": {"name": "note"}}, "custom.input"),
        ({"type": "other"}, "type"),
        ("c", ""),
    ],
)
def test_a_call_that_is_none_is_named(call: Any, param: str) -> None:
    error = refusal([USER, {"role": "assistant", "tool_calls": [CALL, call]}])
    assert error.param == f"messages[1].tool_calls[1].{param}".removesuffix(".")


@pytest.mark.parametrize("arguments", ["{", "[]", "7", '{"a": NaN}', None, {"a": 1}])
def test_arguments_of_an_earlier_call_must_be_an_object_as_text(arguments: Any) -> None:
    # llama.cpp#25510: templates parse them again, and fail with a 500.
    call = {"function": {"name": "f", "arguments": arguments}}
    error = refusal([USER, {"role": "assistant", "tool_calls": [CALL, call]}])
    assert error.param == "messages[1].tool_calls[1].function.arguments"


def test_what_no_model_here_takes_is_named() -> None:
    error = refusal([{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}])
    assert (error.kind, error.param) == (Kind.MODEL_NOT_SUPPORTED, "messages[0].content[0]")
