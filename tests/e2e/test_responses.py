"""The Responses API through the SDK, answered by the real model and kept across restarts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
import openai
import pydantic
import pytest

from tests.e2e.conftest import MODEL, Daemon, running_daemon

pytestmark = pytest.mark.model

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
NOW: Any = {"type": "function", "name": "now", "parameters": {}, "strict": False}


class Mood(pydantic.BaseModel):
    """What an answer must be."""

    mood: Literal["happy", "sad"]


def test_an_answer_is_that_of_a_chat(daemon: Daemon) -> None:
    question = "What is the capital of France?"
    with daemon.sdk() as client:
        made = client.responses.create(
            model=MODEL, input=question, max_output_tokens=16, temperature=0
        )
        with client.responses.stream(
            model=MODEL, input=question, max_output_tokens=16, temperature=0
        ) as stream:
            types = [event.type for event in stream]
    chat = daemon.chat(question).json()
    assert made.output_text == chat["choices"][0]["message"]["content"]
    assert made.usage is not None
    assert made.usage.input_tokens == chat["usage"]["prompt_tokens"]
    assert made.usage.output_tokens == chat["usage"]["completion_tokens"]
    assert types[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert types[-1] == f"response.{made.status}"


def test_an_answer_that_is_cut_is_incomplete(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        made = client.responses.create(model=MODEL, input="Tell a story.", max_output_tokens=4)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"


def test_a_conversation_goes_on_from_its_cached_prefix(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        first = client.responses.create(
            model=MODEL, input="My name is Ada. Who am I?", max_output_tokens=24, temperature=0
        )
        second = client.responses.create(
            model=MODEL,
            input="And what is your name?",
            previous_response_id=first.id,
            max_output_tokens=8,
            temperature=0,
        )
        items = list(client.responses.input_items.list(second.id, order="asc"))
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens
    assert [getattr(item, "role", "") for item in items] == ["user", "assistant", "user"]


def test_a_conversation_outlives_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    with running_daemon(tmp_path) as before:
        with before.sdk() as client:
            first = client.responses.create(model=MODEL, input="Hi", max_output_tokens=4)
        before.stop()
    with running_daemon(tmp_path) as after, after.sdk() as client:
        assert client.responses.retrieve(first.id).output_text == first.output_text
        second = client.responses.create(
            model=MODEL, input="Go on", previous_response_id=first.id, max_output_tokens=4
        )
        assert second.usage is not None
        assert first.usage is not None
        assert second.usage.input_tokens > first.usage.input_tokens
        after.stop()


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_comes_to_an_answer(daemon: Daemon, stream: bool) -> None:
    choice: Any = {"type": "function", "name": "weather"}
    asked: dict[str, Any] = {
        "model": MODEL,
        "input": "What is the weather in Rome?",
        "tools": [WEATHER, NOW],
        "tool_choice": choice,
        "max_output_tokens": 100,
        "temperature": 0,
    }
    with daemon.sdk() as client:
        if stream:
            with client.responses.stream(**asked) as events:
                called: Any = events.get_final_response()
        else:
            called = client.responses.create(**asked)
        [call] = called.output
        assert (call.type, call.name, call.status) == ("function_call", "weather", "completed")
        jsonschema.validate(json.loads(call.arguments), CITY)
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        answered = client.responses.create(
            model=MODEL,
            input=[output],
            previous_response_id=called.id,
            tools=[WEATHER, NOW],
            tool_choice="none",
            max_output_tokens=24,
            temperature=0,
        )
    assert answered.output_text


def test_a_custom_tool_gets_text(daemon: Daemon) -> None:
    tool: Any = {"type": "custom", "name": "note", "description": "write a note"}
    choice: Any = {"type": "custom", "name": "note"}
    with daemon.sdk() as client:
        called = client.responses.create(
            model=MODEL,
            input="Write a note that says hello.",
            tools=[tool],
            tool_choice=choice,
            max_output_tokens=200,
            temperature=0,
        )
        [call] = called.output
        assert call.type == "custom_tool_call"
        assert call.name == "note"
        items: Any = [
            {"role": "user", "content": "Write a note that says hello."},
            call.model_dump(exclude_none=True),
            {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "written"},
        ]
        answered = client.responses.create(model=MODEL, input=items, max_output_tokens=8)
    assert answered.output_text


def test_a_structure_is_parsed(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        whole = client.responses.parse(model=MODEL, input="How are you?", text_format=Mood)
        with client.responses.stream(model=MODEL, input="How are you?", text_format=Mood) as stream:
            streamed = stream.get_final_response()
    assert whole.output_parsed is not None
    assert whole.output_parsed.mood in ("happy", "sad")
    assert streamed.output_parsed is not None


def test_logprobs_are_told(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        made = client.responses.create(
            model=MODEL,
            input="Hi",
            max_output_tokens=4,
            top_logprobs=2,
            include=["message.output_text.logprobs"],
        )
    [item] = made.output
    assert item.type == "message"
    [part] = item.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert [len(token.top_logprobs) for token in part.logprobs] == [2, 2, 2, 2]


def test_what_is_too_long_is_refused_with_numbers(daemon: Daemon) -> None:
    with daemon.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="word " * 4000, stream=True)
    assert caught.value.code == "context_length_exceeded"
