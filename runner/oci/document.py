"""Strict JSON of documents that strangers wrote: one object, no repeated keys, bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner.errors import Kind, RunnerError

MAX_SIZE_BYTES = 2**63 - 1


def parse_object(data: bytes, *, limit_bytes: int, what: str) -> dict[str, Any]:
    """Parse a JSON object; raise RunnerError(INVALID_MODEL) that says which document is wrong."""
    if len(data) > limit_bytes:
        raise invalid(what, f"has {len(data)} bytes; at most {limit_bytes} are allowed")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise invalid(what, "is not JSON of a sane form") from error
    if not isinstance(value, dict):
        raise invalid(what, "is not a JSON object")
    return value


def render_object(value: Mapping[str, Any]) -> bytes:
    """Render the one canonical form: sorted keys, no blanks, so that equal content hashes equal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def member(value: Mapping[str, Any], key: str, kind: type, *, what: str) -> Any:
    """Return a member of a JSON type, or None when it is absent or null.

    ``int`` means a whole number of 0 or more and takes no booleans.
    """
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise invalid(what, f"has a {key} of type {type(found).__name__}, not {kind.__name__}")
    if isinstance(found, int) and not 0 <= found <= MAX_SIZE_BYTES:
        raise invalid(what, f"has a {key} out of range")
    return found


def require(value: Mapping[str, Any], key: str, kind: type, *, what: str) -> Any:
    """Return a member of a JSON type; refuse when it is absent."""
    found = member(value, key, kind, what=what)
    if found is None:
        raise invalid(what, f"has no {key}")
    return found


def strings(value: Mapping[str, Any], key: str, *, what: str) -> dict[str, str]:
    """Return a member that maps strings to strings; empty when it is absent."""
    found = member(value, key, dict, what=what) or {}
    if not all(isinstance(text, str) for text in found.values()):
        raise invalid(what, f"has {key} that are not all strings")
    return dict(found)


def invalid(what: str, problem: str) -> RunnerError:
    """Build the refusal of a document."""
    return RunnerError(
        Kind.INVALID_MODEL,
        f"invalid model artifact: {what} {problem}",
        hint="it may be no model, or one of a kind this version does not support",
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    for text in (*found, *found.values()):
        if isinstance(text, str) and not text.isascii():
            text.encode("utf-8")  # a lone surrogate is a ValueError here, not later in an answer
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
