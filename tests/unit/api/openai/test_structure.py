"""The structure of an answer: case B9 of demands-security.md."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from runner.api.fields import Fields
from runner.api.openai import structure
from runner.errors import Kind, RunnerError


def parse(**members: Any) -> tuple[str | None, list[str]]:
    ignored: dict[str, None] = {}
    return structure.parse(Fields(members), ignored), list(ignored)


def strict(schema: Any) -> dict[str, Any]:
    wrapped = {"name": "answer", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": wrapped}}


@pytest.mark.parametrize(
    ("members", "schema"),
    [
        ({}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, '{"type":"object"}'),
        (
            {"response_format": {"type": "json_object", "schema": {"type": "array"}}},
            '{"type":"array"}',
        ),
        (
            {"response_format": {"type": "json_object", "value": {"type": "array"}}},
            '{"type":"array"}',
        ),
        (strict({"type": "integer", "minimum": 1}), '{"type":"integer","minimum":1}'),
        (strict({}), '{"type":"object"}'),
        (strict(None), '{"type":"object"}'),
        (strict(True), "{}"),
        ({"json_schema": {"const": "é"}}, '{"const":"é"}'),
        ({"json_schema": {"const": 1}, "response_format": {"type": "text"}}, '{"const":1}'),
    ],
)
def test_a_structure_becomes_a_schema(members: dict[str, Any], schema: str | None) -> None:
    assert parse(**members) == (schema, [])


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_object", "value": 1}}, "response_format.value"),
        (strict(False), "response_format.json_schema.schema"),
        (strict([]), "response_format.json_schema.schema"),
        (strict("x"), "response_format.json_schema.schema"),
        ({"json_schema": "x"}, "json_schema"),
        ({"json_schema": {}, "response_format": {"type": "json_object"}}, "json_schema"),
        (strict({"enum": ["x" * 300_000]}), "response_format.json_schema.schema"),
        (strict({"type": "hiccup"}), "response_format.json_schema.schema#/type"),
        (
            strict({"properties": {"a/b": {"type": ["string", 7]}}}),
            "response_format.json_schema.schema#/properties/a~1b/type",
        ),
        (strict({"items": {"type": []}}), "response_format.json_schema.schema#/items/type"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse(**members)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


UNENFORCED: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "array", "items": {}, "uniqueItems": True}, ["/uniqueItems"]),
    ({"type": "array", "uniqueItems": False}, []),
    ({"type": "number", "minimum": 0, "exclusiveMaximum": 1.5, "multipleOf": 0.1}, ["/multipleOf"]),
    ({"type": ["number", "null"], "maximum": 1}, []),
    ({"type": "string", "maximum": 1}, ["/maximum"]),
    ({"type": "integer", "minimum": 0, "exclusiveMaximum": 9, "multipleOf": 3}, ["/multipleOf"]),
    ({"type": ["integer", "null"], "minimum": 0}, []),
    ({"type": "string", "format": "date"}, []),
    ({"type": "string", "format": "email"}, []),
    ({"type": "string", "format": "regex"}, ["/format"]),
    ({"type": "string", "format": "email", "pattern": "@"}, ["/format"]),
    ({"type": "string", "format": "email", "maxLength": 9}, ["/maxLength"]),
    ({"type": "string", "format": "binary"}, []),
    ({"type": "integer", "format": "int64"}, []),
    ({"format": ["email"]}, []),
    ({"pattern": "^a$"}, []),
    ({"pattern": r"^(?:a|[^\"x-z\]])+\.[0-9]{2,3}\u00e9$"}, []),
    ({"pattern": "a"}, []),
    ({"pattern": r"^\d+$"}, []),
    ({"pattern": r"^[\w]$"}, []),
    ({"pattern": "^(?=a)a$"}, ["/pattern"]),
    ({"pattern": "^a^$"}, ["/pattern"]),
    ({"type": "string", "pattern": 7}, []),
    ({"type": "string", "pattern": "^a$", "maxLength": 3}, ["/maxLength"]),
    ({"type": "object", "patternProperties": {"^a": {}}}, ["/patternProperties"]),
    ({"not": {"type": "string"}}, ["/not"]),
    ({"items": {}, "prefixItems": [{}]}, ["/prefixItems"]),
    (
        {"properties": {"a/b": {"anyOf": [{"type": "null"}, {"type": "number", "multipleOf": 1}]}}},
        ["/properties/a~1b/anyOf/1/multipleOf"],
    ),
    (
        {"$defs": {"T": {"type": "object", "minProperties": 1}}, "$ref": "#/$defs/T"},
        ["/$defs/T/minProperties"],
    ),
    (
        {"title": "T", "description": "d", "type": "object", "required": [], "default": 1},
        [],
    ),
    (
        {"additionalProperties": {"type": "boolean", "minLength": 1}},
        ["/additionalProperties/minLength"],
    ),
]


@pytest.mark.parametrize(("schema", "pointers"), UNENFORCED)
def test_a_keyword_no_grammar_can_say_is_reported(
    schema: dict[str, Any], pointers: list[str]
) -> None:
    _, ignored = parse(json_schema=schema)
    assert ignored == [f"json_schema#{pointer}" for pointer in pointers]


@pytest.mark.parametrize(
    ("schema", "pointer"), [(schema, found[0]) for schema, found in UNENFORCED if found]
)
def test_and_refused_where_the_client_is_strict(schema: dict[str, Any], pointer: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse(**strict(schema))
    assert caught.value.param == f"response_format.json_schema.schema#{pointer}"


def nested_types(levels: int) -> dict[str, Any]:
    """Each level doubles what llama.cpp makes of it."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": ["object", "array"], "properties": {"a": schema}, "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        nested_types(12),
        {"properties": {str(number): {} for number in range(10_001)}},
        {"enum": list(range(10_001))},
    ],
)
def test_a_schema_that_explodes_is_refused_at_once(schema: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(RunnerError, match="at most 10000 schemas"):
        parse(json_schema=schema)
    assert time.process_time() - began < 1.0


PARTS = {"E": {"enum": ["x", "y"]}, "O": {"type": "object", "properties": {"a": {}}}}


@pytest.mark.parametrize(
    "parts",
    [
        [{"$ref": "#/$defs/E"}],
        [{"$ref": "#/$defs/O"}, {"required": ["a"]}],
        [{"$ref": "#/$defs/O"}, {"anyOf": [{"$ref": "#/$defs/O"}, PARTS["O"]]}],
        [{"enum": ["x"]}, {"$ref": "#/$defs/E"}],
    ],
)
def test_an_all_of_of_objects_or_of_enums_is_taken(parts: list[Any]) -> None:
    assert parse(json_schema={"$defs": PARTS, "allOf": parts})[1] == []


@pytest.mark.parametrize(
    "parts",
    [
        [{"type": "string"}],
        [{"type": "string"}, {"maxLength": 3}],
        [{"enum": ["x"]}, {"type": "string"}],
        [{"$ref": "#/$defs/O"}, {"$ref": "#/$defs/E"}],
        [{"$ref": "#/$defs/E"}, {"const": "x"}],
        [{"description": "anything"}],
    ],
)
def test_an_all_of_that_would_be_another_thing_is_refused(parts: list[Any]) -> None:
    """Its grammar is that of an object without members, whatever the parts say."""
    schema = {"$defs": PARTS, "properties": {"a": {"allOf": parts}}}
    with pytest.raises(RunnerError) as refused:
        parse(json_schema=schema)
    assert refused.value.kind is Kind.INVALID_REQUEST
    assert refused.value.param == "json_schema#/properties/a/allOf"


def test_references_to_one_long_choice_are_read_fast() -> None:
    choice = {"anyOf": [PARTS["O"]] * 3000}
    schema = {"$defs": {"C": choice}, "allOf": [{"$ref": "#/$defs/C"}] * 3000}
    started_s = time.process_time()
    assert parse(json_schema=schema)[1] == []
    assert time.process_time() - started_s < 2  # a look at each by each takes more


@pytest.mark.parametrize(
    ("schema", "pointers"),
    [
        ({"anyOf": [{"required": ["a"]}], "properties": {"a": {}}}, ["/properties"]),
        ({"oneOf": [{"type": "null"}], "anyOf": [{"type": "null"}]}, ["/anyOf"]),
        ({"$ref": "#/$defs/E", "$defs": PARTS, "title": "t", "enum": ["x"]}, ["/enum"]),
        ({"properties": {}, "allOf": [PARTS["O"]]}, ["/allOf"]),
        ({"type": "integer", "allOf": [{"minimum": 1}]}, ["/allOf", "/allOf/0/minimum"]),
        ({"allOf": [PARTS["O"]], "required": ["a"]}, ["/required"]),
        ({"type": "string", "const": "x"}, []),
    ],
)
def test_what_another_keyword_overrules_is_told(schema: Any, pointers: list[str]) -> None:
    assert parse(json_schema=schema)[1] == [f"json_schema#{pointer}" for pointer in pointers]


def test_patterns_and_formats_are_written_for_llama_wherever_a_schema_stands() -> None:
    digits = {"type": "string", "pattern": r"^\d$"}
    schema = {
        "properties": {"pattern": digits, "mail": {"type": "string", "format": "hostname"}},
        "$defs": {"D": {"anyOf": [digits, {"type": "null"}]}},
        "items": [digits],
        "additionalProperties": digits,
        "default": {"pattern": r"\d"},
    }
    made, ignored = parse(json_schema=schema)
    read = json.loads(made or "")
    written = {"type": "string", "pattern": "^[0-9]$"}
    assert read["properties"]["pattern"] == written
    assert read["properties"]["mail"]["format"] == "hostname"
    assert read["properties"]["mail"]["pattern"].startswith("^[0-9A-Za-z]")
    assert read["$defs"]["D"]["anyOf"] == [written, {"type": "null"}]
    assert (read["items"], read["additionalProperties"]) == ([written], written)
    assert read["default"] == {"pattern": r"\d"}
    assert ignored == []


def test_a_pattern_that_cannot_be_said_leaves_a_string() -> None:
    made, ignored = parse(json_schema={"pattern": "^(?=a)", "description": "d"})
    assert json.loads(made or "") == {"description": "d", "type": "string"}
    assert ignored == ["json_schema#/pattern"]
