"""Strict JSON: cases B1 to B3 of demands-security.md."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runner.api.jsonbody import decode_object
from runner.errors import Kind, RunnerError


def refusal(body: bytes) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        decode_object(body)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' \r\n\t{"a": [1, -2.5, true, null, "x"]} \n', {"a": [1, -2.5, True, None, "x"]}),
        ('{"ключ": "é😀"}'.encode(), {"ключ": "é😀"}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "😀"}),
        (rb'{"a": "\\ud83d"}', {"a": "\\ud83d"}),
        (b'{"a": 18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a": 1e308}', {"a": 1e308}),
        (b'{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
    ],
)
def test_an_object_is_read(body: bytes, value: dict[str, Any]) -> None:
    assert decode_object(body) == value


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"", 0),
        (b"   ", 3),
        (b"[]", 0),
        (b'"x"', 0),
        (b"null", 0),
        (b"true", 0),
        (b"7", 0),
        (b"\xef\xbb\xbf{}", 0),
        (b'{"a": "\xff"}', 7),
        (b'{"a": 1,}', 8),
        (b"{'a': 1}", 1),
        (b'{"a": 1} x', 9),
        (b'{"a": 1}{"b": 2}', 8),
        ('{"é": }'.encode(), 7),
        (b'{"a": "x\ny"}', 8),
        (b'{"a": 1', 7),
        (b'{"a": "\x00"}', 7),
        ("{}".encode("utf-16"), 0),
    ],
)
def test_what_is_none_is_refused_with_its_byte_offset(body: bytes, offset: int) -> None:
    error = refusal(body)
    assert error.details == {"offset": offset}
    assert f"(at byte {offset})" in error.message


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_numbers_that_are_none_are_refused(number: bytes) -> None:
    refusal(b'{"temperature": %b}' % number)


@pytest.mark.parametrize("number", [b"9" * 4001, b"9" * 5_000_000, b"1." + b"0" * 5_000_000])
def test_long_numbers_do_not_stall(number: bytes) -> None:
    began = time.process_time()
    refusal(b'{"seed": %b}' % number)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "a", "model": "b"}',
        b'{"messages": [{"role": "user", "role": "system"}]}',
        rb'{"a": 1, "\u0061": 2}',
    ],
)
def test_a_name_twice_is_refused(body: bytes) -> None:
    assert "twice" in refusal(body).message


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\ude00", rb"\ude00\ud83d", rb"x\uDFFFy"])
def test_half_a_surrogate_pair_is_refused(half: bytes) -> None:
    assert "surrogate" in refusal(b'{"a": ["%b"]}' % half).message
    assert "surrogate" in refusal(b'{"%b": 1}' % half).message


@pytest.mark.parametrize("depth", [65, 500, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(depth: int, opening: bytes, closing: bytes) -> None:
    body = b'{"a":' + opening * depth + b"1" + closing * depth + b"}"
    assert "nested" in refusal(body).message


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert decode_object(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")
