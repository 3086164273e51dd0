"""The CLI's HTTP client against a socket that plays canned bytes."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.cli.endpoint import Endpoint
from runner.cli.remote import NoDaemon, Remote, connect, read_error
from runner.cli.trace import Trace
from runner.errors import Kind, RunnerError


@contextmanager
def playing(
    *pieces: bytes, family: socket.AddressFamily = socket.AF_INET, path: Path | None = None
) -> Iterator[tuple[Endpoint, list[bytes]]]:
    """Serve one connection: read a request, send the pieces, close. Gives what was received."""
    listener = socket.socket(family)
    listener.bind(str(path) if path else ("127.0.0.1", 0))
    listener.listen()
    listener.settimeout(10)
    received: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(10)
        with connection:
            received.append(connection.recv(1 << 20))
            for piece in pieces:
                connection.sendall(piece)
            if not pieces:  # silent until the client gives up
                connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    endpoint = Endpoint(str(path), None) if path else Endpoint(*listener.getsockname())
    try:
        yield endpoint, received
    finally:
        thread.join(timeout=10)
        listener.close()


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    "pieces",
    [
        [answer(b'{"a":1}')],
        [CHUNKED],
        [CHUNKED[i : i + 1] for i in range(len(CHUNKED))],
        [b"HTTP/1.1 200 OK\r\n\r\n" + b'{"a":1}'],
    ],
    ids=["length", "chunked", "byte by byte", "until close"],
)
def test_an_answer_may_come_in_any_framing(pieces: list[bytes]) -> None:
    with playing(*pieces) as (endpoint, _):
        assert Remote([endpoint]).call("GET", "/models") == {"a": 1}


def test_a_request_says_whom_it_asks_and_who_asks() -> None:
    with playing(answer(b"")) as (endpoint, received):
        remote = Remote([endpoint], api_key="sk-1")
        assert remote.call("POST", "/x?y=1", {"ä": 1}, headers=[("X-Preload-Only", "true")]) is None
    head, _, body = received[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /x?y=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{endpoint.port}" in lines
    assert "Authorization: Bearer sk-1" in lines
    assert "Content-Type: application/json" in lines
    assert "X-Preload-Only: true" in lines
    assert f"Content-Length: {len(body)}" in lines
    assert body == b'{"\\u00e4": 1}'


def test_a_unix_socket_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with playing(answer(b"[]"), family=socket.AF_UNIX, path=path) as (endpoint, received):
        remote = Remote([endpoint])
        assert remote.call("GET", "/models") == []
    assert b"Host: localhost\r\n" in received[0]
    assert str(remote.endpoint) == f"unix:{path}"


def test_the_first_address_that_accepts_is_kept(tmp_path: Path) -> None:
    with playing(answer(b"[]")) as (endpoint, _):
        remote = Remote([Endpoint(str(tmp_path / "none.sock"), None), endpoint])
        assert remote.call("GET", "/models") == []
        assert remote.endpoint == endpoint


def free_endpoint() -> Endpoint:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Endpoint(*probe.getsockname())


def test_no_daemon_names_the_address_and_the_remedy(tmp_path: Path) -> None:
    endpoint = free_endpoint()
    remote = Remote([Endpoint(str(tmp_path / "none.sock"), None), endpoint])
    with pytest.raises(NoDaemon) as caught:
        remote.call("GET", "/models")
    assert caught.value.message == f"no daemon answers at {endpoint}"
    assert caught.value.hint == "start one: python -m runner serve"


@pytest.mark.parametrize(
    ("pieces", "kind", "message"),
    [
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"],
            Kind.UNAVAILABLE,
            "closed in the middle",
        ),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], Kind.UNAVAILABLE, "no whole answer from"),
        ([answer(b"<html>")], Kind.UNAVAILABLE, "it is not JSON"),
        ([], Kind.TIMEOUT, "sent nothing for 0.2 s"),
    ],
    ids=["broken off", "not http", "not json", "silent"],
)
def test_a_broken_answer_is_one_clear_error(pieces: list[bytes], kind: Kind, message: str) -> None:
    with (
        playing(*pieces) as (endpoint, _),
        pytest.raises(RunnerError, match=message) as caught,
    ):
        Remote([endpoint]).call("GET", "/models", timeout_s=0.2)
    assert caught.value.kind is kind


def test_an_error_answer_keeps_its_kind() -> None:
    body = b'{"error": {"message": "no model x (near: y)", "code": "model_not_found"}}'
    with (
        playing(answer(body, "404 Not Found")) as (endpoint, _),
        pytest.raises(RunnerError, match="no model x") as caught,
    ):
        Remote([endpoint]).call("GET", "/models/x")
    assert caught.value.kind is Kind.MODEL_NOT_FOUND


def test_what_the_caller_raises_is_not_taken_for_the_daemons_fault() -> None:
    with (
        playing(answer(b"[]")) as (endpoint, _),
        pytest.raises(BrokenPipeError),
        Remote([endpoint]).stream("GET", "/logs"),
    ):
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("status", "content", "kind", "message"),
    [
        (
            404,
            b"get model 'x': model not found\n",
            Kind.NOT_FOUND,
            "get model 'x': model not found",
        ),
        (503, b"", Kind.UNAVAILABLE, "status 503"),
        (500, b'{"error": "text"}', Kind.INTERNAL, "text"),
        (418, b'{"error": {"message": "tea", "code": 418}}', Kind.INVALID_REQUEST, "tea"),
        (400, b"\xff", Kind.INVALID_REQUEST, "\ufffd"),
    ],
)
def test_errors_of_other_servers_are_understood(
    status: int, content: bytes, kind: Kind, message: str
) -> None:
    error = read_error(status, content)
    assert (error.kind, error.message) == (kind, message)


def test_a_refused_key_tells_which_variable() -> None:
    body = b'{"error": {"message": "no key", "code": "invalid_api_key"}}'
    assert read_error(401, body).hint == "set RUNNER_API_KEY to a key of this server"


def test_a_key_that_no_header_can_hold_is_a_usage_error() -> None:
    with pytest.raises(
        RunnerError, match="RUNNER_API_KEY: expected a key of visible ASCII"
    ) as caught:
        connect({"HOME": "/h", "RUNNER_API_KEY": "a b"})
    assert caught.value.row.exit_code == 2


def test_a_key_is_sent_as_a_server_takes_it_from_the_same_variable() -> None:
    with playing(answer(b"[]")) as (endpoint, received):
        connect({"MODEL_RUNNER_HOST": str(endpoint), "RUNNER_API_KEY": "k:infer"}).call("GET", "/")
    assert b"Authorization: Bearer k:infer\r\n" in received[0]


def test_a_trace_tells_requests_and_answers_without_the_key() -> None:
    told: list[str] = []
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 3000}]}
    reply = b"HTTP/1.1 200 OK\r\nX-Request-Id: r1\r\nContent-Length: 2\r\n\r\n[]"
    with playing(reply) as (endpoint, received):
        remote = Remote([endpoint], api_key="secret")
        remote.trace = Trace(told.append)
        remote.call("POST", "/v1/chat/completions", body)
    assert b"Authorization: Bearer secret" in received[0]
    sent, answered = told
    cut = "x" * 2000 + "... (3000 characters)"
    assert sent == (
        f'> POST /v1/chat/completions to {endpoint} {{"model": "m", '
        f'"messages": [{{"role": "user", "content": "{cut}"}}]}}'
    )
    assert re.fullmatch(r"< 200 after \d+\.\d{3} s, request r1", answered)
