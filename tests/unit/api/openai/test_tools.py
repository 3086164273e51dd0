"""Tools of a request: what the engine gets of them, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.api.fields import Fields
from runner.api.openai import tools
from runner.api.openai.tools import Tools
from runner.errors import Kind, RunnerError

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str = "weather", **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": CITY} | members}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def parse(**members: Any) -> tuple[Tools, list[str]]:
    ignored: dict[str, None] = {}
    fields = Fields(members)
    parsed = tools.parse(fields, ignored)
    assert not list(fields)
    return parsed, list(ignored)


def refusal(**members: Any) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        parse(**members)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


def test_a_tool_is_rebuilt_from_what_was_understood() -> None:
    given = tool(description="d", strict=True, made_up=1) | {"cache_control": {}}
    parsed, ignored = parse(tools=[given])
    assert parsed.tools_json is not None
    assert json.loads(parsed.tools_json) == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "d", "parameters": CITY},
        }
    ]
    assert ignored == ["tools[].cache_control", "tools[].function.made_up"]


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_function_without_parameters_takes_an_empty_object(parameters: Any) -> None:
    parsed, _ = parse(tools=[tool(parameters=parameters)])
    [made] = json.loads(parsed.tools_json or "")
    assert made["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ("auto", None, None)),
        ({"tool_choice": "auto"}, ("auto", None, None)),
        ({"tool_choice": "none"}, ("none", None, None)),
        ({"tool_choice": "required"}, ("required", None, None)),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            ("required", "weather", None),
        ),
        ({"parallel_tool_calls": False}, ("auto", None, False)),
    ],
)
def test_a_choice(members: dict[str, Any], expected: tuple[Any, ...]) -> None:
    parsed, _ = parse(tools=[tool()], **members)
    assert (parsed.choice, parsed.name, parsed.parallel) == expected


def test_only_some_tools_may_be_called_and_all_are_told_of() -> None:
    choice = allowed("required", "now", "weather", "now")
    parsed, _ = parse(tools=[tool(), tool("now"), tool("sea")], tool_choice=choice)
    assert (parsed.choice, parsed.name, parsed.allowed) == ("required", None, ("now", "weather"))
    assert [one["function"]["name"] for one in json.loads(parsed.tools_json or "")] == [
        "weather",
        "now",
        "sea",
    ]


def test_a_choice_without_tools_asks_for_nothing() -> None:
    assert parse(tool_choice="auto", parallel_tool_calls=True, tools=[]) == (Tools(), [])


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [tool(name="a b")]}, "tools[0].function.name"),
        ({"tools": [tool(name="x" * 65)]}, "tools[0].function.name"),
        ({"tools": [tool(), tool()]}, "tools[1].function.name"),
        ({"tools": [tool(f"f{i}") for i in range(129)]}, "tools"),
        ({"tools": [tool(description="x" * 200_000)]}, "tools"),
        ({"tools": [tool(parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [tool(parameters={"type": "string"})]}, "tools[0].function.parameters.type"),
        (
            {"tools": [tool(parameters={"uniqueItems": True}, strict=True)]},
            "tools[0].function.parameters#/uniqueItems",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice"),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice.function.name",
        ),
        (
            {"tools": [tool()], "tool_choice": {"type": "allowed_tools"}},
            "tool_choice.allowed_tools",
        ),
        (
            {"tools": [tool()], "tool_choice": allowed("none", "weather")},
            "tool_choice.allowed_tools.mode",
        ),
        (
            {"tools": [tool()], "tool_choice": allowed("auto")},
            "tool_choice.allowed_tools.tools",
        ),
        (
            {"tools": [tool()], "tool_choice": allowed("auto", "weather", "sea")},
            "tool_choice.allowed_tools.tools[1].function.name",
        ),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"functions": [{}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    assert refusal(**members).param == param


def test_what_is_not_enforced_is_reported_where_nobody_insists() -> None:
    _, ignored = parse(tools=[tool(parameters={"uniqueItems": True})])
    assert ignored == ["tools[0].function.parameters#/uniqueItems"]


def test_arguments_are_an_object_whatever_stands_beside_their_properties() -> None:
    """A choice beside properties is read alone: its grammar takes any value at all."""
    ignored: dict[str, None] = {}
    properties = {"a": {"type": "integer"}}
    schema = {"properties": properties, "anyOf": [{"required": ["a"]}]}
    taken = tools.parse_parameters(schema, "p", is_strict=False, ignored=ignored)
    assert taken == {"type": "object", "properties": properties}
    assert list(ignored) == ["p#/anyOf"]
    with pytest.raises(RunnerError, match="/anyOf cannot be enforced"):
        tools.parse_parameters(schema, "p", is_strict=True, ignored={})


# ---- custom tools ----------------------------------------------------------------------------


def written(name: str = "note", **members: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": {"name": name} | members}


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    parsed, ignored = parse(tools=[tool(), written(description="d", strict=True)])
    assert parsed.custom == {"note"}
    assert json.loads(parsed.tools_json or "")[1] == {
        "type": "function",
        "function": {
            "name": "note",
            "description": "d",
            "parameters": {
                "type": "object",
                "properties": {"input": {"type": "string"}},
                "required": ["input"],
                "additionalProperties": False,
            },
        },
    }
    assert ignored == ["tools[].custom.strict"]


def test_the_form_of_a_custom_tools_text_is_told() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}
    parsed, _ = parse(tools=[written(format=grammar), written("b", format={"type": "text"})])
    first, second = [one["function"] for one in json.loads(parsed.tools_json or "")]
    assert first["description"] == (
        'The form of its input: {"type": "grammar", "grammar": {"syntax": "regex", '
        '"definition": "a+"}}'
    )
    assert "description" not in second


def test_a_custom_tool_is_named_as_one() -> None:
    tools = [tool(), written()]
    parsed, _ = parse(tools=tools, tool_choice={"type": "custom", "custom": {"name": "note"}})
    assert (parsed.choice, parsed.name) == ("required", "note")
    listed = [
        {"type": "custom", "custom": {"name": "note"}},
        {"type": "function", "function": {"name": "weather"}},
    ]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": listed}}
    parsed, _ = parse(tools=tools, tool_choice=choice)
    assert parsed.allowed == ("note", "weather")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
        ({"tools": [written("a b")]}, "tools[0].custom.name"),
        ({"tools": [tool("note"), written()]}, "tools[1].custom.name"),
        ({"tools": [written(format=1)]}, "tools[0].custom.format"),
        (
            {
                "tools": [written()],
                "tool_choice": {"type": "function", "function": {"name": "note"}},
            },
            "tool_choice.function.name",
        ),
        (
            {"tools": [tool()], "tool_choice": {"type": "custom", "custom": {"name": "weather"}}},
            "tool_choice.custom.name",
        ),
    ],
)
def test_what_is_wrong_with_a_custom_tool_is_named(members: Any, param: str) -> None:
    assert refusal(**members).param == param
