"""Bytes of a request to a JSON object, strictly. Pure.

What two readers could understand differently is refused: a byte order mark, invalid UTF-8, names
that occur twice, text after the value, numbers that no float or 64-bit integer holds, halves of
surrogate pairs. Nesting and the length of numbers are bounded, so no body can exhaust the stack.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from runner.errors import Kind, RunnerError

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 20  # 2**64 has 20
MAX_FLOAT_CHARACTERS = 1000

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a body that must be one JSON object; raise INVALID_REQUEST that says where."""
    text = _decode_text(body)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        _refuse(f"the request body is not valid JSON: {error.msg}", offset=offset)
    except RecursionError:
        _refuse(f"the request body is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(value, dict):
        _refuse(f"expected the request body to be a JSON object, got {_name(value)}", offset=0)
    if _is_deeper(value, MAX_DEPTH):
        _refuse(f"the request body is nested more than {MAX_DEPTH} levels deep")
    if _SURROGATE.search(body) and not _is_encodable(value):
        _refuse("a string of the request body holds half of a surrogate pair")
    return value


def _decode_text(body: bytes) -> str:
    if not body:
        _refuse("the request body is empty: expected a JSON object", offset=0)
    if body.startswith(b"\xef\xbb\xbf"):
        _refuse("the request body begins with a byte order mark; send plain UTF-8", offset=0)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("the request body is not UTF-8", offset=error.start)


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        _refuse(f"a number of the request body has more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _parse_float(text: str) -> float:
    number = float(text) if len(text) <= MAX_FLOAT_CHARACTERS else math.inf
    if math.isinf(number):
        _refuse(f"a number of the request body is out of range: {text[:40]}")
    return number


def _refuse_constant(text: str) -> NoReturn:
    _refuse(f"the request body is not valid JSON: {text} is not a JSON number")


def _parse_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        _refuse(f"the request body names a member twice: {json.dumps(twice[:60])}")
    return members


_DECODER = json.JSONDecoder(
    object_pairs_hook=_parse_pairs,
    parse_int=_parse_integer,
    parse_float=_parse_float,
    parse_constant=_refuse_constant,
)


def _is_deeper(value: Any, levels: int) -> bool:
    """Say whether containers are nested more than ``levels`` deep, without recursing."""
    level: list[Any] = [value]
    for _ in range(levels):
        level = [child for node in level for child in _children(node) if isinstance(child, _NESTED)]
        if not level:
            return False
    return True


_NESTED = (dict, list)


def _children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


def _is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(message: str, *, offset: int | None = None) -> NoReturn:
    where = "" if offset is None else f" (at byte {offset})"
    details = {} if offset is None else {"offset": offset}
    raise RunnerError(Kind.INVALID_REQUEST, message + where, details=details)


def _name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"
