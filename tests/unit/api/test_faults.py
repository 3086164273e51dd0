from __future__ import annotations

import json

import pytest

from runner.api import faults
from runner.api.routes import MethodNotAllowed
from runner.errors import Kind, RunnerError
from runner.wire.messages import Failed


def test_an_error_has_openais_shape_with_details_beside_it() -> None:
    error = RunnerError(
        Kind.CONTEXT_LENGTH_EXCEEDED,
        "too long",
        hint="shorten it",
        param="messages",
        details={"n_prompt_tokens": 9, "n_ctx": 8, "message": "forged", "stderr": ["a path"]},
    )
    assert json.loads(faults.render(error)) == {
        "error": {
            "message": "too long (shorten it)",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
            "n_prompt_tokens": 9,
            "n_ctx": 8,
        }
    }


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (RunnerError(Kind.UNAUTHENTICATED, "x"), ("WWW-Authenticate", 'Bearer realm="runner"')),
        (RunnerError(Kind.BUSY, "x", retry_after_s=3), ("Retry-After", "3")),
        (MethodNotAllowed("PUT", ["GET", "HEAD"]), ("Allow", "GET, HEAD")),
    ],
)
def test_some_errors_need_a_header(error: RunnerError, header: tuple[str, str]) -> None:
    assert faults.headers(error) == [("Content-Type", "application/json"), header]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/messages", [("Request-Id", "r1")]),
        ("/anthropic/v1/models", [("Request-Id", "r1")]),
        ("/v1/chat/completions", []),
        ("/api/chat", []),
    ],
)
def test_anthropics_clients_find_the_request_id_where_they_look(
    path: str, fields: list[tuple[str, str]]
) -> None:
    assert faults.identify(path, "r1") == fields


def test_a_workers_failure_keeps_everything() -> None:
    failed = Failed(
        id=1,
        kind="context_length_exceeded",
        message="m",
        hint="h",
        param="p",
        details={"n_ctx": 8},
    )
    error = faults.from_failed(failed)
    assert (error.kind, error.message, error.hint) == (Kind.CONTEXT_LENGTH_EXCEEDED, "m", "h")
    assert (error.param, error.details, error.retry_after_s) == ("p", {"n_ctx": 8}, None)


def test_a_full_queue_says_when_to_come_back() -> None:
    busy = Failed(id=1, kind="server_busy", message="m", details={"retry_after_s": 4})
    assert faults.from_failed(busy).retry_after_s == 4
    assert faults.from_failed(busy).details == {}
    assert faults.from_failed(Failed(id=1, kind="server_busy", message="m")).retry_after_s == 1


def test_a_kind_nobody_knows_is_a_fault_of_ours() -> None:
    assert faults.from_failed(Failed(id=1, kind="no_such", message="m")).kind is Kind.INTERNAL


def test_ollama_s_sentence_begins_with_ollama_s_name() -> None:
    error = RunnerError(Kind.INVALID_REQUEST, "response_format: no", param="response_format")
    assert faults.body(error, "/api/chat") == b'{"error": "format: no"}'
