"""Requests and responses over real sockets, in order, with their errors and their log."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from runner import http, net
from runner.errors import Kind, RunnerError
from tests.support.net_client import QUICK, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def hello(exchange: net.Exchange) -> None:
    await exchange.respond(200, [("Content-Type", "text/plain")], b"hello")


async def echo(exchange: net.Exchange) -> None:
    body = await exchange.read_body(100_000)
    await exchange.respond(200, [], body)


async def count(exchange: net.Exchange) -> None:
    stream = await exchange.open_stream(200, [])
    for number in range(3):
        await stream.send(b"%d," % number)
    await stream.finish()


def test_a_response_carries_the_standard_fields() -> None:
    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            status, headers, body = await client.ask(GET)
            assert (status, body) == (200, b"hello")
            assert headers.get("server") == "runner"
            assert headers.get("content-length") == "5"
            assert re.fullmatch(
                r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
                headers.get("date", ""),
            )
            assert re.fullmatch(r"[0-9a-f]{8}-1", headers.get("x-request-id", ""))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [
        ("trace-01.a_B", True),
        ("a b", False),
        ("a\x1b[2J", None),
        ("x" * 129, False),
        ("", False),
    ],
)
def test_a_sane_request_id_of_the_client_is_kept(sent: str, is_kept: bool | None) -> None:
    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            status, headers, _ = await client.ask(
                f"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {sent}\r\n\r\n".encode()
            )
            assert status == (400 if is_kept is None else 200)
            assert (headers.get("x-request-id") == sent) is bool(is_kept)
            assert site.records[0].request_id == headers.get("x-request-id")

    asyncio.run(scenario())


def test_a_connection_serves_many_requests() -> None:
    async def scenario() -> None:
        async with serving(echo) as site, site.client() as client:
            for number in range(5):
                body = b"x" * number
                status, _, answer = await client.ask(
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (number, body)
                )
                assert (status, answer) == (200, body)
            assert site.server.connections == 1

    asyncio.run(scenario())


def test_http_1_0_is_closed_after_one_response() -> None:
    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await client.rest()).endswith(b"Connection: close\r\n\r\nhello")

    asyncio.run(scenario())


def test_head_gets_the_length_and_no_body() -> None:
    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
            for _ in range(2):
                status, headers, body = await client.ask(head, method="HEAD")
                assert (status, headers.get("content-length"), body) == (200, "5", b"")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("version", "ending"),
    [
        ("1.1", b"\r\n\r\n2\r\n0,\r\n2\r\n1,\r\n2\r\n2,\r\n0\r\n\r\n"),
        ("1.0", b"Connection: close\r\n\r\n0,1,2,"),
    ],
)
def test_a_stream_is_chunked_or_ends_with_the_connection(version: str, ending: bytes) -> None:
    async def scenario() -> None:
        async with serving(count) as site, site.client() as client:
            client.send(f"GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert (await client.rest()).endswith(ending)
            assert site.records[0].body_bytes == 6

    asyncio.run(scenario())


def test_bodies_come_in_any_pieces() -> None:
    async def scenario() -> None:
        async with serving(echo) as site, site.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in b"5\r\nhello\r\n0\r\n\r\n":
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer())[2] == b"hello"

    asyncio.run(scenario())


def test_a_client_that_waits_for_100_continue_gets_it_when_its_body_is_wanted() -> None:
    async def scenario() -> None:
        async with serving(echo) as site, site.client() as client:
            client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await client.ask(b"ok"))[2] == b"ok"

    asyncio.run(scenario())


def test_a_client_that_waits_for_100_continue_is_refused_without_it() -> None:
    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Connection: close\r\n" in answer

    asyncio.run(scenario())


def test_a_pipeline_is_answered_in_order_up_to_the_bad_request() -> None:
    """A14: the earlier ones are answered, the bad one gets 400, nothing after it is read."""
    targets: list[str] = []

    async def slow_then_fast(exchange: net.Exchange) -> None:
        targets.append(exchange.request.path)
        await asyncio.sleep(0.02 if exchange.request.path == "/1" else 0)
        await exchange.respond(200, [], exchange.request.path.encode())

    async def scenario() -> None:
        async with serving(slow_then_fast) as site, site.client() as client:
            client.send(
                b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
                b"GET /3 HTTP/1.1\r\nHost : a\r\n\r\n"
                b"GET /4 HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            assert [(await client.answer())[::2] for _ in range(2)] == [(200, b"/1"), (200, b"/2")]
            status, headers, body = await client.answer()
            assert (status, headers.get("connection")) == (400, "close")
            assert b'"code": "invalid_request"' in body
            assert await client.rest() == b""
            assert targets == ["/1", "/2"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, b"plain HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, b"HTTP/2.0"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, b"method_not_allowed"),
        (b"GET /\r\n", 400, b"no HTTP version"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, b"100-continue"),
        (b"GET /" + b"a" * 9000, 414, b"8192"),
    ],
)
def test_a_peer_that_speaks_something_else_is_told_and_closed(
    data: bytes, status: int, words: bytes
) -> None:
    """A13, over the wire."""

    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            found, headers, body = await client.ask(data)
            assert (found, headers.get("connection")) == (status, "close")
            assert words in body
            assert (headers.get("allow") == "") is (status == 405)
            assert await client.rest() == b""
            assert [(record.method, record.status) for record in site.records] == [("-", status)]

    asyncio.run(scenario())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_and_the_answer_can_be_read(chunked: bool) -> None:
    """A7: 413 before buffering; the client may still be sending when it is answered."""

    async def small(exchange: net.Exchange) -> None:
        await exchange.read_body(1000)

    async def scenario() -> None:
        async with serving(small) as site, site.client() as client:
            if chunked:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
            else:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024000\r\n\r\n")
                piece = b"x" * 1024
            for _ in range(1000):
                client.send(piece)
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
            assert b"Connection: close\r\n" in answer
            assert answer.endswith(b"over the limit of 1000 bytes")

    asyncio.run(scenario())


def test_a_million_chunks_are_refused_in_time() -> None:
    """A8."""

    async def scenario() -> None:
        async with serving(echo) as site, site.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"1\r\nx\r\n" * 1_000_000)
            async with asyncio.timeout(20):
                answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"over 32768 small chunks" in answer

    asyncio.run(scenario())


def test_a_body_nobody_read_does_not_become_the_next_request() -> None:
    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
            await client.ask(post + smuggled)
            await client.ask(GET)
            assert [record.target for record in site.records] == ["/", "/"]

    asyncio.run(scenario())


def test_an_error_before_the_head_is_told() -> None:
    async def busy(exchange: net.Exchange) -> None:
        raise RunnerError(Kind.BUSY, "no room")

    async def scenario() -> None:
        async with serving(busy) as site, site.client() as client:
            assert (await client.ask(GET))[::2] == (503, b"server_busy: no room")
            assert (await client.ask(GET))[0] == 503

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [True, False])
def test_a_bug_of_a_handler_is_a_500_with_the_request_id(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def buggy(exchange: net.Exchange) -> None:
        if fails:
            raise ZeroDivisionError

    async def scenario() -> None:
        async with serving(buggy) as site, site.client() as client:
            status, headers, body = await client.ask(GET)
            assert (status, body) == (500, b"internal_error: an internal error")
            assert headers.get("x-request-id", "?") in caplog.text
            assert ("ZeroDivisionError" in caplog.text) is fails
            [record] = caplog.records
            assert vars(record)["facts"] == {"request_id": headers.get("x-request-id")}

    asyncio.run(scenario())


def test_an_error_that_cannot_be_told_is_a_plain_500(caplog: pytest.LogCaptureFixture) -> None:
    async def busy(exchange: net.Exchange) -> None:
        raise RunnerError(Kind.BUSY, "no room")

    async def broken(exchange: net.Exchange, error: RunnerError) -> None:
        raise KeyError

    async def scenario() -> None:
        server = net.Server(busy, QUICK, on_error=broken)
        [(_, port)] = await server.listen_tcp("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert (await reader.readline()) == b"HTTP/1.1 500 Internal Server Error\r\n"
        writer.close()
        await server.drain(0.5)

    asyncio.run(scenario())
    assert "KeyError" in caplog.text


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_error_after_the_head_cuts_the_connection(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def crashes(exchange: net.Exchange) -> None:
        stream = await exchange.open_stream(200, [])
        await stream.send(b"some")
        await asyncio.sleep(0.02)
        raise RunnerError(Kind.ENGINE_CRASHED, "the engine crashed")

    async def scenario() -> None:
        async with serving(crashes) as site, site.client() as client:
            client.send(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
            answer = await client.rest()
            assert answer.endswith(b"some<reset>" if version == "1.0" else b"4\r\nsome\r\n")
            assert "the engine crashed" in caplog.text

    asyncio.run(scenario())


def test_a_malformed_body_is_answered_past_the_handler() -> None:
    async def scenario() -> None:
        async with serving(echo) as site, site.client() as client:
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            status, headers, _ = await client.ask(head + b"0x5\r\nhello\r\n")
            assert (status, headers.get("connection")) == (400, "close")

    asyncio.run(scenario())


def test_a_client_that_leaves_is_noticed_while_the_handler_works() -> None:
    noticed: list[bool] = []

    async def works(exchange: net.Exchange) -> None:
        assert not exchange.is_gone
        await exchange.wait_gone()
        noticed.append(exchange.is_gone)

    async def scenario() -> None:
        async with serving(works) as site:
            async with site.client() as client:
                client.send(GET)
                await asyncio.sleep(0.03)
            async with asyncio.timeout(10):
                while site.server.connections:
                    await asyncio.sleep(0.01)
            assert noticed == [True]

    asyncio.run(scenario())


def test_a_client_that_only_stops_sending_is_still_answered() -> None:
    """As with ``nc -N``: a handler that does not watch ``wait_gone`` answers as always."""

    async def late(exchange: net.Exchange) -> None:
        await exchange.wait_gone()
        await exchange.respond(200, [], b"late")

    async def scenario() -> None:
        async with serving(late) as site, site.client() as client:
            client.send(GET)
            client.writer.write_eof()
            assert (await client.rest()).endswith(b"\r\n\r\nlate")

    asyncio.run(scenario())


def test_to_send_to_a_client_that_has_left_is_an_error() -> None:
    kinds: list[Kind] = []

    async def talks(exchange: net.Exchange) -> None:
        stream = await exchange.open_stream(200, [])
        try:
            while True:
                await stream.send(b"x" * 1000)
                await asyncio.sleep(0.001)
        except RunnerError as error:
            kinds.append(error.kind)
            raise

    async def scenario() -> None:
        async with serving(talks) as site:
            async with site.client() as client:
                client.send(GET)
                await client.reader.readline()
            async with asyncio.timeout(10):
                while not kinds:
                    await asyncio.sleep(0.01)
            assert kinds == [Kind.CANCELLED]

    asyncio.run(scenario())


def test_a_client_that_leaves_before_its_answer_is_logged_as_499() -> None:
    async def never(exchange: net.Exchange) -> None:
        await exchange.wait_gone()
        await asyncio.sleep(0.01)
        raise RunnerError(Kind.CANCELLED, "the client left")

    async def scenario() -> None:
        async with serving(never) as site:
            async with site.client() as client:
                client.send(GET)
                await asyncio.sleep(0.02)
                client.writer.transport.abort()
            async with asyncio.timeout(10):
                while site.server.connections:
                    await asyncio.sleep(0.01)
            assert [record.status for record in site.records] == [499]

    asyncio.run(scenario())


def test_the_access_log_has_one_line_a_request_and_no_control_characters() -> None:
    """A16."""

    async def scenario() -> None:
        async with serving(hello) as site, site.client() as client:
            agent = 'evil\u202e\u2028 "x"'.encode()
            await client.ask(
                b'GET /a"b?c=\\n HTTP/1.1\r\nHost: a\r\nUser-Agent: ' + agent + b"\r\n\r\n"
            )
            [record] = site.records
            assert record._replace(duration_s=0, request_id="") == net.AccessRecord(
                peer=record.peer,
                method="GET",
                target='/a\\"b?c=\\\\n',
                status=200,
                body_bytes=5,
                duration_s=0,
                request_id="",
                user_agent='evilâ\\x80®â\\x80¨ \\"x\\"',
            )
            assert re.fullmatch(r"127\.0\.0\.1:\d+", record.peer)
            assert 0 <= record.duration_s < 1

    asyncio.run(scenario())


def test_a_tcp_client_on_loopback_is_local() -> None:
    async def tells(exchange: net.Exchange) -> None:
        await exchange.respond(200, [], f"{exchange.is_local} {exchange.peer}".encode())

    async def scenario() -> None:
        async with serving(tells) as site, site.client() as client:
            port = client.writer.get_extra_info("sockname")[1]
            assert (await client.ask(GET))[2] == f"True 127.0.0.1:{port}".encode()

    asyncio.run(scenario())


def test_handlers_of_two_connections_run_at_the_same_time() -> None:
    async def scenario() -> None:
        both = asyncio.Barrier(2)

        async def meets(exchange: net.Exchange) -> None:
            await both.wait()
            await exchange.respond(204, [])

        async with serving(meets) as site, site.client() as one, site.client() as two:
            answers = await asyncio.gather(one.ask(GET), two.ask(GET))
            assert [answer[0] for answer in answers] == [204, 204]

    asyncio.run(scenario())


def test_a_wrong_header_of_a_handler_is_its_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def splits(exchange: net.Exchange) -> None:
        await exchange.respond(200, [("A", "b\r\nC: d")])

    async def scenario() -> None:
        with caplog.at_level(logging.ERROR):
            async with serving(splits) as site, site.client() as client:
                assert (await client.ask(GET))[0] == 500

    asyncio.run(scenario())
    assert http.LocalProtocolError.__name__ in caplog.text
