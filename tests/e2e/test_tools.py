"""Tools through the SDK, called by the real model, whose own template knows none."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.e2e.conftest import MODEL, Daemon

pytestmark = pytest.mark.model

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY, "strict": True}},
    {"type": "function", "function": {"name": "now"}},
]
QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
NAMED: Any = {"type": "function", "function": {"name": "weather"}}


def test_a_tool_loop_comes_to_an_answer(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        asked = client.chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            tools=TOOLS,
            tool_choice=NAMED,
            max_tokens=100,
            temperature=0,
        )
        choice = asked.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        [call] = choice.message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == "weather"
        jsonschema.validate(json.loads(call.function.arguments), CITY)
        result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees, sunny"}
        answered = client.chat.completions.create(
            model=MODEL,
            messages=[*QUESTION, choice.message.model_dump(exclude_none=True), result],
            tools=TOOLS,
            tool_choice="none",
            max_tokens=24,
            temperature=0,
        )
    assert answered.choices[0].message.content
    assert answered.choices[0].message.tool_calls is None
    assert answered.usage is not None
    assert answered.usage.completion_tokens_details is not None


def test_a_streamed_call_adds_up_to_the_whole_one(daemon: Daemon) -> None:
    members: dict[str, Any] = {"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 100}
    whole = daemon.chat(QUESTION[0]["content"], **members).json()["choices"][0]
    with daemon.stream(QUESTION[0]["content"], **members) as events:
        chunks = [event for event in events if isinstance(event, dict)]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    parts = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert set(parts[0]) == {"index", "id", "type", "function"}
    assert parts[0]["function"] == {"name": "weather", "arguments": ""}
    assert all(set(part) == {"index", "function"} for part in parts[1:])
    arguments = "".join(part["function"]["arguments"] for part in parts)
    assert json.loads(arguments) == json.loads(
        whole["message"]["tool_calls"][0]["function"]["arguments"]
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices_with_logprobs_call_each(daemon: Daemon) -> None:
    answer = daemon.chat(
        "Tell me a story.",
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        n=2,
        logprobs=True,
        top_logprobs=1,
        temperature=1,
        max_tokens=100,
    ).json()
    for choice in answer["choices"]:
        assert len(choice["message"]["tool_calls"]) == 1
        assert choice["logprobs"]["content"]


def test_b8_a_bad_tool_schema_is_refused_by_name_and_the_worker_lives(daemon: Daemon) -> None:
    bad = {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}}
    tools = [TOOLS[0], {"type": "function", "function": {"name": "bad", "parameters": bad}}]
    refused = daemon.chat("Hi", tools=tools, tool_choice="required")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "tools[1].function.parameters"
    assert daemon.chat("Hi", max_tokens=2).status_code == 200


def test_a_custom_tool_gets_text(daemon: Daemon) -> None:
    members: Any = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Write a note that says hello."}],
        "tools": [{"type": "custom", "custom": {"name": "note", "description": "write a note"}}],
        "tool_choice": {"type": "custom", "custom": {"name": "note"}},
        "parallel_tool_calls": False,
        "max_tokens": 200,
        "temperature": 0,
    }
    with daemon.sdk() as client:
        whole = client.chat.completions.create(**members).choices[0]
        chunks = list(client.chat.completions.create(**members, stream=True))
        [call] = whole.message.tool_calls or []
        assert call.type == "custom"
        assert (call.custom.name, whole.finish_reason) == ("note", "tool_calls")
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "written"}
        turns = [*members["messages"], whole.message.model_dump(exclude_none=True), result]
        more = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=8)
    assert more.choices[0].message.content
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or []]
    told = [part.model_dump()["custom"] for part in parts]  # the SDK has no type for it
    assert told == [{"name": "note", "input": ""}, {"input": call.custom.input}]
    assert [part.index for part in parts] == [0, 0]
