"""Any bytes give events or ProtocolError, the same however they are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from runner import http
from runner.http import sse
from tests.support.http_feeds import Outcome, client, outcome_of, server

# Pieces that a grammar is made of, so that random text often comes close to a message.
PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a%2Fb?c HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"A: b\r\n",
        b"3\r\nabc\r\n",
        b"1;x\r\na\r\n",
        b"0\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\x00",
        b"\x16\x03\x01",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=14).map(b"".join)
LIMITS = http.Limits(
    max_line_bytes=48,
    max_head_bytes=160,
    max_fields=4,
    max_chunks=4,
    max_chunk_line_bytes=12,
    max_trailer_bytes=24,
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


def serve(pieces: list[bytes]) -> Outcome:
    return outcome_of(server(LIMITS), [*pieces, b""])


def ask(pieces: list[bytes]) -> Outcome:
    connection = client(LIMITS)
    connection.send_request("GET", "/", headers=[("Host", "a")])
    return outcome_of(connection, [*pieces, b""])


@given(TEXTS, st.lists(st.integers(min_value=0), max_size=6))
@example(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [1])
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [])
def test_a_server_reads_any_bytes_the_same_however_cut(data: bytes, cuts: list[int]) -> None:
    outcome = serve([data] if data else [])
    assert serve(cut(data, cuts)) == outcome
    assert serve([data[at : at + 1] for at in range(len(data))]) == outcome


@given(TEXTS, st.lists(st.integers(min_value=0), max_size=6))
def test_a_client_reads_any_bytes_the_same_however_cut(data: bytes, cuts: list[int]) -> None:
    outcome = ask([data] if data else [])
    assert ask(cut(data, cuts)) == outcome
    assert ask([data[at : at + 1] for at in range(len(data))]) == outcome


@given(st.binary(max_size=300))
def test_whatever_a_peer_sends_a_server_may_answer_it(data: bytes) -> None:
    connection = server()
    fault = outcome_of(connection, [data]).status
    if fault is not None:
        assert connection.send_response(fault, []).startswith(b"HTTP/1.1 %d " % fault)
        assert not connection.may_cycle


TOKENS = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip)
OURS = {"content-length", "transfer-encoding", "connection", "trailer", "host", "expect"}
FIELDS = st.lists(st.tuples(TOKENS, VALUES), max_size=5, unique_by=lambda field: field[0].lower())
BODIES = st.one_of(st.binary(max_size=50), st.lists(st.binary(max_size=20), max_size=5))
TARGETS = st.text("/abc%41?=&.;:@", max_size=12).map(lambda rest: "/" + rest.replace("%", "%41"))


@given(st.sampled_from(["GET", "POST", "DELETE", "X-Y"]), TARGETS, FIELDS, BODIES, st.data())
def test_what_one_side_sends_the_other_receives(
    method: str,
    target: str,
    fields: list[tuple[str, str]],
    body: bytes | list[bytes],
    data: st.DataObject,
) -> None:
    ours, theirs = client(), server()
    for _ in range(2):
        head = [("Host", "a"), *(field for field in fields if field[0].lower() not in OURS)]
        sent = _send(
            ours,
            lambda whole, head=head: ours.send_request(method, target, headers=head, body=whole),
            body,
        )
        request = outcome_of(theirs, cut(sent, data.draw(st.lists(st.integers(0), max_size=3))))
        assert request.is_whole
        assert isinstance(request.head, http.Request)
        assert (request.head.method, request.head.target) == (method, target)
        assert list(request.head.headers)[: len(head)] == head
        assert request.body == (body if isinstance(body, bytes) else b"".join(body))

        answer = _send(
            theirs, lambda whole, head=head: theirs.send_response(200, head, body=whole), body
        )
        response = outcome_of(ours, cut(answer, data.draw(st.lists(st.integers(0), max_size=3))))
        assert response.is_whole
        assert isinstance(response.head, http.Response)
        assert response.head.status == 200
        assert list(response.head.headers)[: len(head)] == head
        assert response.body == request.body
        ours.next_cycle()
        theirs.next_cycle()


def _send(side: http.Connection, begin: object, body: bytes | list[bytes]) -> bytes:
    assert callable(begin)
    if isinstance(body, bytes):
        return bytes(begin(body))
    return b"".join([begin(None), *map(side.send_data, body), side.send_end()])


LINES = st.text(max_size=12).map(lambda text: text.replace("\r", "").encode())


@given(st.lists(LINES, max_size=4), st.lists(st.integers(min_value=0), max_size=6))
def test_events_survive_the_stream_however_cut(events: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(part for data in events for part in (sse.render(data), sse.HEARTBEAT))
    decoder = sse.Decoder()
    decoded = [event.data for piece in cut(stream, cuts) for event in decoder.feed(piece)]
    assert decoded == [data.decode() for data in events]


@given(
    st.binary(max_size=60).map(lambda data: data.replace(b"\x00", b"\r\n\rdata:a\n\n")), st.data()
)
def test_any_bytes_are_decoded_the_same_however_cut(stream: bytes, data: st.DataObject) -> None:
    whole = sse.Decoder().feed(stream)
    decoder = sse.Decoder()
    pieces = cut(stream, data.draw(st.lists(st.integers(0), max_size=8)))
    assert [event for piece in pieces for event in decoder.feed(piece)] == whole
