"""Requests for responses: the conversation that they stand for, and what is wrong with others."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from runner.api.responses.parse import ResponseRequest, parse
from runner.api.responses.thoughts import seal
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt
from tests.support.projectors import png

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
PATCH = {"type": "custom", "name": "patch", "description": "change files"}
PICTURE = {
    "type": "input_image",
    "image_url": f"data:image/png;base64,{base64.b64encode(png(1)).decode()}",
}
NOTES = {"type": "namespace", "name": "notes", "description": "d", "tools": [WEATHER]}


def request(input: Any = "hi", **members: Any) -> ResponseRequest:
    return parse({"model": "m", "input": input, **members})


def prompt(input: Any = "hi", **members: Any) -> ChatPrompt:
    found = request(input, **members).chat(()).prompt
    assert isinstance(found, ChatPrompt)
    return found


def messages(input: Any, **members: Any) -> Any:
    return json.loads(prompt(input, **members).messages_json)


def call(identity: str, **members: Any) -> dict[str, Any]:
    head = {"type": "function_call", "call_id": identity, "name": "f", "arguments": "{}"}
    return head | members


def told(identity: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "id": identity, "function": function}


# ---- conversations ---------------------------------------------------------------------------


def test_a_text_is_a_message_of_the_user() -> None:
    assert messages("hi") == [{"role": "user", "content": "hi"}]


def test_instructions_come_first_and_are_one_with_what_developers_say_there() -> None:
    said = [
        {"role": "developer", "content": [{"type": "input_text", "text": "no jokes"}]},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": "now you may"},
    ]
    assert messages(said, instructions="be brief") == [
        {"role": "system", "content": "be brief\n\nno jokes"},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": "now you may"},
    ]


def test_parts_are_texts_whoever_wrote_them() -> None:
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]}
    two = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "c"}]
    asked = {"type": "message", "role": "user", "content": two}
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    assert messages([asked, said, asked, refused]) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]},
        {"role": "assistant", "content": "no"},
    ]


def test_a_turn_is_one_message() -> None:
    said = {"role": "assistant", "content": "Wait."}
    thought = {"type": "reasoning", "summary": [], "content": [{"text": "I should look."}]}
    output = {"type": "function_call_output", "call_id": "1", "output": "sunny"}
    user = {"role": "user", "content": "a"}
    assert messages([user, thought, said, call("1"), call("2"), output, said, said])[1:] == [
        {
            "role": "assistant",
            "content": "Wait.",
            "reasoning_content": "I should look.",
            "tool_calls": [told("1"), told("2")],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "assistant", "content": "Wait.\n\nWait."},
    ]


@pytest.mark.parametrize(
    ("members", "thoughts"),
    [
        ({"summary": [], "content": [{"text": "a"}, {"text": "b"}]}, "ab"),
        ({"summary": [{"text": "s"}], "encrypted_content": seal("whole")}, "whole"),
        ({"summary": [{"text": "s"}], "encrypted_content": "gAAAA"}, "s"),
        ({"summary": [], "encrypted_content": None}, None),
        ({"summary": [], "encrypted_content": "gAAAA"}, None),
    ],
)
def test_thoughts_are_given_back(members: dict[str, Any], thoughts: str | None) -> None:
    user = {"role": "user", "content": "a"}
    said = {"role": "assistant", "content": "b"}
    [_, answer, _] = messages([user, {"type": "reasoning"} | members, said, user])
    assert answer.get("reasoning_content") == thoughts


def test_thoughts_belong_to_the_answer_after_them() -> None:
    thought = {"type": "reasoning", "summary": [{"text": "s"}]}
    user = {"role": "user", "content": "a"}
    said = {"role": "assistant", "content": "b"}
    assert "reasoning_content" not in messages([user, thought, user, said, user])[2]


def test_an_incomplete_call_is_not_told() -> None:
    cut = call("1", arguments='{"a":', status="incomplete")
    user = {"role": "user", "content": "a"}
    assert messages([user, cut, user]) == [user, user]


def test_an_answer_at_the_end_is_not_continued() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    found = prompt(said)
    assert (found.add_generation_prompt, found.continue_final_message) == (True, False)


def test_what_came_before_comes_first() -> None:
    before = [*request("one").items, {"type": "message", "role": "assistant", "content": "two"}]
    found = request("three", instructions="be brief").chat(before)
    assert isinstance(found.prompt, ChatPrompt)
    assert [one["content"] for one in json.loads(found.prompt.messages_json)] == [
        "be brief",
        "one",
        "two",
        "three",
    ]


def test_a_picture_is_shown_by_its_file() -> None:
    data = base64.b64encode(png(1)).decode()
    part = {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
    [message] = messages([{"role": "user", "content": [part]}])
    [shown] = message["content"]
    assert (shown["type"], shown["data"]) == ("image", data)
    assert shown["param"] == "input[0].content[0]"


def test_media_are_named_by_their_place_in_the_request_or_before_it() -> None:
    text = {"type": "input_text", "text": "see"}
    earlier = [
        {"type": "message", "role": "user", "content": [PICTURE, text], "status": "completed"}
    ]
    found = request(
        [
            call("1"),
            {"type": "function_call_output", "call_id": "1", "output": [text, PICTURE]},
            {"role": "user", "content": [PICTURE]},
        ],
        instructions="be brief",
    )
    said = found.chat(earlier).prompt
    assert isinstance(said, ChatPrompt)
    parts = [
        part.get("param")
        for message in json.loads(said.messages_json)
        if isinstance(message["content"], list)
        for part in message["content"]
    ]
    assert parts == [
        "previous_response_id",
        None,
        None,
        "input[1].output[1]",
        "input[2].content[0]",
    ]


# ---- tools -----------------------------------------------------------------------------------


def functions(**members: Any) -> Any:
    written = prompt(**members).tools_json
    return None if written is None else [tool["function"] for tool in json.loads(written)]


def test_tools_are_functions() -> None:
    text = {"type": "string"}
    assert functions(tools=[WEATHER, PATCH, NOTES]) == [
        {"name": "weather", "parameters": {"type": "object"}},
        {
            "name": "patch",
            "description": "change files",
            "parameters": {
                "type": "object",
                "properties": {"input": text},
                "required": ["input"],
                "additionalProperties": False,
            },
        },
        {"name": "notes__weather", "parameters": {"type": "object"}},
    ]


def test_a_function_may_be_written_as_in_chat_completions() -> None:
    nested = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    assert functions(tools=[nested]) == [
        {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    ]


def test_the_form_of_a_custom_tools_text_is_told() -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    [found] = functions(tools=[PATCH | {"format": form}])
    assert found["description"] == (
        'change files\n\nThe form of its input: {"type": "grammar", "syntax": "lark", '
        '"definition": "start: WORD"}'
    )


def test_earlier_calls_have_the_names_that_the_model_knows() -> None:
    user = {"role": "user", "content": "a"}
    custom = {"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": "+ é"}
    custom_output = {"type": "custom_tool_call_output", "call_id": "1", "output": "done"}
    output = {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text"}]}
    output["output"][0]["text"] = "sunny"
    items = [user, custom, call("2", name="find", namespace="notes"), custom_output, output]
    assert messages(items)[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [told("1", "patch", '{"input": "+ é"}'), told("2", "notes__find")],
        },
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "tool", "tool_call_id": "2", "content": "sunny"},
    ]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, ("auto", None)),
        ("auto", ("auto", None)),
        ("none", ("none", None)),
        ("required", ("required", None)),
        ({"type": "function", "name": "weather"}, ("required", "weather")),
        ({"type": "function", "function": {"name": "weather"}}, ("required", "weather")),
        (
            {"type": "function", "name": "weather", "namespace": "notes"},
            ("required", "notes__weather"),
        ),
        ({"type": "custom", "name": "patch"}, ("required", "patch")),
    ],
)
def test_a_choice_of_tools(choice: Any, found: tuple[str, str | None]) -> None:
    asked = prompt(tools=[WEATHER, PATCH, NOTES], tool_choice=choice)
    assert (asked.tool_choice, asked.tool_name) == found


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_all_tools_are_told_and_some_allowed(mode: str) -> None:
    tools = [{"type": "custom", "name": "patch"}, {"type": "function", "name": "weather"}]
    allowed = {"type": "allowed_tools", "mode": mode, "tools": [*tools, tools[0]]}
    asked = prompt(tools=[WEATHER, PATCH, NOTES], tool_choice=allowed)
    assert (asked.tool_choice, asked.allowed_tools) == (mode, ("patch", "weather"))
    assert len(json.loads(asked.tools_json or "")) == 3


def test_what_codex_sends_is_understood() -> None:
    tools: list[Any] = [
        {**WEATHER, "strict": False, "defer_loading": True},
        {"type": "web_search", "external_web_access": False},
        {"type": "image_generation", "output_format": "png"},
        {"type": "tool_search", "execution": "client", "description": "", "parameters": {}},
        NOTES,
    ]
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
    found = request(
        [
            {**user, "role": "developer"},
            user,
            {"type": "reasoning", "summary": [], "encrypted_content": None},
            {**call("1"), "id": "fc_1"},
            {"type": "function_call_output", "call_id": "1", "output": "ok"},
        ],
        instructions="You are Codex.",
        tools=tools,
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="01",
        client_metadata={"x": "y"},
        service_tier="auto",
        text={"verbosity": "low"},
    )
    assert found.asked.ignored == (
        "tools[].defer_loading",
        "tools[1]:web_search",
        "tools[2]:image_generation",
        "tools[3]:tool_search",
        "tools[].description",
        "text.verbosity",
        "prompt_cache_key",
        "client_metadata",
        "service_tier",
    )
    assert (found.telling.has_summary, found.telling.is_sealed) == (True, True)
    assert (found.store, found.asked.stream) == (False, True)
    asked = found.chat(()).prompt
    assert isinstance(asked, ChatPrompt)
    assert asked.parallel_tool_calls is False
    assert asked.template_kwargs_json == '{"reasoning_effort":"medium"}'


# ---- the rest --------------------------------------------------------------------------------


def test_a_structure_is_enforced() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    assert json.loads(request(text={"format": form}).asked.sampling.json_schema or "") == schema
    assert request(text={"format": {"type": "json_object"}}).asked.sampling.json_schema == (
        '{"type":"object"}'
    )
    assert request(text={"format": {"type": "text"}}).asked.sampling.json_schema is None


def test_the_members_of_generation() -> None:
    found = request(
        max_output_tokens=5,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["a"],
        include=["message.output_text.logprobs"],
        reasoning={"effort": "none"},
    )
    assert found.asked.max_tokens == 5
    assert found.asked.stop == ("a",)
    sampling = found.asked.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 7)
    assert sampling.top_logprobs == 0
    assert found.asked.prompt.enable_thinking is False
    assert request(top_logprobs=3).asked.sampling.top_logprobs == 3
    assert request().asked.sampling.top_logprobs is None
    assert request(keep_alive="5m").asked.keep_alive_s == 300.0
    assert request().asked.keep_alive_s is None


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": 1}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"type": "x"}]}, "input[0].type"),
        ({"input": [{"type": 1}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": []}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        (
            {
                "input": [
                    {"role": "user", "content": "hi"},
                    {"role": "system", "content": [PICTURE]},
                ]
            },
            "input[1].content[0]",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "input[0].content[0].input_audio.data",
        ),
        ({"keep_alive": "soon"}, "keep_alive"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"type": "reasoning", "content": [{}]}]}, "input[0].content[0].text"),
        ({"input": [call("1", arguments="[]")]}, "input[0].arguments"),
        ({"input": [call("1", name=None)]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "1"}]}, "input[0].output"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "file_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_url": "http://x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
        ({"tools": [WEATHER | {"name": "a b"}]}, "tools[0].name"),
        ({"tools": [WEATHER | {"parameters": {"type": "array"}}]}, "tools[0].parameters.type"),
        ({"tools": [NOTES | {"tools": [NOTES]}]}, "tools[0].tools[0].type"),
        ({"tools": [{"type": "namespace", "name": "n"}]}, "tools[0].tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "custom", "name": "weather"}},
            "tool_choice.name",
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []},
            },
            "tool_choice.tools",
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [1]},
            },
            "tool_choice.tools[0]",
        ),
        ({"text": []}, "text"),
        ({"reasoning": 1}, "reasoning"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        (
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "strict": True,
                        "schema": {"type": "string", "pattern": "(?=a)"},
                    }
                }
            },
            "text.format.schema",
        ),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"truncation": "auto"}, "truncation"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"include": ["all"]}, "include[0]"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"grammar": "root ::= x"}, "grammar"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse({"model": "m", "input": "hi"} | members).chat(())
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert (caught.value.param or "").startswith(param)


@pytest.mark.parametrize(
    "input", [[], [{"type": "reasoning"}], [{"role": "system", "content": "a"}]]
)
def test_there_must_be_something_to_answer(input: Any) -> None:
    with pytest.raises(RunnerError) as caught:
        prompt(input)
    assert caught.value.param == "input"
