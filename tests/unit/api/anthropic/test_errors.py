from __future__ import annotations

import json

import pytest

from runner.api import faults
from runner.api.anthropic import errors
from runner.errors import Kind, RunnerError


def test_an_error_has_anthropics_shape_and_says_its_code() -> None:
    error = RunnerError(
        Kind.CONTEXT_LENGTH_EXCEEDED,
        "too long",
        hint="shorten it",
        param="messages",
        details={"n_prompt_tokens": 9, "n_ctx": 8, "stderr": ["a path"]},
    )
    assert json.loads(errors.render(error)) == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "too long (shorten it)",
            "details": {
                "n_prompt_tokens": 9,
                "n_ctx": 8,
                "error_code": "context_length_exceeded",
                "param": "messages",
            },
        },
    }


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (Kind.INVALID_REQUEST, "invalid_request_error"),
        (Kind.UNSUPPORTED_MEDIA_TYPE, "invalid_request_error"),
        (Kind.UNAUTHENTICATED, "authentication_error"),
        (Kind.FORBIDDEN, "permission_error"),
        (Kind.MODEL_NOT_FOUND, "not_found_error"),
        (Kind.TOO_LARGE, "request_too_large"),
        (Kind.BUSY, "overloaded_error"),
        (Kind.TIMEOUT, "timeout_error"),
        (Kind.LOAD_FAILED, "api_error"),
        (Kind.UNAVAILABLE, "api_error"),
    ],
)
def test_kinds_in_anthropics_words(kind: Kind, shown: str) -> None:
    assert errors.error_type(RunnerError(kind, "x")) == shown


@pytest.mark.parametrize(
    ("param", "shown"),
    [
        ("tools[3].function.parameters", "tools[3].input_schema"),
        ("response_format", "output_config.format"),
        ("messages", "messages"),
    ],
)
def test_the_engines_names_are_told_as_the_clients_own(param: str, shown: str) -> None:
    error = RunnerError(Kind.INVALID_REQUEST, f"{param}: it is wrong", param=param)
    told = json.loads(errors.render(error))["error"]
    assert (told["message"], told["details"]["param"]) == (f"{shown}: it is wrong", shown)


@pytest.mark.parametrize(
    ("path", "is_theirs"),
    [
        ("/v1/messages", True),
        ("/v1/messages/count_tokens", True),
        ("/engines/llama.cpp/v1/messages", True),
        ("/anthropic/v1/nothing", True),
        ("/v1/messagesX", False),
        ("/v1/chat/completions", False),
    ],
)
def test_the_shape_goes_by_the_path(path: str, is_theirs: bool) -> None:
    body = json.loads(faults.body(RunnerError(Kind.NOT_FOUND, "x"), path))
    assert ("type" in body) == is_theirs
