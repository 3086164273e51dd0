from __future__ import annotations

from typing import Any

import pytest

from runner.api.fields import NO_LIMIT, Fields, describe, span
from runner.errors import RunnerError


def test_what_is_taken_is_gone_and_null_was_never_there() -> None:
    fields = Fields({"a": 1, "b": None, "c": "x", "d": []}, "m[0].")
    assert fields.integer("a", 0, 9) == 1
    assert fields.integer("a", 0, 9) is None
    assert fields.text("b") is None
    assert "c" in fields
    assert list(fields) == ["c", "d"]
    fields.drop(["c", "zzz"])
    assert list(fields) == ["d"]


@pytest.mark.parametrize(
    ("method", "wrong"), [("boolean", 1), ("text", 1), ("object", []), ("array", {})]
)
def test_the_whole_name_is_in_the_error(method: str, wrong: Any) -> None:
    with pytest.raises(RunnerError) as caught:
        getattr(Fields({"a": wrong}, "m[0]."), method)("a")
    assert caught.value.param == "m[0].a"
    assert caught.value.message.startswith("m[0].a: expected ")


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
