from __future__ import annotations

from typing import Any

import pytest

from runner.api.fields import (
    NO_LIMIT,
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    array,
    boolean,
    describe,
    integer,
    members,
    nested,
    number,
    required,
    span,
    text,
    word,
)
from runner.errors import RunnerError

A = integer("a", "", 0, 9)
B = text("b", "")
INNER = Shape("inner", (A, Ignored("i", "why")))
OUTER = Shape(
    "outer", (A, required(B, "send b"), nested("n", "", INNER), Refused("r", "is not", "do not"))
)


def test_what_is_taken_is_gone_and_null_was_never_there() -> None:
    fields = Fields({"a": 1, "b": None, "c": "x", "d": []})
    assert fields.take(A) == 1
    assert fields.take(A) is None
    assert fields.take(B) is None
    assert "c" in fields
    assert list(fields) == ["c", "d"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        (boolean("a", ""), 1),
        (integer("a", "", 0, 9), 10),
        (integer("a", "", 0, 9), True),
        (number("a", "", 0, 9), -1),
        (text("a", ""), 1),
        (text("a", "", max_characters=1), "xx"),
        (word("a", "", ("x",)), "y"),
        (word("a", "", ("x",)), []),
        (members("a", ""), []),
        (array("a", ""), {}),
        (nested("a", "", INNER), 1),
    ],
)
def test_the_whole_name_is_in_the_error(field: Field[Any], wrong: Any) -> None:
    with pytest.raises(RunnerError) as caught:
        Fields({"a": wrong}, "m[0].").take(field)
    assert caught.value.param == "m[0].a"
    assert caught.value.message.startswith("m[0].a: expected ")


def test_a_required_member_is_asked_for_and_a_refused_one_is_named() -> None:
    with pytest.raises(RunnerError) as caught:
        OUTER.open({}, "o").take(OUTER.honoured["b"])
    with pytest.raises(RunnerError) as refused:
        OUTER.open({"r": 1}, "o")
    assert (caught.value.message, caught.value.hint) == ("o.b is required", "send b")
    assert (refused.value.message, refused.value.hint) == ("o.r is not", "do not")
    assert (caught.value.param, refused.value.param) == ("o.b", "o.r")


def test_a_nested_object_knows_where_it_is() -> None:
    outer = OUTER.open({"x": 1, "n": {"a": 10, "i": 1}}, "o[1]")
    inner = outer.take(OUTER.honoured["n"])
    with pytest.raises(RunnerError) as caught:
        inner.take(A)
    assert caught.value.param == "o[1].n.a"
    assert list(inner) == ["i"]
    assert outer.untaken() == ("o[1].x", "o[1].n.i")


def test_only_what_a_shape_declares_is_taken_of_its_objects() -> None:
    with pytest.raises(AssertionError, match="inner does not declare b"):
        INNER.open({}, "o").take(B)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("a\x1b[31m\n", '"a\\u001b[31m\\n"'),
        ("é", '"\\u00e9"'),
        ("x" * 61, "a string of 61 characters"),
        ([], "an empty array"),
        ([1, 2], "an array of 2"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_value_is_described_briefly_and_without_control_characters(value: Any, text: str) -> None:
    assert describe(value) == text


def test_a_bound_that_only_guards_is_not_told() -> None:
    assert span(0.0, NO_LIMIT) == "of 0 or more"
    assert span(0.5, 1.0) == "from 0.5 to 1"
    assert span(1, 16) == "from 1 to 16"
