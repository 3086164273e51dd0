"""Errors of the engine name fields as they are called in a request for a response."""

from __future__ import annotations

import pytest

from runner.api.responses.errors import named
from runner.errors import Kind, RunnerError


@pytest.mark.parametrize(
    ("param", "found"),
    [
        ("response_format", "text.format"),
        ("tools[3].function.parameters", "tools[3].parameters"),
        ("input[0].content", "input[0].content"),
        ("tools", "tools"),
    ],
)
def test_a_field_is_called_as_clients_call_it(param: str, found: str) -> None:
    error = named(RunnerError(Kind.INVALID_REQUEST, f"{param}: no", hint="h", param=param))
    assert (error.param, str(error)) == (found, f"{found}: no (h)")


def test_an_error_of_no_field_stays_as_it_is() -> None:
    error = RunnerError(Kind.ENGINE_CRASHED, "it died")
    assert named(error) is error
