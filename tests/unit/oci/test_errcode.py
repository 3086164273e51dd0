from __future__ import annotations

import json

import pytest

from runner.errors import Kind
from runner.oci.errcode import Fault, kind_of, parse_faults


def body(*entries: object) -> bytes:
    return json.dumps({"errors": list(entries)}).encode()


def test_the_specifications_errors_are_read() -> None:
    raw = body({"code": "MANIFEST_UNKNOWN", "message": "manifest\nunknown\x1b[31m", "detail": {}})
    assert parse_faults(raw) == (Fault("MANIFEST_UNKNOWN", "manifest unknown [31m"),)
    assert str(parse_faults(raw)[0]) == "MANIFEST_UNKNOWN: manifest unknown [31m"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>secret</html>",
        b"[]",
        b'{"errors": "x"}',
        b'{"errors": [1, {"code": "lower case"}, {"code": 5}, {"message": "no code"}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_error_of_the_specification_is_never_shown(raw: bytes) -> None:
    assert parse_faults(raw) == ()


def test_words_are_bounded() -> None:
    faults = parse_faults(body(*[{"code": "DENIED", "message": "a" * 500}] * 99))
    assert len(faults) == 8
    assert len(faults[0].message) == 200


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "UNAUTHORIZED", Kind.REGISTRY_DENIED),
        (403, "DENIED", Kind.REGISTRY_DENIED),
        (404, "MANIFEST_UNKNOWN", Kind.MODEL_NOT_FOUND),
        (404, "", Kind.MODEL_NOT_FOUND),
        (404, "DENIED", Kind.REGISTRY_DENIED),
        (429, "", Kind.RATE_LIMITED),
        (403, "TOOMANYREQUESTS", Kind.RATE_LIMITED),
        (400, "", Kind.REGISTRY_UNAVAILABLE),
        (500, "", Kind.REGISTRY_UNAVAILABLE),
    ],
)
def test_a_refusal_means(status: int, code: str, kind: Kind) -> None:
    assert kind_of(status, (Fault(code),) if code else ()) is kind
