"""Redirects, waits and time limits of requests, against servers that misbehave (D6, D8, D10)."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable

import pytest

from runner.errors import Kind, RunnerError
from runner.registry.address import Origin
from runner.registry.caller import Caller
from runner.registry.network import Network
from runner.registry.request import Authorization
from runner.registry.transport import Transport
from tests.support.certificates import Pair
from tests.support.web import Reply, Seen, redirect, serve
from tests.unit.registry.conftest import MakeTransport

Play = Callable[[Seen], Reply]


def failure(transport: Transport, url: str, **options: object) -> RunnerError:
    """Return the error of a GET."""
    with (
        pytest.raises(RunnerError) as caught,
        transport.open("GET", url, **options) as answer,  # type: ignore[arg-type]
    ):
        answer.read(1024)
    return caught.value


def status(transport: Transport, url: str, method: str = "GET", **options: object) -> int:
    with transport.open(method, url, **options) as answer:  # type: ignore[arg-type]
        return answer.status


def test_a_request_says_who_asks_and_wants_plain_bytes(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply(body=b"yes")) as web:
        with make_transport().open("GET", f"{web.url}/x", headers={"Accept": "a/b"}) as answer:
            assert (answer.status, answer.read(10)) == (200, b"yes")
        headers = web.seen[0].headers
    assert headers["User-Agent"].startswith("runner/")
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Accept"] == "a/b"
    assert headers["Cookie"] is None


def test_cookies_are_not_kept(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply(headers={"Set-Cookie": "a=b"})) as web:
        transport = make_transport()
        for _ in range(2):
            status(transport, web.url + "/")
    assert web.seen[1].headers["Cookie"] is None


# --- D6: redirects ---


def test_d6_a_chain_of_20_redirects_ends_after_10(make_transport: MakeTransport) -> None:
    with serve(lambda seen: redirect(f"/{int(seen.path[1:]) + 1}")) as web:
        error = failure(make_transport(), f"{web.url}/0")
    assert error.kind is Kind.REGISTRY_UNAVAILABLE
    assert "redirects more than 10 times" in error.message
    assert len(web.seen) == 11


def test_d6_a_redirect_to_plain_http_is_refused(
    make_transport: MakeTransport, server: Pair, authority: Pair
) -> None:
    with (
        serve(lambda _: Reply()) as plain,
        serve(lambda _: redirect(f"{plain.url}/x"), pair=server) as web,
    ):
        transport = make_transport(Network(ca_file=authority.certificate, stall_s=5))
        error = failure(transport, web.url + "/")
    assert "from https to plain http" in error.message
    assert plain.seen == []


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
    ],
)
def test_d6_a_redirect_to_metadata_is_refused_before_a_connection(
    make_transport: MakeTransport, target: str
) -> None:
    # `only_loopback` of the tests would raise AssertionError if it were tried.
    with serve(lambda _: redirect(target)) as web:
        error = failure(make_transport(), web.url + "/")
    assert "refused to be sent to" in error.message
    assert "RUNNER_TRUSTED_HOSTS=" in (error.hint or "")


def test_d6_a_name_that_means_a_nearer_address_is_refused_before_a_connection() -> None:
    addresses = {"127.0.0.1": ["127.0.0.1"], "rebound.example": ["203.0.113.1", "169.254.169.254"]}
    with serve(lambda _: redirect("http://rebound.example/")) as web:
        transport = Transport(Network(stall_s=5), lookup=lambda host, _: addresses[host])
        error = failure(transport, web.url + "/")
        transport.close()
    assert "refused to be sent to rebound.example" in error.message


def test_d6_a_proof_stays_with_its_own_origin(make_transport: MakeTransport) -> None:
    with (
        serve(lambda _: Reply()) as elsewhere,
        serve(lambda seen: redirect("/two" if seen.path == "/one" else elsewhere.url)) as web,
    ):
        auth = Authorization(Origin.of(web.url), "Bearer secret")
        assert status(make_transport(), f"{web.url}/one", auth=auth) == 200
    assert [seen.headers["Authorization"] for seen in web.seen] == ["Bearer secret"] * 2
    assert [seen.headers["Authorization"] for seen in elsewhere.seen] == [None]


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.com/",
        "http://user:word@example.com/",
        "http:\\\\example.com\\",
        "http://exa mple.com/",
        "file:///etc/passwd",
    ],
)
def test_d6_a_redirect_that_two_parsers_could_read_differently_is_refused(
    make_transport: MakeTransport, location: str
) -> None:
    with serve(lambda _: redirect(location)) as web:
        error = failure(make_transport(), web.url + "/")
    assert "redirects to a place that is refused" in error.message


def test_an_upload_that_is_made_while_it_is_sent_is_not_redirected(
    make_transport: MakeTransport,
) -> None:
    class Pieces:
        def __len__(self) -> int:
            return 4

        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"ab"
            yield b"cd"

    with serve(lambda seen: redirect("/b") if seen.path == "/a" else Reply()) as web:
        with pytest.raises(RunnerError):
            status(make_transport(), f"{web.url}/a", "PUT", body=Pieces())
        assert status(make_transport(), f"{web.url}/b", "PUT", body=Pieces()) == 200
    assert [seen.body for seen in web.seen] == [b"abcd", b"abcd"]


# --- D8: statuses that pass, and waits ---


def in_turn(*replies: Reply) -> Play:
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_d8_500_is_asked_again_five_times_with_growing_delays(
    make_transport: MakeTransport, waits: list[float]
) -> None:
    with serve(lambda _: Reply(500)) as web:
        assert status(make_transport(), web.url + "/") == 500
    assert len(web.seen) == 5
    assert sum(waits) == pytest.approx(0.5 + 1 + 2 + 4)


def test_d8_503_that_passes_is_not_seen(make_transport: MakeTransport) -> None:
    told: list[str] = []
    with serve(in_turn(Reply(503), Reply(200))) as web:
        assert status(make_transport(), web.url + "/", caller=Caller(tell=told.append)) == 200
    assert told == [f"{web.host} answered 503; trying again in 0.5 s (attempt 2 of 5)"]


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_d8_a_refusal_is_not_asked_again(make_transport: MakeTransport, code: int) -> None:
    with serve(lambda _: Reply(code)) as web:
        assert status(make_transport(), web.url + "/") == code
    assert len(web.seen) == 1


def test_d8_429_waits_as_many_seconds_as_it_is_told(
    make_transport: MakeTransport, waits: list[float]
) -> None:
    told: list[str] = []
    with serve(in_turn(Reply(429, headers={"Retry-After": "7"}), Reply())) as web:
        assert status(make_transport(), web.url + "/", caller=Caller(tell=told.append)) == 200
    assert sum(waits) == pytest.approx(7)
    assert "trying again in 7.0 s as it asks" in told[0]


def test_d8_429_waits_until_the_date_it_is_told(
    make_transport: MakeTransport, waits: list[float]
) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    with serve(in_turn(Reply(429, headers={"Retry-After": date}), Reply())) as web:
        assert status(make_transport(), web.url + "/") == 200
    assert 30 < sum(waits) <= 60


def test_d8_429_with_a_huge_wait_is_told_at_once(
    make_transport: MakeTransport, waits: list[float]
) -> None:
    with serve(lambda _: Reply(429, headers={"Retry-After": "999999"})) as web:
        assert status(make_transport(), web.url + "/") == 429
    assert (len(web.seen), waits) == (1, [])


def test_d8_what_was_refused_as_one_too_many_is_sent_again(make_transport: MakeTransport) -> None:
    with serve(in_turn(Reply(429), Reply(201))) as web:
        assert status(make_transport(), web.url + "/", "POST", body=b"x") == 201
    with serve(in_turn(Reply(500), Reply(201))) as web:  # this one may have had an effect
        assert status(make_transport(), web.url + "/", "POST", body=b"x") == 500


def test_a_wait_ends_when_the_caller_is_told_to_stop(
    make_transport: MakeTransport, waits: list[float]
) -> None:
    with serve(lambda _: Reply(429, headers={"Retry-After": "100"})) as web:
        caller = Caller(is_cancelled=lambda: len(waits) == 3)
        assert failure(make_transport(), web.url + "/", caller=caller).kind is Kind.CANCELLED
    assert sum(waits) < 1


# --- bodies ---


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "gzip, gzip"])
def test_d10_a_body_in_an_encoding_is_refused(make_transport: MakeTransport, encoding: str) -> None:
    with serve(lambda _: Reply(headers={"Content-Encoding": encoding})) as web:
        error = failure(make_transport(), web.url + "/")
    assert error.kind is Kind.REGISTRY_UNAVAILABLE
    assert "encoding" in error.message


def test_a_body_larger_than_its_bound_is_not_read(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply(body=bytes(100_000))) as web:
        error = failure(make_transport(), web.url + "/")
    assert "more than 1024 bytes" in error.message


CHUNKED = {"Transfer-Encoding": "chunked", "Content-Length": ""}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=bytes(1000), sent=500),
        Reply(body=b"5\r\nhel", headers=CHUNKED, sent=6),
        Reply(body=b"5\r\nhello\r\n", headers=CHUNKED, sent=10),
        Reply(body=b"junk\r\n", headers=CHUNKED, sent=6),
    ],
)
def test_a_body_that_ends_early_is_a_break(make_transport: MakeTransport, reply: Reply) -> None:
    with serve(lambda _: reply) as web:
        error = failure(make_transport(), web.url + "/")
    assert error.details["cause"] == "broken"


def test_a_body_in_chunks_is_read(make_transport: MakeTransport) -> None:
    reply = Reply(body=b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", headers=CHUNKED)
    with serve(lambda _: reply) as web, make_transport().open("GET", web.url + "/") as answer:
        assert (answer.size_bytes, answer.read(10)) == (None, b"hello!")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=bytes(700_000)),
        Reply(),
        Reply(204, headers={"Content-Length": ""}),
        Reply(body=b"1\r\n!\r\n0\r\n\r\n", headers=CHUNKED),
    ],
)
def test_a_connection_is_kept_for_the_next_request(
    make_transport: MakeTransport, reply: Reply
) -> None:
    with serve(lambda _: reply) as web:
        transport = make_transport()
        for _ in range(3):
            with transport.open("GET", web.url + "/") as answer:
                answer.read(1_000_000)
    assert (len(web.seen), web.connections) == (3, 1)


def test_what_came_before_a_break_is_handed_on(make_transport: MakeTransport) -> None:
    got = b""
    with (
        serve(lambda _: Reply(body=b"a" * 1000, sent=500)) as web,
        pytest.raises(RunnerError),
        make_transport().open("GET", web.url + "/") as answer,
    ):
        for chunk in answer.chunks():
            got += chunk
    assert got == b"a" * 500


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(body=bytes(9), sent=4, stall=True)])
def test_a_stall_before_or_after_the_first_byte_is_told(
    make_transport: MakeTransport, reply: Reply
) -> None:
    with serve(lambda _: reply) as web:
        transport = make_transport(Network(stall_s=0.2))
        error = failure(transport, web.url + "/")
        web.ended.set()
    assert error.details["cause"] == "stall"
    assert "sent nothing for 0.2 s" in error.message


def test_a_server_that_drips_is_stalled_too(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply(body=bytes(1000), drip_s=0.03)) as web:
        transport = make_transport(Network(stall_s=0.2))
        error = failure(transport, web.url + "/")
    assert error.details["cause"] == "stall"


def test_a_proof_among_the_headers_is_not_sent(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply()) as web:
        proofs = {"authorization": "Bearer secret", "Cookie": "secret", "X-Other": "sent"}
        status(make_transport(), web.url + "/", headers=proofs)
    headers = web.seen[0].headers
    assert (headers["Authorization"], headers["Cookie"]) == (None, None)
    assert headers["X-Other"] == "sent"


def test_connections_are_kept_for_a_bounded_number_of_servers(
    make_transport: MakeTransport,
) -> None:
    with serve(lambda _: Reply(body=b"x")) as web:
        transport, port = make_transport(), web.host.partition(":")[2]
        for number in range(70):
            with transport.open("GET", f"http://host{number}.test:{port}/") as answer:
                assert answer.read(1) == b"x"
        assert len(transport._adapters._kept) == 64


def test_nothing_is_asked_while_offline(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply()) as web:
        error = failure(make_transport(Network(is_offline=True)), web.url + "/")
    assert error.details["cause"] == "offline"
    assert web.seen == []


def test_a_server_that_is_away_is_told_with_its_address(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply()) as web:
        pass
    error = failure(make_transport(), web.url + "/")
    assert error.details["cause"] == "connect"
    assert error.message.startswith(f"{web.host} refused the connection")


def test_a_name_without_an_address_is_told() -> None:
    transport = Transport(Network(), sleep=lambda _: None)
    error = failure(transport, "http://no-such-name.invalid/")
    assert error.details["cause"] == "dns"
    assert "no-such-name.invalid" in error.message
