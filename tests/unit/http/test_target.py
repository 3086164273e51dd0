"""Targets and Host fields (A9, A12)."""

from __future__ import annotations

import pytest

from runner import http
from tests.support.http_feeds import request, server, whole

HOSTS = {
    "localhost": http.Host("localhost", None),
    "LocalHost:80": http.Host("localhost", 80),
    "127.0.0.1:12434": http.Host("127.0.0.1", 12434),
    "[::1]": http.Host("[::1]", None),
    "[::1]:8080": http.Host("[::1]", 8080),
    "model-runner.docker.internal": http.Host("model-runner.docker.internal", None),
    "a_b:": http.Host("a_b", None),
    "": None,
    "user@localhost": None,
    "localhost/": None,
    "localhost\\": None,
    "local host": None,
    "localhost:80:80": None,
    "localhost:65536": None,
    "localhost:-1": None,
    "localhost:8o": None,
    "a%2eb": None,
    "[::1": None,
    "::1": None,
    "a,b": None,
}


@pytest.mark.parametrize(("value", "host"), HOSTS.items())
def test_the_host_is_parsed_or_refused(value: str, host: http.Host | None) -> None:
    outcome = whole(server(), request(f"Host: {value}"))
    if host is None:
        assert outcome.status == 400
    else:
        assert isinstance(outcome.head, http.Request)
        assert outcome.head.host == host


def test_http_1_1_needs_a_host_and_http_1_0_does_not() -> None:
    assert whole(server(), b"GET / HTTP/1.1\r\n\r\n").status == 400
    head = whole(server(), b"GET / HTTP/1.0\r\n\r\n").head
    assert isinstance(head, http.Request)
    assert (head.host, head.version) == (None, (1, 0))


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/", "/", "/", ""),
        ("/a/b?c=d?e", "/a/b", "/a/b", "c=d?e"),
        ("/models/ai%2Fsmollm2", "/models/ai/smollm2", "/models/ai%2Fsmollm2", ""),
        ("/models/ai/smollm2:360M-Q4_K_M", *["/models/ai/smollm2:360M-Q4_K_M"] * 2, ""),
        ("/%2541", "/%41", "/%2541", ""),
        ("/caf%C3%A9?q=%zz", "/café", "/caf%C3%A9", "q=%zz"),
        ("//v1", "//v1", "//v1", ""),
        ("/engines/..%2f../x/./y", "/engines/../../x/./y", "/engines/..%2f../x/./y", ""),
        ("http://b:81/x?y", "/x", "/x", "y"),
        ("HTTP://b", "/", "/", ""),
        ("http://b?y", "/", "/", "y"),
    ],
)
def test_a_target_is_decoded_once_and_never_tidied(
    target: str, path: str, raw_path: str, query: str
) -> None:
    head = whole(server(), request("Host: a", first=f"GET {target} HTTP/1.1")).head
    assert isinstance(head, http.Request)
    assert (head.target, head.path, head.raw_path, head.query) == (target, path, raw_path, query)


def test_the_host_of_an_absolute_target_counts() -> None:
    head = whole(server(), request("Host: a", first="GET http://B:81/ HTTP/1.1")).head
    assert isinstance(head, http.Request)
    assert head.host == http.Host("b", 81)


def test_options_may_ask_about_the_server_as_a_whole() -> None:
    head = whole(server(), request("Host: a", first="OPTIONS * HTTP/1.1")).head
    assert isinstance(head, http.Request)
    assert (head.path, head.query) == ("*", "")
