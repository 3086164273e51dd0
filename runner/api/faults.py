"""Errors as answers: the JSON that OpenAI's SDKs read, and the headers that go with it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from runner.api.anthropic import errors as anthropic
from runner.api.ollama import faults as ollama
from runner.api.routes import MethodNotAllowed
from runner.errors import Kind, RunnerError
from runner.wire.messages import Failed

Header = tuple[str, str]

JSON_TYPE: Header = ("Content-Type", "application/json")


def render(error: RunnerError) -> bytes:
    """Render ``{"error": {"message", "type", "param", "code", ...details}}``.

    The last lines of a dead engine's stderr stay out: logs need a scope of their own.
    """
    body: dict[str, Any] = {
        "message": str(error),
        "type": error.row.openai_type,
        "param": error.param,
        "code": error.kind.value,
    }
    details = {name: fact for name, fact in error.details.items() if name != "stderr"}
    # Details never replace the members every client reads.
    return json.dumps({"error": body | details | body}).encode()


Render = Callable[[RunnerError], bytes]

# Paths whose clients read errors in another shape than OpenAI's.
_BODIES: tuple[tuple[re.Pattern[str], Render], ...] = (
    (re.compile(r"(?:/engines(?:/llama\.cpp)?)?/v1/messages(?:/|$)"), anthropic.render),
    (re.compile(r"/anthropic(?:/|$)"), anthropic.render),
    (re.compile("/api/"), ollama.render),
)


def body(error: RunnerError, path: str) -> bytes:
    """Render an error as the clients of a path read it."""
    return _render_of(path)(error)


def identify(path: str, request_id: str) -> list[Header]:
    """Return what names a request to the clients of a path, where X-Request-Id does not."""
    return [("Request-Id", request_id)] if _render_of(path) is anthropic.render else []


def _render_of(path: str) -> Render:
    return next((render for pattern, render in _BODIES if pattern.match(path)), render)


def headers(error: RunnerError) -> list[Header]:
    """Return the headers that the error's kind asks for."""
    found = [JSON_TYPE]
    if error.kind is Kind.UNAUTHENTICATED:
        found.append(("WWW-Authenticate", 'Bearer realm="runner"'))
    if error.retry_after_s is not None:
        found.append(("Retry-After", str(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        found.append(("Allow", error.allow))
    return found


def from_failed(failed: Failed) -> RunnerError:
    """Turn a worker's last word into the error it stands for."""
    try:
        kind = Kind(failed.kind)
    except ValueError:
        kind = Kind.INTERNAL
    details = dict(failed.details)
    retry_after_s = details.pop("retry_after_s", None)
    if retry_after_s is None and kind in (Kind.BUSY, Kind.UNAVAILABLE):
        retry_after_s = 1
    return RunnerError(
        kind,
        failed.message,
        hint=failed.hint,
        param=failed.param,
        details=details,
        retry_after_s=retry_after_s,
    )
