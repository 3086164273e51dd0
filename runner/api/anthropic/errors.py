"""Errors in the shape that Anthropic's SDKs read. Pure."""

from __future__ import annotations

import re

from runner.api.fields import RefusedMember
from runner.api.jsontext import encode
from runner.errors import Kind, RunnerError

# By status, and then by kind where that says more: https://docs.claude.com/en/api/errors
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
_TYPES_OF_KINDS = {Kind.BUSY: "overloaded_error"}

# What the engine calls by the names of chat completions.
_NAMES = (
    (re.compile(r"(tools\[\d+\])\.function\.parameters"), r"\1.input_schema"),
    (re.compile(r"response_format"), "output_config.format"),
)


def render(error: RunnerError) -> bytes:
    """Render ``{"type": "error", "error": {"type", "message", "details"}}``.

    ``details`` has the stable code, the field at fault and whatever numbers there are.
    """
    message = str(error)
    details = {name: fact for name, fact in error.details.items() if name != "stderr"}
    details["error_code"] = _code(error)
    if error.param is not None:
        details["param"] = _renamed(error.param)
        message = message.replace(error.param, details["param"], 1)
    told = {"type": error_type(error), "message": message, "details": details}
    return encode({"type": "error", "error": told})


def event(error: RunnerError) -> bytes:
    """Render the last event of a stream that failed after its head was sent."""
    return b"event: error\ndata: %b\n\n" % render(error)


def error_type(error: RunnerError) -> str:
    """Return the broad kind of an error, in Anthropic's words."""
    status = error.row.status
    other = "api_error" if status >= 500 else "invalid_request_error"
    return _TYPES_OF_KINDS.get(error.kind) or _TYPES.get(status, other)


def _code(error: RunnerError) -> str:
    """Return the stable code; the SDKs go on without a thread where they read theirs."""
    is_thread = isinstance(error, RefusedMember) and error.param == "thread"
    return "thread_unsupported_request" if is_thread else error.kind.value


def _renamed(param: str) -> str:
    for pattern, name in _NAMES:
        param = pattern.sub(name, param)
    return param
