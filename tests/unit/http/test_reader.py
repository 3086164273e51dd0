"""Bodies, cut in any way, and those that are none (A1, A2, A8)."""

from __future__ import annotations

import pytest

from runner import http
from tests.support.http_feeds import FEEDS, Feed, request, server, whole

feeds = pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.__name__)

CHUNKED = ("Host: a", "Transfer-Encoding: chunked")


@feeds
def test_a_body_ends_after_its_content_length(feed: Feed) -> None:
    outcome = feed(server(), request("Host: a", "Content-Length: 5", body=b"hello"))
    assert (outcome.body, outcome.is_whole, outcome.status) == (b"hello", True, None)


@feeds
@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"005\r\nhello\r\n000\r\n\r\n",
        b'5;name=value\r\nhello\r\n0 ; last="1"\r\n\r\n',
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    ],
)
def test_a_chunked_body_may_be_cut_in_any_way(feed: Feed, body: bytes) -> None:
    outcome = feed(server(), request("Host: a", "Transfer-Encoding: Chunked", body=body))
    assert (outcome.body, outcome.is_whole, outcome.status) == (b"hello", True, None)


BAD_CHUNKS = {
    "a prefix": b"0x1\r\na\r\n",
    "a plus sign": b"+1\r\na\r\n",
    "a minus sign": b"-1\r\na\r\n",
    "seventeen digits": b"00000000000000001\r\na\r\n",
    "no size": b"\r\na\r\n",
    "an underscore": b"1_0\r\na\r\n",
    "a space before": b" 1\r\na\r\n",
    "a space after": b"1 \r\na\r\n",
    "LF alone after the size": b"1\na\r\n",
    "LF alone after the data": b"1\r\na\n1\r\n",
    "CR alone after the size": b"1\ra\r\n",
    "data longer than the size": b"1\r\nab\r\n",
    "a NUL in an extension": b"1;\x00\r\na\r\n",
    "junk in the trailer": b"0\r\njunk\r\n\r\n",
    "a space before a trailer's colon": b"0\r\nA : b\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
}


@feeds
@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_a_bad_chunk_is_refused(feed: Feed, body: bytes) -> None:
    outcome = feed(server(), request("Host: a", "Transfer-Encoding: chunked", body=body))
    assert isinstance(outcome.head, http.Request)
    assert (outcome.status, outcome.is_whole) == (400, False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\nHo", "the connection was closed in the middle of a head"),
        (
            request("Host: a", "Content-Length: 2", body=b"a"),
            "the connection was closed in the middle of a body",
        ),
        (
            request(*CHUNKED, body=b"5\r\nab"),
            "the connection was closed in the middle of a body",
        ),
        (request(*CHUNKED, body=b"5"), "the connection was closed in the middle of a body"),
        (request(*CHUNKED, body=b"0\r\nA:"), "the connection was closed in the middle of a body"),
    ],
)
def test_a_message_cut_short_is_no_message(data: bytes, message: str) -> None:
    connection = server()
    whole(connection, data)
    outcome = whole(connection, b"")
    assert (outcome.is_whole, outcome.status, outcome.message) == (False, 400, message)
