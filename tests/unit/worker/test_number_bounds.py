"""Bounds of numbers in a schema, as rules of a grammar. What is expected is written out."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.worker.number_bounds import NumberBounds

FIRST, SECOND = 8031962481000000000, 8031962481000000001  # what stands for numbers


def settled(schema: dict[str, Any]) -> str:
    numbers = NumberBounds()
    assert numbers.held({"type": "number", **schema}, "x") == {"type": "number", "const": FIRST}
    return numbers.settled(f'"{FIRST}"')


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        ({"minimum": 0, "maximum": 1}, '"0" ("." [0-9]{1,14})? | "1" ("." ("0"{1,14}))?'),
        ({"minimum": 3, "maximum": 3.0}, '"3" ("." ("0"{1,14}))?'),
        ({"minimum": 0.5, "exclusiveMaximum": 0.7}, '"0" "." ([5-6] ([0-9]{1,13})?)'),
        ({"minimum": 7, "exclusiveMaximum": 10}, '[7-9] ("." [0-9]{1,14})?'),
        ({"exclusiveMinimum": -10, "maximum": -9}, '"-" ("9" ("." [0-9]{1,14})?)'),
        (
            {"minimum": 0},
            '[0-9]{1} ("." [0-9]{1,14})? | [1-9] [0-9]{1,13} ("." [0-9]{1,15})? | [1-9] [0-9]{14}',
        ),
        # The stricter one counts, and Draft 4 has it in other words.
        ({"minimum": 1, "maximum": 9, "exclusiveMaximum": 4}, '[1-3] ("." [0-9]{1,14})?'),
        ({"minimum": 1, "maximum": 4, "exclusiveMaximum": True}, '[1-3] ("." [0-9]{1,14})?'),
        ({"minimum": 1, "exclusiveMinimum": False, "maximum": 1}, '"1" ("." ("0"{1,14}))?'),
        # Beyond all that can be written there is no bound.
        ({"minimum": 1, "maximum": 1e300}, settled({"minimum": 1})[1:-1]),
        ({"minimum": 0, "maximum": 10**4000}, settled({"minimum": 0})[1:-1]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bounds_become_a_rule_of_decimals(schema: dict[str, Any], rule: str) -> None:
    assert settled(schema) == f"({rule})"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"minimum": 2, "maximum": 1}, "x: no number of at most 15 digits is >= 2 and <= 1"),
        ({"minimum": 1, "exclusiveMaximum": 1}, "is >= 1 and < 1"),
        ({"minimum": 1e30}, "is >= 1E+30 and any"),
        ({"minimum": 1e-30, "maximum": 2e-30}, "is >= 1E-30 and <= 2E-30"),
        ({"minimum": "1"}, "x: minimum of a number: expected a number, got '1'"),
        ({"maximum": True}, "x: maximum of a number: expected a number, got True"),
    ],
    ids=str,
)
def test_bounds_without_a_number_are_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(RunnerError, match=r".") as caught:
        settled(schema)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "x")
    assert message in caught.value.message


def test_numbers_are_held_wherever_a_schema_stands() -> None:
    bounded = {"type": "number", "minimum": 1, "description": "shown"}
    first, second = {"type": "number", "const": FIRST}, {"type": "number", "const": SECOND}
    for before, after in [
        ({"properties": {"a": bounded, "b": bounded}}, {"properties": {"a": first, "b": second}}),
        ({"items": bounded, "minItems": 1}, {"items": first, "minItems": 1}),
        ({"prefixItems": [bounded, {}]}, {"prefixItems": [first, {}]}),
        (
            {"$defs": {"x": bounded}, "$ref": "#/$defs/x"},
            {"$defs": {"x": first}, "$ref": "#/$defs/x"},
        ),
        ({"additionalProperties": bounded}, {"additionalProperties": first}),
        (
            {"type": ["number", "null"], "maximum": 2},
            {"anyOf": [first, {"type": "null", "maximum": 2}]},
        ),
    ]:
        assert NumberBounds().held(before, "x") == after


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 1},
        {"type": "number"},
        {"type": "number", "multipleOf": 2},
        {"type": "number", "exclusiveMinimum": False},
        {"enum": [1.5, 2.5], "type": "number", "minimum": 1},
        {
            "properties": {"minimum": {"type": "number"}},
            "default": {"type": "number", "minimum": 1},
        },
        True,
    ],
    ids=str,
)
def test_what_has_no_bounded_number_is_left_as_it_is(schema: Any) -> None:
    numbers = NumberBounds()
    assert numbers.held(schema, "x") == schema
    assert numbers.settled(f'root ::= "{FIRST}"') == f'root ::= "{FIRST}"'


def test_a_constant_of_the_schema_s_own_stays() -> None:
    numbers = NumberBounds()
    numbers.held({"type": "number", "minimum": 7, "exclusiveMaximum": 8}, "x")
    assert numbers.settled(f'"{FIRST}" | "{SECOND}"') == f'("7" ("." [0-9]{{1,14}})?) | "{SECOND}"'
