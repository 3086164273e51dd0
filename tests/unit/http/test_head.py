"""Heads as a server's connection reads them (A3, A4, A13, A15)."""

from __future__ import annotations

import pytest

from runner import http
from tests.support.http_feeds import FEEDS, Feed, byte_by_byte, request, server, whole

feeds = pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.__name__)

CHUNKED = ("Host: a", "Transfer-Encoding: chunked")


@feeds
def test_a_get_has_no_body(feed: Feed) -> None:
    outcome = feed(server(), b"GET /v1/models?limit=2 HTTP/1.1\r\nHost: localhost:12434\r\n\r\n")
    assert outcome.is_whole
    assert outcome.body == b""
    head = outcome.head
    assert isinstance(head, http.Request)
    assert head._replace(headers=http.Headers()) == http.Request(
        method="GET",
        target="/v1/models?limit=2",
        path="/v1/models",
        raw_path="/v1/models",
        query="limit=2",
        headers=http.Headers(),
        version=(1, 1),
        host=http.Host("localhost", 12434),
    )
    assert list(head.headers) == [("Host", "localhost:12434")]


@feeds
def test_one_empty_line_before_a_request_is_ignored(feed: Feed) -> None:
    outcome = feed(server(), b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert outcome.is_whole


@feeds
def test_values_are_trimmed_and_may_be_empty_or_latin_1(feed: Feed) -> None:
    outcome = feed(server(), request("Host: a", "A: \t x  y \t", "B:", "C:z", "D: caf\xe9"))
    assert isinstance(outcome.head, http.Request)
    headers = outcome.head.headers
    assert [headers.get(name) for name in "ABCD"] == ["x  y", "", "z", "caf\xe9"]


SMUGGLING = {
    "both length and coding": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "a coding after chunked": ("Transfer-Encoding: chunked, identity",),
    "a coding before chunked": ("Transfer-Encoding: gzip, chunked",),
    "an unknown coding": ("Transfer-Encoding: xchunked",),
    "chunked in quotes": ('Transfer-Encoding: "chunked"',),
    "no coding": ("Transfer-Encoding:",),
    "chunked twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "a plus sign": ("Content-Length: +10",),
    "an underscore": ("Content-Length: 1_0",),
    "a list": ("Content-Length: 10, 11",),
    "the same twice": ("Content-Length: 10", "Content-Length: 10"),
    "two lengths": ("Content-Length: 10", "Content-Length: 11"),
    "negative": ("Content-Length: -1",),
    "over 2^64": ("Content-Length: 18446744073709551616",),
    "hexadecimal": ("Content-Length: 0x10",),
    "no digits": ("Content-Length:",),
    "other digits": ("Content-Length: \xb2",),
    "a folded line": ("A: b", " folded"),
    "a space before the colon": ("A : b",),
    "a space before the name": (" A: b",),
    "no colon": ("A b",),
    "no name": (": b",),
    "a NUL in a value": ("A: b\x00c",),
    "a control character": ("A: b\x1bc",),
    "a bare CR": ("A: b\rC: d",),
    "a bare LF": ("A: b\nC: d",),
    "two Hosts": ("Host: a",),
    "two Authorizations": ("Authorization: Bearer a", "Authorization: Bearer b"),
    "two content types": ("Content-Type: a/b", "Content-Type: c/d"),
}


@feeds
@pytest.mark.parametrize("lines", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_readers_could_read_differently_is_refused(
    feed: Feed, lines: tuple[str, ...]
) -> None:
    connection = server()
    outcome = feed(connection, request("Host: a", *lines, body=b"0\r\n\r\n"))
    assert (outcome.head, outcome.status) == (None, 400)
    assert not connection.keep_alive


FIRST_LINES = {
    "HTTP/0.9": ("GET /", 400),
    "HTTP/2 by prior knowledge": ("PRI * HTTP/2.0", 505),
    "HTTP/3": ("GET / HTTP/3.0", 505),
    "no digits in the version": ("GET / HTTP/x", 400),
    "lower case": ("GET / http/1.1", 400),
    "two spaces": ("GET  / HTTP/1.1", 400),
    "a space in the target": ("GET /a b HTTP/1.1", 400),
    "a tab": ("GET\t/ HTTP/1.1", 400),
    "a space at the end": ("GET / HTTP/1.1 ", 400),
    "no target": ("GET HTTP/1.1", 400),
    "a method that is no token": ("G@T / HTTP/1.1", 400),
    "bytes over ASCII in the target": ("GET /caf\xe9 HTTP/1.1", 400),
    "a tunnel": ("CONNECT a:443 HTTP/1.1", 405),
    "a target without a slash": ("GET a HTTP/1.1", 400),
    "another scheme": ("GET ftp://a/ HTTP/1.1", 400),
    "userinfo in the target": ("GET http://u@a/ HTTP/1.1", 400),
    "an empty authority": ("GET http:///x HTTP/1.1", 400),
    "a star for GET": ("GET * HTTP/1.1", 400),
    "a fragment": ("GET /a#b HTTP/1.1", 400),
    "a fragment of a URL": ("GET http://a/#b HTTP/1.1", 400),
    "a lone percent sign": ("GET /a% HTTP/1.1", 400),
    "half an escape": ("GET /%4 HTTP/1.1", 400),
    "an escape that is none": ("GET /%zz HTTP/1.1", 400),
    "an encoded NUL": ("GET /a%00 HTTP/1.1", 400),
    "an encoded line end": ("GET /a%0d%0a HTTP/1.1", 400),
    "broken UTF-8": ("GET /%ff HTTP/1.1", 400),
    "overlong UTF-8": ("GET /%c0%af HTTP/1.1", 400),
}


@feeds
@pytest.mark.parametrize(("line", "status"), FIRST_LINES.values(), ids=FIRST_LINES.keys())
def test_a_bad_request_line_is_refused(feed: Feed, line: str, status: int) -> None:
    outcome = feed(server(), request("Host: a", first=line))
    assert (outcome.head, outcome.status) == (None, status)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "this port speaks plain HTTP; use http:// and not https://"),
        (b"\x00", "this is not an HTTP request"),
        (b" ", "this is not an HTTP request"),
        (b"\r\n\r", "this is not an HTTP request"),
        (b"GET /\r\n", "the request line has no HTTP version; HTTP/1.1 is needed"),
        (b"GET / HTTP/1.1\n", "the request line is malformed"),
        (b"hello\r\n", "the request line is malformed"),
    ],
)
def test_a_peer_that_speaks_something_else_is_told_at_once(data: bytes, message: str) -> None:
    for feed in (whole, byte_by_byte):
        outcome = feed(server(), data)
        assert (outcome.status, outcome.message) == (400, message)


LIMITS = http.Limits(
    max_line_bytes=64,
    max_head_bytes=256,
    max_fields=4,
    max_chunks=3,
    max_chunk_line_bytes=16,
    max_trailer_bytes=32,
)
OVER_LIMITS = {
    "a request line": (request(first=f"GET /{'a' * 80} HTTP/1.1"), 414),
    "a request line that never ends": (b"GET /" + b"a" * 300, 414),
    "a method": (b"A" * 300, 414),
    "a head": (request("Host: a", f"A: {'b' * 300}"), 431),
    "a head that never ends": (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 300, 431),
    "many fields": (request("Host: a", "A:", "B:", "C:", "D:"), 431),
    "many chunks": (request(*CHUNKED, body=b"1\r\na\r\n" * 4), 400),
    "a chunk extension": (request(*CHUNKED, body=b"1;" + b"x" * 20 + b"\r\n"), 400),
    "a trailer": (request(*CHUNKED, body=b"0\r\nA: " + b"b" * 40 + b"\r\n\r\n"), 431),
    "a trailer that never ends": (request(*CHUNKED, body=b"0\r\nA: " + b"b" * 40), 431),
}


@feeds
@pytest.mark.parametrize(("data", "status"), OVER_LIMITS.values(), ids=OVER_LIMITS.keys())
def test_every_part_has_a_limit(feed: Feed, data: bytes, status: int) -> None:
    assert feed(server(LIMITS), data).status == status


@feeds
def test_what_is_just_within_the_limits_is_read(feed: Feed) -> None:
    first = f"GET /{'a' * (64 - 16)} HTTP/1.1"
    assert len(first) + 2 == 64
    lines = ["Host: a", "B:", "C:"]
    used = sum(len(line) + 2 for line in (first, *lines)) + 2
    lines.append(f"D: {'d' * (256 - used - 5)}")
    data = request(*lines, first=first)
    assert len(data) == 256
    assert feed(server(LIMITS), data).is_whole


def test_fields_are_parsed_anew_when_a_byte_of_them_changed() -> None:
    connection = server()
    hosts = []
    for target, host in (("/a", "a"), ("/b", "a"), ("/b", "b"), ("/b", "a")):
        connection.receive(request(f"Host: {host}", first=f"GET {target} HTTP/1.1"))
        event = connection.next_event()
        assert isinstance(event, http.Request)
        hosts.append((event.path, event.headers.get("host")))
        assert connection.next_event() is http.END_OF_MESSAGE
        connection.send_response(204, [])
        connection.next_cycle()
    assert hosts == [("/a", "a"), ("/b", "a"), ("/b", "b"), ("/b", "a")]
