"""The errors of the product: one exception, one table from kind to status, exit code and type.

An error says what happened, what was expected, what was got, and what to do next (``hint``).
Packages raise :class:`RunnerError`; ``api`` renders it as HTTP, ``cli`` as one line on stderr,
``wire`` carries it between processes. Nothing else maps kinds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """What went wrong, as a stable word: the ``code`` of the error's JSON."""

    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    TEMPLATE_ERROR = "template_error"
    MODEL_NOT_SUPPORTED = "model_not_supported"
    INVALID_REFERENCE = "invalid_reference"
    UNAUTHENTICATED = "invalid_api_key"
    FORBIDDEN = "forbidden"
    HOST_NOT_ALLOWED = "host_not_allowed"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    TOO_LARGE = "request_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_MODEL = "invalid_model"
    INTEGRITY = "digest_mismatch"
    REGISTRY_DENIED = "registry_denied"
    RATE_LIMITED = "rate_limited"
    REGISTRY_UNAVAILABLE = "registry_unavailable"
    BUSY = "server_busy"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    DISK_FULL = "disk_full"
    STORE = "store_error"
    LOAD_FAILED = "model_load_failed"
    OUT_OF_MEMORY = "out_of_memory"
    ENGINE_CRASHED = "engine_crashed"
    CANCELLED = "cancelled"
    USAGE = "usage"
    INTERNAL = "internal_error"


class Row(NamedTuple):
    """How one kind is shown: HTTP status, the CLI's exit code, ``type`` of OpenAI's error."""

    status: int
    exit_code: int
    openai_type: str


TABLE: dict[Kind, Row] = {
    Kind.INVALID_REQUEST: Row(400, 1, "invalid_request_error"),
    Kind.CONTEXT_LENGTH_EXCEEDED: Row(400, 1, "invalid_request_error"),
    Kind.TEMPLATE_ERROR: Row(400, 1, "invalid_request_error"),
    Kind.MODEL_NOT_SUPPORTED: Row(400, 1, "invalid_request_error"),
    Kind.INVALID_REFERENCE: Row(400, 2, "invalid_request_error"),
    Kind.UNAUTHENTICATED: Row(401, 1, "authentication_error"),
    Kind.FORBIDDEN: Row(403, 1, "permission_error"),
    Kind.HOST_NOT_ALLOWED: Row(403, 1, "permission_error"),
    Kind.ORIGIN_NOT_ALLOWED: Row(403, 1, "permission_error"),
    Kind.NOT_FOUND: Row(404, 1, "not_found_error"),
    Kind.MODEL_NOT_FOUND: Row(404, 1, "not_found_error"),
    Kind.METHOD_NOT_ALLOWED: Row(405, 1, "invalid_request_error"),
    Kind.CONFLICT: Row(409, 1, "conflict_error"),
    Kind.TOO_LARGE: Row(413, 1, "invalid_request_error"),
    Kind.UNSUPPORTED_MEDIA_TYPE: Row(415, 1, "invalid_request_error"),
    Kind.INVALID_MODEL: Row(422, 2, "invalid_request_error"),
    Kind.INTEGRITY: Row(502, 1, "server_error"),
    Kind.REGISTRY_DENIED: Row(401, 1, "authentication_error"),
    Kind.RATE_LIMITED: Row(429, 1, "rate_limit_error"),
    Kind.REGISTRY_UNAVAILABLE: Row(502, 1, "server_error"),
    Kind.BUSY: Row(503, 1, "server_busy"),
    Kind.UNAVAILABLE: Row(503, 1, "server_error"),
    Kind.TIMEOUT: Row(504, 1, "server_error"),
    Kind.DISK_FULL: Row(507, 1, "server_error"),
    Kind.STORE: Row(500, 1, "server_error"),
    Kind.OUT_OF_MEMORY: Row(503, 1, "server_error"),
    Kind.LOAD_FAILED: Row(500, 1, "server_error"),
    Kind.ENGINE_CRASHED: Row(500, 1, "server_error"),
    Kind.CANCELLED: Row(499, 1, "cancelled"),
    Kind.USAGE: Row(400, 2, "invalid_request_error"),
    Kind.INTERNAL: Row(500, 1, "server_error"),
}


class RunnerError(Exception):
    """An error a person can act on.

    ``message`` is one sentence with what was expected and got; ``hint`` the next step; ``param``
    the request field at fault, written as in ``messages[2].content``; ``details`` extra members
    of the JSON error object (numbers a program may want); ``retry_after_s`` asks the client to
    wait that long.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.param = param
        self.details = details or {}
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    @property
    def row(self) -> Row:
        """The table row of this error's kind."""
        return TABLE[self.kind]
