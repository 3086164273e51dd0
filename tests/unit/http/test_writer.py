"""What is sent cannot be made to say more than was meant."""

from __future__ import annotations

import pytest

from runner import http
from tests.support.http_feeds import client, drain, server


def asked() -> http.Connection:
    """Return a server's connection that has read one request."""
    connection = server()
    connection.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    drain(connection)
    return connection


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\rb", "a\x00b", "\x1b", "caf\xe9", "\t"])
def test_a_header_value_that_could_end_its_line_is_never_sent(value: str) -> None:
    connection = asked()
    with pytest.raises(http.LocalProtocolError):
        connection.send_response(200, [("A", value)])
    assert connection.send_response(500, []).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


@pytest.mark.parametrize("name", ["", "A:", "A b", "A\r\nB", "Content-Length", "connection"])
def test_a_header_name_is_a_token_and_not_ours(name: str) -> None:
    with pytest.raises(http.LocalProtocolError):
        asked().send_response(200, [(name, "x")])


@pytest.mark.parametrize("status", [99, 100, 199, 600])
def test_a_final_status_is_between_200_and_599(status: int) -> None:
    with pytest.raises(http.LocalProtocolError):
        asked().send_response(status, [])


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET /", "/"), ("", "/"), ("GET", ""), ("GET", "/a b"), ("GET", "/\r\n"), ("GET", "/é")],
)
def test_a_request_line_cannot_be_broken(method: str, target: str) -> None:
    with pytest.raises(http.LocalProtocolError):
        client().send_request(method, target, headers=[])
