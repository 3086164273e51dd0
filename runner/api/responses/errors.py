"""Errors of the engine, in the names that fields of a request for a response have. Pure."""

from __future__ import annotations

import re

from runner.api.fields import RefusedMember
from runner.errors import RunnerError

# The engine knows the names of chat completions.
_NAMES = (
    (re.compile(r"(tools\[\d+\])\.function(?=\.)"), r"\1"),
    (re.compile(r"response_format\b"), "text.format"),
)


def named(error: RunnerError) -> RunnerError:
    """Return the error with the names of a Responses request in its field and its message."""
    if error.param is None or isinstance(error, RefusedMember):
        return error
    param = error.param
    for pattern, name in _NAMES:
        param = pattern.sub(name, param)
    return RunnerError(
        error.kind,
        error.message.replace(error.param, param, 1),
        hint=error.hint,
        param=param,
        details=error.details,
        retry_after_s=error.retry_after_s,
    )
