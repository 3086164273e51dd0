from __future__ import annotations

import pytest

from runner.errors import TABLE, Kind, RunnerError


def test_every_kind_has_a_row() -> None:
    assert set(TABLE) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_row_is_an_error_for_http_and_for_a_shell(kind: Kind) -> None:
    row = TABLE[kind]
    assert 400 <= row.status <= 599
    assert row.exit_code in (1, 2)
    assert row.openai_type


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (Kind.INVALID_REQUEST, 400, "invalid_request"),
        (Kind.CONTEXT_LENGTH_EXCEEDED, 400, "context_length_exceeded"),
        (Kind.MODEL_NOT_SUPPORTED, 400, "model_not_supported"),
        (Kind.UNAUTHENTICATED, 401, "invalid_api_key"),
        (Kind.HOST_NOT_ALLOWED, 403, "host_not_allowed"),
        (Kind.MODEL_NOT_FOUND, 404, "model_not_found"),
        (Kind.TOO_LARGE, 413, "request_too_large"),
        (Kind.UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type"),
        (Kind.BUSY, 503, "server_busy"),
        (Kind.ENGINE_CRASHED, 500, "engine_crashed"),
        (Kind.DISK_FULL, 507, "disk_full"),
    ],
)
def test_statuses_and_codes_are_promises(kind: Kind, status: int, code: str) -> None:
    assert (TABLE[kind].status, kind.value) == (status, code)


def test_the_text_ends_with_what_to_do() -> None:
    assert str(RunnerError(Kind.STORE, "it broke")) == "it broke"
    assert str(RunnerError(Kind.STORE, "it broke", hint="mend it")) == "it broke (mend it)"
