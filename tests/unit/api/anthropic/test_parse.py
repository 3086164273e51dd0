from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from runner.api.anthropic.parse import MessagesRequest, parse
from runner.errors import Kind, RunnerError

TOOL: dict[str, Any] = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CACHED = {"cache_control": {"type": "ephemeral"}}


def request(*messages: Any, **members: Any) -> MessagesRequest:
    said = list(messages) or [{"role": "user", "content": "Hi"}]
    return parse({"model": "a", "max_tokens": 9, "messages": said, **members})


def said(*messages: Any, **members: Any) -> list[Any]:
    """The messages that the template gets."""
    found: list[Any] = json.loads(request(*messages, **members).prompt.messages_json)
    return found


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **members}


def fault(*messages: Any, **members: Any) -> RunnerError:
    with pytest.raises(RunnerError) as raised:
        request(*messages, **members)
    return raised.value


# ---- the request -----------------------------------------------------------------------------


def test_a_request() -> None:
    asked = request(
        stop_sequences=["a", "b", "a"], temperature=0.5, top_p=1, top_k=3, stream=True, system="S"
    )
    assert (asked.model, asked.max_tokens, asked.stop, asked.stream) == ("a", 9, ("a", "b"), True)
    assert (asked.sampling.temperature, asked.sampling.top_p, asked.sampling.top_k) == (0.5, 1, 3)
    assert asked.prompt.add_generation_prompt
    assert not asked.prompt.continue_final_message
    assert json.loads(asked.prompt.messages_json) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Hi"},
    ]
    assert asked.ignored == ()


def test_a_length_is_wanted_but_not_needed() -> None:
    assert parse({"model": "a", "messages": [{"role": "user", "content": "x"}]}).max_tokens is None


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": True}, "top_k"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [assistant()]}, "messages"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
        ({"messages": [user({"type": "magic"})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "tool_use"})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "tool_result"})]}, "messages[0].content[0].tool_use_id"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "display": "x"}}, "thinking.display"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": 1}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"output_format": {}}, "output_format"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tools": [{**TOOL, "input_schema": {"type": "array"}}]}, "tools[0].input_schema.type"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    error = fault(**members)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, param)
    assert str(error).startswith(param)


def test_what_claude_code_sends_beside_is_accepted_and_told() -> None:
    asked = request(
        user(text("Hi", **CACHED)),
        system=[text("S", **CACHED)],
        tools=[{**TOOL, **CACHED, "eager_input_streaming": True}],
        metadata={"user_id": "u"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        some_day={"new": 1},
    )
    assert asked.ignored == (
        "system[].cache_control",
        "messages[].content[].cache_control",
        "tools[].cache_control",
        "tools[].eager_input_streaming",
        "metadata",
        "context_management",
        "some_day",
    )


# ---- messages --------------------------------------------------------------------------------


def test_blocks_of_text_and_neighbours_of_one_role_are_one_message() -> None:
    assert said(
        user(text("a")), {"role": "user", "content": "b"}, assistant(), user(text("c"))
    ) == [{"role": "user", "content": [text("a"), text("b"), text("c")]}]
    assert said(user(text("a")), assistant(text("b"), text("c")), assistant(text("d"))) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "bcd"},
    ]


def test_an_answer_goes_on_where_the_assistant_spoke_last() -> None:
    asked = request(user(text("a")), {"role": "assistant", "content": "I"})
    assert asked.prompt.continue_final_message
    assert not asked.prompt.add_generation_prompt


def test_system_blocks_are_paragraphs_without_the_line_for_accounts() -> None:
    billing = "x-anthropic-billing-header: cc_version=2.1.101.e51; cc_entrypoint=cli; cch=a5145;"
    blocks = [text(billing), text("You are a helper."), text("Be brief.")]
    assert said(system=blocks)[0]["content"] == "You are a helper.\n\nBe brief."
    assert said(system=f"{billing}You are a helper.")[0]["content"] == "You are a helper."
    assert said(system=f"{billing}\na=b; is code")[0]["content"] == "a=b; is code"
    assert said(system=billing) == [{"role": "user", "content": "Hi"}]
    assert said(system=f"About {billing}")[0]["content"] == f"About {billing}"


def test_a_call_and_its_result() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"b": 1, "a": "é"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [text("22")], **CACHED}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    messages = said(
        user(text("Rome?")), assistant(hidden, thought, text("So"), call), user(result, text("?"))
    )
    function = {"name": "weather", "arguments": '{"b": 1, "a": "é"}'}
    assert messages == [
        {"role": "user", "content": "Rome?"},
        {
            "role": "assistant",
            "content": "So",
            "reasoning_content": "Hm.",
            "tool_calls": [{"type": "function", "id": "t1", "function": function}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "22"},
        {"role": "user", "content": "?"},
    ]


@pytest.mark.parametrize(
    ("members", "content"),
    [
        ({}, ""),
        ({"content": "x"}, "x"),
        ({"content": [text("x"), text("y")]}, [text("x"), text("y")]),
        ({"content": "x", "is_error": True}, [text("Error:"), text("x")]),
        ({"is_error": True}, "Error:"),
        ({"is_error": False}, ""),
    ],
)
def test_what_a_tool_returned(members: dict[str, Any], content: Any) -> None:
    result = {"type": "tool_result", "tool_use_id": "t", **members}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    assert said(user(text("a")), assistant(call), user(result))[-1]["content"] == content


def test_a_conversation_cannot_end_with_a_call() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
    assert fault(user(text("a")), assistant(call)).param == "messages"


def test_documents_and_search_results_are_text() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    document = {"type": "document", "source": plain, "title": "T", "context": "C"}
    of_blocks = {"type": "document", "source": {"type": "content", "content": "more"}}
    found = {"type": "search_result", "title": "U", "source": "http://x", "content": [text("r")]}
    assert said(user(document, of_blocks, found))[0]["content"] == [
        text("T\nC"),
        text("words"),
        text("more"),
        text("U\nhttp://x"),
        text("r"),
    ]
    pdf = {"type": "document", "source": {"type": "base64", "data": "x"}}
    assert fault(user(pdf)).param == "messages[0].content[0].source.type"


def image(data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": "image/png", "data": encoded}
    return {"type": "image", "source": source}


def test_images_are_parts_that_errors_call_by_the_clients_names() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    seen = {"type": "image", "data": base64.b64encode(png).decode()}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image(png)]}
    messages = said(user(text("a"), image(png)), assistant(text("b")), user(result))
    assert messages[0]["content"] == [text("a"), {**seen, "param": "messages[0].content[1].source"}]
    assert messages[2]["content"] == [{**seen, "param": "messages[2].content[0].content[0].source"}]
    error = fault(user(*[image(png)] * 65))
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "messages[0].content[64].source")


@pytest.mark.parametrize(
    "source",
    [
        {"type": "url", "url": "ftp://example.com/a.png"},
        {"type": "url", "url": "file:///etc/passwd"},
        image(b"<svg />")["source"],
        {"type": "base64", "media_type": "image/png", "data": "?"},
    ],
)
def test_what_is_no_image_is_refused_and_nothing_is_fetched(source: dict[str, Any]) -> None:
    error = fault(user(text("a"), {"type": "image", "source": source}))
    assert error.row.status == 400
    assert (error.param or "").startswith("messages[0].content[1].source")


# ---- tools, thinking, structure --------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        (None, ("auto", None, None)),
        ({"type": "auto"}, ("auto", None, None)),
        ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", None, False)),
        ({"type": "any", "disable_parallel_tool_use": False}, ("required", None, None)),
        ({"type": "tool", "name": "weather"}, ("required", "weather", None)),
        ({"type": "none"}, ("none", None, None)),
    ],
)
def test_the_choice_of_a_tool(choice: Any, asked: tuple[Any, ...]) -> None:
    prompt = request(tools=[{**TOOL, "type": "custom"}], tool_choice=choice).prompt
    assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == asked
    function = {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": TOOL["input_schema"],
    }
    assert json.loads(prompt.tools_json or "") == [{"type": "function", "function": function}]


def test_a_strict_schema_that_cannot_be_held_to_is_refused() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    tool = {"name": "f", "input_schema": schema}
    place = "input_schema#/properties/a/uniqueItems"
    assert request(tools=[tool]).ignored == (f"tools[0].{place}",)
    assert fault(tools=[{**tool, "strict": True}]).param == f"tools[0].{place}"
    form = {"format": {"type": "json_schema", "schema": schema}}
    assert fault(output_config=form).param == (
        "output_config.format.schema#/properties/a/uniqueItems"
    )


@pytest.mark.parametrize(
    ("thinking", "thinks", "budget", "shows"),
    [
        (None, False, None, "nothing"),
        ({"type": "disabled"}, False, None, "nothing"),
        ({"type": "enabled", "budget_tokens": 1024}, True, 1024, "all"),
        ({"type": "adaptive"}, True, None, "all"),
        ({"type": "adaptive", "display": "summarized"}, True, None, "all"),
        ({"type": "enabled", "display": "omitted"}, True, None, "omitted"),
        ({"type": "between_tools"}, True, None, "all"),
    ],
)
def test_thinking(thinking: Any, thinks: bool, budget: int | None, shows: str) -> None:
    asked = request(thinking=thinking)
    assert (asked.prompt.enable_thinking, asked.prompt.reasoning_budget) == (thinks, budget)
    assert asked.shows_thinking == shows
    assert asked.ignored == ()


def test_an_answer_may_have_a_structure_and_an_effort() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    config = {"effort": "high", "format": {"type": "json_schema", "schema": schema}}
    asked = request(output_config=config)
    assert json.loads(asked.sampling.json_schema or "") == schema
    assert json.loads(asked.prompt.template_kwargs_json) == {"reasoning_effort": "high"}
