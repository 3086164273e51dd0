"""Server-Sent Events: rendered for servers, decoded for clients."""

from __future__ import annotations

import pytest

from runner.http import LocalProtocolError, ProtocolError, sse
from runner.http.sse import Event


@pytest.mark.parametrize(
    ("data", "event", "rendered"),
    [
        (b'{"a":1}', None, b'data: {"a":1}\n\n'),
        (b"[DONE]", None, b"data: [DONE]\n\n"),
        (b"", None, b"data: \n\n"),
        (b"x", "error", b"event: error\ndata: x\n\n"),
        (b"a\nb\r\nc\rd", None, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
    ],
)
def test_an_event_is_rendered(data: bytes, event: str | None, rendered: bytes) -> None:
    assert sse.render(data, event) == rendered


@pytest.mark.parametrize("name", ["a\nb", "a\rb"])
def test_a_name_is_one_line(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        sse.render(b"", name)


DECODED = [
    (b"data: a\n\n", [Event("message", "a")]),
    (b"data:a\r\n\r\ndata: b\r\r", [Event("message", "a"), Event("message", "b")]),
    (b"event: x\ndata: a\n\ndata: b\n\n", [Event("x", "a"), Event("message", "b")]),
    (b"data: a\ndata: b\n\n", [Event("message", "a\nb")]),
    (b"data\n\n", [Event("message", "")]),
    (b"data:  two spaces\n\n", [Event("message", " two spaces")]),
    (b": comment\n\ndata: a\nid: 1\nretry: 5\nunknown\n\n", [Event("message", "a")]),
    (b"event: x\n\ndata: a\n\n", [Event("message", "a")]),
    (b"\xef\xbb\xbfdata: a\n\n", [Event("message", "a")]),
    (b"data: \xe6\x9d\xb1\xff\n\n", [Event("message", "東\ufffd")]),
    (b"data: cut off\n", []),
    (sse.HEARTBEAT, []),
]


@pytest.mark.parametrize(("data", "events"), DECODED)
def test_events_are_decoded_however_they_are_cut(data: bytes, events: list[Event]) -> None:
    assert sse.Decoder().feed(data) == events
    decoder = sse.Decoder()
    pieces = [decoder.feed(data[at : at + 1]) for at in range(len(data))]
    assert [event for piece in pieces for event in piece] == events


def test_an_event_has_a_limit() -> None:
    decoder = sse.Decoder(max_event_bytes=8)
    assert decoder.feed(b"data: 12345678\n\n") == [Event("message", "12345678")]
    with pytest.raises(ProtocolError):
        decoder.feed(b"data: 1234\ndata: 56789\n")
    with pytest.raises(ProtocolError):
        sse.Decoder(max_event_bytes=8).feed(b"data: 123456789")


def test_feeding_nothing_changes_nothing() -> None:
    decoder = sse.Decoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\n\r\n") == [Event("message", "a")]
