from __future__ import annotations

import json

import pytest

from runner.api.jsontext import encode

ENDS = "\x0a\x0d\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("value", [ENDS, {ENDS: [f"a{ENDS}b"]}, "ascii", "é😀\\u2028"])
def test_a_value_is_one_line_for_every_reader(value: object) -> None:
    data = encode(value)
    assert len(data.decode().splitlines()) == 1
    assert json.loads(data) == value
