"""Items of the Responses API are the conversation that they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from runner.api.openai.response_input import chat_body
from runner.errors import Kind, RunnerError


def messages(input: Any, **more: Any) -> Any:
    return chat_body({"model": "m", "input": input, **more})["messages"]


def test_a_text_is_a_message_of_the_user() -> None:
    assert chat_body({"model": "m", "input": "hi"}) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_instructions_come_first() -> None:
    assert messages("hi", instructions="be brief")[0] == {"role": "system", "content": "be brief"}


def test_parts_are_texts_whoever_wrote_them() -> None:
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]}
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "c"}]}
    assert messages([asked, said, asked, refused]) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
    ]


def test_calls_of_one_turn_are_one_message_and_thoughts_are_none() -> None:
    def call(identity: str) -> dict[str, Any]:
        return {"type": "function_call", "call_id": identity, "name": "f", "arguments": "{}"}

    output = {"type": "function_call_output", "call_id": "1", "output": "sunny"}
    function = {"name": "f", "arguments": "{}"}
    assert messages(
        [{"role": "user", "content": "a"}, {"type": "reasoning"}, call("1"), call("2"), output]
    )[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"type": "function", "id": "1", "function": function},
                {"type": "function", "id": "2", "function": function},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]


def test_a_tool_is_written_flat() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    made = chat_body({"model": "m", "input": "hi", "tools": [tool]})
    function = {"name": "f", "parameters": {"type": "object"}}
    assert made["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        ({"input": [{"type": "item_reference"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input[0].call_id"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as caught:
        chat_body({"model": "m"} | members)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


def test_a_picture_is_not_for_a_model_of_text() -> None:
    part = {"type": "input_image", "image_url": "data:,"}
    with pytest.raises(RunnerError) as caught:
        messages([{"role": "user", "content": [part]}])
    assert caught.value.kind is Kind.MODEL_NOT_SUPPORTED
