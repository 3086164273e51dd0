"""No input makes matching slow: the patterns never go back over what they took (A4)."""

from __future__ import annotations

import time

import pytest

from runner import http
from tests.support.http_feeds import request, server, whole

MANY = 60_000
HOSTILE = {
    "spaces in a value": request("Host: a", "A: b" + " " * MANY + "c" + " " * MANY + "\x00"),
    "words in a value": request("Host: a", "A:" + " b" * MANY + "\x00"),
    "a name without a colon": request("Host: a", "A" * MANY),
    "many bad lines": request("Host: a", *["A"] * MANY),
    "many fields": request("Host: a", *["A:"] * MANY),
    "a long method": b"A" * MANY + b"\r\n\r\n",
    "spaces in the request line": b"GET" + b" " * MANY + b"\r\n\r\n",
    "a long host": request("Host: " + "a." * MANY),
    "a long target": request("Host: a", first=f"GET http://{'a' * MANY}@/ HTTP/1.1"),
    "escapes in a path": request("Host: a", first=f"GET /{'%41' * MANY}% HTTP/1.1"),
    "a long length": request("Host: a", "Content-Length: " + "1" * MANY),
    "commas": request("Host: a", "Connection: " + "," * MANY),
    "spaces after a chunk size": request(
        "Host: a", "Transfer-Encoding: chunked", body=b"1" + b" " * MANY + b"\r\n"
    ),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_head_is_judged_in_linear_time(data: bytes) -> None:
    lenient = http.Limits(
        max_line_bytes=1 << 20,
        max_head_bytes=1 << 20,
        max_fields=1 << 20,
        max_chunk_line_bytes=1 << 20,
    )
    for limits in (http.Limits(), lenient):
        started_s = time.process_time()
        whole(server(limits), data)
        assert time.process_time() - started_s < 0.5
