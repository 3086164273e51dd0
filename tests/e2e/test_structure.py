"""Random schemas of what grammars can hold, obeyed by the real model at a high temperature."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Daemon, text_of

pytestmark = pytest.mark.model

# Each example is two answers of a model; what is tried is the same in every run.
FEW = settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Schema = dict[str, Any]
CHECKER = jsonschema.FormatChecker(["ipv4", "ipv6"])
NAMES = st.text(alphabet="abc_é東🙂\"'\\/ $~{}", min_size=1, max_size=5)
PATTERNS = ["^[a-f]{2,4}$", "^(red|green|blue)$", "^A[0-9]?$", '^"x"\\.$']
PATTERNS += [r"^\d{3}-\d{4}$", r"^[^a-z]{1,3}\\$", "^.{2,5}$", r"^\w{1,4}@\w{1,4}\.(com|org)$"]
FORMATS = ["date", "time", "date-time", "uuid", "ipv4", "ipv6", "hostname"]
# The model has no token for the first byte of characters from U+40000 on: it cannot write them.
WRITABLE = st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"])
SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.text(WRITABLE, max_size=4)


def integers() -> st.SearchStrategy[Schema]:
    low, high = st.integers(-300, 0), st.integers(0, 300)
    return st.builds(
        lambda low, high: {"type": "integer", "minimum": low, "maximum": high}, low, high
    )


def numbers() -> st.SearchStrategy[Schema]:
    """Bounds of numbers, where a model that writes what it likes would go over them."""
    lows = st.sampled_from(["minimum", "exclusiveMinimum"])
    highs = st.sampled_from(["maximum", "exclusiveMaximum"])
    low, width = st.floats(-2, 2), st.sampled_from([0.001, 0.5, 3.0, 1000.0])
    return st.builds(
        lambda low_name, low, high_name, width: {
            "type": "number",
            low_name: low,
            high_name: low + width,
        },
        lows,
        low,
        highs,
        width,
    )


def strings() -> st.SearchStrategy[Schema]:
    lengths = st.tuples(st.integers(0, 2), st.integers(2, 6))
    return lengths.map(lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[1]})


def leaves() -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.sampled_from(["boolean", "null", "number"]).map(lambda kind: {"type": kind}),
        integers(),
        numbers(),
        strings(),
        st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern}),
        st.sampled_from(FORMATS).map(lambda name: {"type": "string", "format": name}),
        st.lists(SCALARS, min_size=1, max_size=3).map(lambda values: {"enum": values}),
        SCALARS.map(lambda value: {"const": value}),
        st.just({"type": ["boolean", "null"]}),
    )


def objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    def build(members: dict[str, Schema], optional: int) -> Schema:
        required = sorted(members)[: len(members) - optional % (len(members) + 1)]
        return {
            "type": "object",
            "properties": members,
            "required": required,
            "additionalProperties": False,
        }

    return st.builds(build, st.dictionaries(NAMES, inner, max_size=3), st.integers(0, 3))


def arrays(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    items = inner.map(lambda schema: {"type": "array", "items": schema, "maxItems": 2})
    tuples = st.lists(inner, min_size=1, max_size=2).map(
        lambda schemas: {
            "type": "array",
            "prefixItems": schemas,
            "minItems": len(schemas),
            "maxItems": len(schemas),
        }
    )
    return items | tuples


def schemas() -> st.SearchStrategy[Schema]:
    choices = st.recursive(
        leaves(),
        lambda inner: st.one_of(
            objects(inner),
            arrays(inner),
            st.lists(inner, min_size=1, max_size=2).map(lambda branches: {"anyOf": branches}),
        ),
        max_leaves=3,
    )
    return objects(choices)


WILD = {"temperature": 1.5, "max_tokens": 400, "seed": 7}


def formatted(schema: Schema) -> dict[str, Any]:
    wanted = {"name": "thing", "strict": True, "schema": schema}
    return WILD | {"response_format": {"type": "json_schema", "json_schema": wanted}}


@FEW
@given(schema=schemas())
def test_an_answer_fits_its_schema(daemon: Daemon, schema: Schema) -> None:
    body = daemon.chat("Make one up.", **formatted(schema)).json()
    [choice] = body["choices"]
    assert choice["finish_reason"] == "stop"
    jsonschema.validate(json.loads(choice["message"]["content"]), schema)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(FEW, max_examples=40)
@given(schema=schemas())
def test_answers_fit_many_schemas(daemon: Daemon, schema: Schema) -> None:
    body = daemon.chat("Make one up.", **formatted(schema)).json()
    assert "error" not in body
    [choice] = body["choices"]
    assume(choice["finish_reason"] == "stop")  # blanks and digits may go on for long
    jsonschema.validate(json.loads(choice["message"]["content"]), schema, format_checker=CHECKER)


@FEW
@given(schema=schemas())
def test_a_streamed_answer_fits_its_schema(daemon: Daemon, schema: Schema) -> None:
    with daemon.stream("Make one up.", **formatted(schema)) as events:
        told = list(events)
    assert told[-2]["choices"][0]["finish_reason"] == "stop"
    jsonschema.validate(json.loads(text_of(told)), schema)


def forced(schema: Schema) -> dict[str, Any]:
    tools = [
        {"type": "function", "function": {"name": "make", "parameters": schema, "strict": True}},
        {"type": "function", "function": {"name": "pass", "parameters": {"type": "object"}}},
    ]
    named = {"type": "function", "function": {"name": "make"}}
    return WILD | {"tools": tools, "tool_choice": named}


@FEW
@given(schema=schemas())
def test_a_forced_call_fits_its_parameters(daemon: Daemon, schema: Schema) -> None:
    [choice] = daemon.chat("Make one up.", **forced(schema)).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "make"
    jsonschema.validate(json.loads(call["function"]["arguments"]), schema)


@FEW
@given(schema=schemas())
def test_a_streamed_forced_call_fits_its_parameters(daemon: Daemon, schema: Schema) -> None:
    with daemon.stream("Make one up.", **forced(schema)) as events:
        *chunks, done = events
    assert done == "[DONE]"
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    calls = [
        call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert [call["function"]["name"] for call in calls if "id" in call] == ["make"]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    jsonschema.validate(json.loads(arguments), schema)
