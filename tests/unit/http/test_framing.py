"""How heads say where bodies end and whether connections live on (A1)."""

from __future__ import annotations

import pytest

from runner import http
from tests.support.http_feeds import request, server, whole


@pytest.mark.parametrize(
    "lines",
    [("Transfer-Encoding: chunked",), ("Transfer-Encoding: chunked", "Connection: keep-alive")],
)
def test_http_1_0_has_no_transfer_coding(lines: tuple[str, ...]) -> None:
    assert whole(server(), request(*lines, first="POST / HTTP/1.0")).status == 400


@pytest.mark.parametrize(
    ("first", "expectation", "status", "expects"),
    [
        ("POST / HTTP/1.1", "100-continue", None, True),
        ("POST / HTTP/1.1", "100-Continue", None, True),
        ("POST / HTTP/1.1", "a miracle", 417, False),
        ("POST / HTTP/1.1", "", 417, False),
        ("POST / HTTP/1.0", "100-continue", None, False),
    ],
)
def test_only_100_continue_may_be_expected(
    first: str, expectation: str, status: int | None, expects: bool
) -> None:
    connection = server()
    data = request("Host: a", f"Expect: {expectation}", "Content-Length: 2", first=first)
    assert whole(connection, data).status == status
    assert connection.expects_continue is expects


@pytest.mark.parametrize("lines", [(), ("Content-Length: 0",)])
def test_without_a_body_there_is_nothing_to_continue(lines: tuple[str, ...]) -> None:
    connection = server()
    connection.receive(request("Host: a", "Expect: 100-continue", *lines))
    assert isinstance(connection.next_event(), http.Request)
    assert not connection.expects_continue
