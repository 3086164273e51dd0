"""What is kept of a recorded request: JSON without files, a stream as one answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner import http

MAX_TEXT_CHARACTERS = 256 * 1024  # of a request, and of an answer
MAX_FILE_CHARACTERS = 100  # of a file's base64: Docker Model Runner's

_ATTRIBUTES = frozenset(
    {"id", "type", "role", "name", "object", "index"}
)  # told once, never joined


def request_text(body: Any) -> str:
    """Write a request's JSON, with what files hold cut to their beginnings."""
    return clipped(json.dumps(_without_files(body), ensure_ascii=False, separators=(",", ":")))


def clipped(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Cut a text that is too long, and say by how much."""
    left = len(text) - limit
    return text if left <= 0 else f"{text[:limit]}...[truncated {left} chars]"


def answer_text(body: bytes, *, is_stream: bool) -> tuple[str, str | None]:
    """Return the text of an answer, and the error that a stream of events ended with.

    Chunks of a chat become one ``chat.completion``, events of a response the response they end
    with; other streams stay as they were sent.
    """
    if not is_stream:
        return clipped(body.decode("utf-8", "replace")), None
    events = [*_events(body)]
    failed = next((event for event in events if event.get("error")), None)
    error = None if failed is None else json.dumps(failed, ensure_ascii=False)
    chunks = [event for event in events if event.get("object") == "chat.completion.chunk"]
    whole: Any = None
    if chunks:
        whole = _joined_chat(chunks)
    elif events and isinstance(events[-1].get("response"), dict):
        whole = events[-1]["response"]
    text = (
        body.decode("utf-8", "replace") if whole is None else json.dumps(whole, ensure_ascii=False)
    )
    return clipped(text), error


def _without_files(value: Any) -> Any:
    """Copy JSON; long texts without a blank are files in base64, with or without ``data:``."""
    if isinstance(value, dict):
        return {name: _without_files(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_files(member) for member in value]
    if isinstance(value, str) and _is_file(value):
        return clipped(value, MAX_FILE_CHARACTERS)
    return value


def _is_file(text: str) -> bool:
    return len(text) > 1000 and text.isascii() and len(text.split(None, 1)) == 1


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for event in http.sse.Decoder().feed(body):
        try:
            value = json.loads(event.data)
        except ValueError:
            continue  # [DONE]
        if isinstance(value, dict):
            yield value


def _joined_chat(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {**chunks[0], "object": "chat.completion"}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices", ()):
            empty = {"index": choice["index"], "message": {}, "finish_reason": None}
            joined = choices.setdefault(choice["index"], empty)
            _join(joined["message"], choice.get("delta") or {})
            joined["finish_reason"] = choice.get("finish_reason") or joined["finish_reason"]
        whole |= {name: chunk[name] for name in ("usage", "timings") if chunk.get(name)}
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


def _join(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add what is new: texts are joined, and calls that have the same index."""
    for name, value in delta.items():
        old = whole.get(name)
        if isinstance(value, list):
            calls = whole.setdefault(name, [])
            for part in value:
                if part.get("index", len(calls)) >= len(calls):
                    calls.append({})
                _join(calls[part.get("index", -1)], part)
        elif isinstance(value, dict):
            _join(whole.setdefault(name, {}), value)
        elif isinstance(value, str) and isinstance(old, str) and name not in _ATTRIBUTES:
            whole[name] = old + value
        elif value is not None or old is None:
            whole[name] = value
