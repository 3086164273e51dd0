"""JSON that a web API answers with, where anything may have answered in its place. Pure."""

from __future__ import annotations

import json
from typing import Any

from runner.errors import Kind, RunnerError


def parse_reply(raw: bytes, kind: type, source: str) -> Any:
    """Parse a dict or a list of ``source``; raise RunnerError(REGISTRY_UNAVAILABLE)."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise strange_reply(source, "it is not JSON") from error
    if not isinstance(value, kind):
        what = "object" if kind is dict else "list"
        raise strange_reply(source, f"it is not a JSON {what}")
    return value


def strange_reply(source: str, problem: str) -> RunnerError:
    """Build the error of an answer that ``source`` does not give."""
    return RunnerError(
        Kind.REGISTRY_UNAVAILABLE,
        f"the answer is not one of {source}: {problem}",
        hint="a proxy or a sign-in page may have answered; check your network, and HF_ENDPOINT "
        "if it is set",
    )
