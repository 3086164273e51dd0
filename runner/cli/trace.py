"""What ``run --debug`` tells: each request, where it goes, and when its answer begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from runner import http
from runner.cli.endpoint import Endpoint
from runner.cli.output import printable

MAX_TEXT_CHARACTERS = 2000  # of one text: a prompt is read, an image in base64 is not


class Trace:
    """Writes down what a client sends and gets. Keys and other fields of the head stay out."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._tell = say

    def sent(self, endpoint: Endpoint, method: str, target: str, body: Any) -> None:
        """Tell of a request."""
        self._say(f"> {method} {target} to {endpoint}{_render(body)}")

    def answered(self, head: http.Response, spent_s: float) -> None:
        """Tell of an answer's head, which came ``spent_s`` seconds after the request."""
        name = head.headers.get("x-request-id")
        self._say(f"< {head.status} after {spent_s:.3f} s{f', request {name}' if name else ''}")

    def _say(self, text: str) -> None:
        self._tell(printable(text))


def _render(body: Any) -> str:
    """Render a body with its long texts cut; archives are not shown."""
    if body is None:
        return ""
    if not isinstance(body, dict):
        return " ..."
    return " " + json.dumps(_cut(body), ensure_ascii=False)


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > MAX_TEXT_CHARACTERS:
            return f"{value[:MAX_TEXT_CHARACTERS]}... ({len(value)} characters)"
        case dict():
            return {name: _cut(member) for name, member in value.items()}
        case list():
            return [_cut(element) for element in value]
    return value
