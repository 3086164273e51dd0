"""The life of a connection: messages one after the other, keep-alive, refusals, both roles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner import http
from tests.support.http_feeds import client, drain, request, server, whole

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def asked(data: bytes = GET) -> http.Connection:
    """Return a server's connection that has read one request."""
    connection = server()
    connection.receive(data)
    _, fault = drain(connection)
    assert fault is None
    return connection


def answered() -> http.Connection:
    connection = asked()
    connection.send_response(200, [])
    return connection


def test_a_response_has_its_length() -> None:
    assert asked().send_response(200, [("Content-Type", "text/plain")], body=b"hello") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    )


def test_a_response_of_unknown_length_is_chunked() -> None:
    connection = asked()
    assert connection.send_response(200, [], body=None) == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert connection.send_data(b"hello, hello, hello") == b"13\r\nhello, hello, hello\r\n"
    assert connection.send_data(b"") == b""
    assert connection.send_end() == b"0\r\n\r\n"
    assert connection.may_cycle


def test_to_http_1_0_a_response_of_unknown_length_ends_with_the_connection() -> None:
    connection = asked(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert connection.send_response(200, [], body=None) == (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    )
    assert connection.send_data(b"hello") == b"hello"
    assert connection.send_end() == b""
    assert not connection.may_cycle


def test_the_answer_to_head_is_only_counted() -> None:
    head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert asked(head).send_response(200, [], body=b"hello") == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    )
    connection = asked(head)
    connection.send_response(200, [], body=None)
    assert connection.send_data(b"hello") == b""
    assert connection.send_end() == b""


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body_and_no_length(status: int) -> None:
    data = asked().send_response(status, [])
    assert data.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in data
    for body in (b"x", None):
        with pytest.raises(http.LocalProtocolError):
            asked().send_response(status, [], body=body)


KEEP_ALIVE = [
    ("GET / HTTP/1.1", (), True, b""),
    ("GET / HTTP/1.1", ("Connection: close",), False, b"Connection: close\r\n"),
    ("GET / HTTP/1.1", ("Connection: x, Close",), False, b"Connection: close\r\n"),
    ("GET / HTTP/1.1", ("Connection: x", "Connection: close"), False, b"Connection: close\r\n"),
    ("GET / HTTP/1.1", ("Connection: keep-alive",), True, b""),
    ("GET / HTTP/1.0", (), False, b"Connection: close\r\n"),
    ("GET / HTTP/1.0", ("Connection: Keep-Alive",), True, b"Connection: keep-alive\r\n"),
    ("GET / HTTP/1.0", ("Connection: keep-alive, close",), False, b"Connection: close\r\n"),
]


@pytest.mark.parametrize(("first", "lines", "lives_on", "field"), KEEP_ALIVE)
def test_the_client_says_whether_the_connection_lives_on(
    first: str, lines: tuple[str, ...], lives_on: bool, field: bytes
) -> None:
    connection = asked(request("Host: a", *lines, first=first))
    assert connection.send_response(200, []) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + field + b"\r\n"
    )
    assert connection.may_cycle is lives_on


def test_the_server_may_end_the_connection() -> None:
    connection = asked()
    assert b"Connection: close\r\n" in connection.send_response(200, [], close=True)
    assert not connection.may_cycle
    with pytest.raises(http.LocalProtocolError):
        connection.next_cycle()


def test_pipelined_requests_are_read_one_at_a_time() -> None:
    connection = server()
    connection.receive(GET * 2 + b"GET /bad\r\n")
    for _ in range(2):
        assert isinstance(connection.next_event(), http.Request)
        assert connection.next_event() is http.END_OF_MESSAGE
        assert connection.next_event() is http.PAUSED
        connection.send_response(204, [])
        connection.next_cycle()
    with pytest.raises(http.ProtocolError):
        connection.next_event()
    assert connection.send_response(400, []) == (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


def test_nothing_is_read_after_a_fault() -> None:
    connection = server()
    connection.receive(b"\x16")
    for _ in range(2):
        with pytest.raises(http.ProtocolError, match="plain HTTP"):
            connection.next_event()
        connection.receive(GET)
    assert connection.inbound is http.Phase.BROKEN
    assert not connection.may_cycle


def test_a_response_before_the_end_of_the_request_is_the_last() -> None:
    connection = asked(request("Host: a", "Content-Length: 5", body=b"he"))
    assert b"Connection: close" in connection.send_response(413, [])
    assert not connection.may_cycle


@pytest.mark.parametrize(
    ("body", "lives_on"), [(b"hello", True), (b"hell", False)], ids=["all of it", "some of it"]
)
def test_a_body_that_nobody_wants_can_be_skipped_if_it_has_come(
    body: bytes, lives_on: bool
) -> None:
    connection = server()
    connection.receive(request("Host: a", "Content-Length: 5", body=body))
    assert isinstance(connection.next_event(), http.Request)
    connection.skip_body()
    connection.send_response(404, [])
    assert connection.may_cycle is lives_on


def test_a_broken_body_that_nobody_wants_ends_the_connection() -> None:
    connection = server()
    connection.receive(request("Host: a", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\nx\n"))
    assert isinstance(connection.next_event(), http.Request)
    connection.skip_body()
    connection.send_response(404, [])
    assert not connection.may_cycle


def test_100_continue_is_sent_once_and_only_when_asked_for() -> None:
    connection = server()
    connection.receive(request("Host: a", "Expect: 100-continue", "Content-Length: 2"))
    assert isinstance(connection.next_event(), http.Request)
    assert connection.next_event() is http.NEED_DATA
    assert connection.send_continue() == b"HTTP/1.1 100 Continue\r\n\r\n"
    with pytest.raises(http.LocalProtocolError):
        connection.send_continue()
    connection.receive(b"ok")
    assert drain(connection) == ([http.Data(b"ok"), http.END_OF_MESSAGE], None)


def test_a_body_that_comes_unasked_makes_100_continue_needless() -> None:
    connection = server()
    connection.receive(request("Host: a", "Expect: 100-continue", "Content-Length: 2", body=b"ok"))
    drain(connection)
    assert not connection.expects_continue


def test_a_close_between_two_messages_is_no_fault() -> None:
    connection = asked()
    connection.receive(b"")
    assert connection.next_event() is http.PAUSED
    connection.send_response(204, [])
    connection.next_cycle()
    assert connection.next_event() is http.CONNECTION_CLOSED
    assert connection.next_event() is http.CONNECTION_CLOSED


def test_the_declared_length_is_known_before_the_body() -> None:
    assert asked(request("Host: a", "Content-Length: 70")).declared_length == 70
    assert asked(request("Host: a", "Transfer-Encoding: chunked")).declared_length is None
    assert asked().declared_length == 0


WRONG_MOVES: list[Callable[[], object]] = [
    lambda: server().send_response(200, []),
    lambda: server().send_request("GET", "/", headers=[]),
    lambda: server().next_cycle(),
    lambda: server().send_continue(),
    lambda: client().send_response(200, []),
    lambda: asked().send_data(b"x"),
    lambda: asked().send_end(),
    lambda: answered().send_response(200, []),
    lambda: answered().send_data(b"x"),
    lambda: answered().send_end(),
]


@pytest.mark.parametrize("move", WRONG_MOVES)
def test_a_wrong_move_of_our_own_is_an_assertion(move: Callable[[], object]) -> None:
    with pytest.raises(AssertionError) as caught:
        move()
    assert isinstance(caught.value, http.LocalProtocolError)


# ---- the client's side ---------------------------------------------------------------------------


def asking(method: str = "GET") -> http.Connection:
    connection = client()
    connection.send_request(method, "/", headers=[("Host", "a")])
    return connection


@pytest.mark.parametrize(
    ("method", "body", "sent"),
    [
        ("GET", b"", b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("POST", b"", b"POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        ("POST", b"ok", b"POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"),
        ("PUT", None, b"PUT /x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_a_request_is_framed(method: str, body: bytes | None, sent: bytes) -> None:
    assert client().send_request(method, "/x?y", headers=[("Host", "a")], body=body) == sent


CHUNKS = b"2\r\nok\r\n0\r\n\r\n"
RESPONSES = [
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    ("GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    (
        "GET",
        b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"ok",
        True,
    ),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"", True),
    ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"", False),
]


@pytest.mark.parametrize(("method", "data", "body", "lives_on"), RESPONSES)
def test_a_response_is_read(method: str, data: bytes, body: bytes, lives_on: bool) -> None:
    connection = asking(method)
    outcome = whole(connection, data)
    assert (outcome.body, outcome.is_whole) == (body, True)
    assert connection.may_cycle is lives_on


def test_a_response_without_framing_ends_with_the_connection() -> None:
    connection = asking()
    outcome = whole(connection, b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert (outcome.body, outcome.is_whole) == (b"some", False)
    outcome = whole(connection, b"")
    assert (outcome.is_whole, outcome.status) == (True, None)
    assert not connection.may_cycle


def test_interim_responses_come_before_the_final_one() -> None:
    connection = asking()
    connection.receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n")
    connection.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
    events, fault = drain(connection)
    assert fault is None
    assert events == [
        http.Informational(100, http.Headers()),
        http.Informational(103, http.Headers([("a", "b")])),
        http.Response(204, "No Content", http.Headers(), (1, 1)),
        http.END_OF_MESSAGE,
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    assert whole(asking(), data + b"\r\n\r\n").status in (400, 502)


def test_a_server_that_closes_without_an_answer_is_at_fault() -> None:
    assert whole(asking(), b"").message == "the server closed the connection without an answer"


def test_a_server_that_speaks_unasked_is_at_fault() -> None:
    outcome = whole(client(), b"HTTP/1.1 200 OK\r\n\r\n")
    assert outcome.message == "the server sent something before it was asked"


def test_a_client_that_was_never_answered_may_be_closed() -> None:
    connection = client()
    assert connection.next_event() is http.NEED_DATA
    connection.receive(b"")
    assert connection.next_event() is http.CONNECTION_CLOSED


def test_a_client_sends_several_requests_on_one_connection() -> None:
    connection = client()
    for _ in range(2):
        connection.send_request("GET", "/", headers=[("Host", "a")])
        assert whole(connection, b"HTTP/1.1 204 No Content\r\n\r\n").is_whole
        connection.next_cycle()


def test_a_response_may_have_chunks_without_end() -> None:
    connection = asking()
    connection.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    outcome = whole(connection, b"1\r\na\r\n" * 33_000 + b"0\r\n\r\n")
    assert (len(outcome.body), outcome.is_whole) == (33_000, True)
