"""Files that clients name by URL: case B14 of demands-security.md, with servers of loopback.

Names are resolved by the tests: ``photos.example`` is a server of loopback that counts as public.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from runner.errors import Kind, RunnerError
from runner.registry.connection import resolve
from runner.registry.network import Network
from runner.registry.proxies import Proxies
from runner.registry.remote_files import MAX_BYTES, RemoteFiles
from tests.support.certificates import Pair
from tests.support.web import Reply, Web, redirect, serve

NEAR = [
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "::1",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
]


class Names:
    """A resolver that answers as it is told, and remembers what it was asked."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self.asked: list[str] = []

    def __call__(self, host: str, _: int) -> Sequence[str]:
        self.asked.append(host)
        name = host.removesuffix(".example")
        if name not in self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self._addresses[name]


def port_of(web: Web) -> int:
    port = urlsplit(web.url).port
    assert port is not None
    return port


def photos(web: Web, path: str = "/cat.png") -> str:
    return f"{urlsplit(web.url).scheme}://photos.example:{port_of(web)}{path}"


def files(
    web: Web, *, network: Network | None = None, total_s: float = 10.0, **names: Sequence[str]
) -> RemoteFiles:
    """Make them, with a public ``photos.example``."""
    lookup = Names(photos=["127.0.0.1"], **names)
    trusted = frozenset({f"photos.example:{port_of(web)}"})
    return RemoteFiles(network or Network(), lookup=lookup, trusted=trusted, total_s=total_s)


def refusal(remote: RemoteFiles, url: str) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        remote.fetch(url)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


def test_a_file_is_fetched_and_tells_nothing_of_us() -> None:
    network = Network(hf_token="secret", docker_hub_login=("me", "secret"))
    with serve(lambda _: Reply(body=b"\x89PNG")) as web:
        assert files(web, network=network).fetch(photos(web)) == b"\x89PNG"
    [seen] = web.seen
    assert (seen.method, seen.path) == ("GET", "/cat.png")
    sent = {name.lower() for name in seen.headers}
    assert sent == {"host", "user-agent", "accept", "accept-encoding"}


def test_redirects_are_followed_three_times() -> None:
    def play(number: int) -> Reply:
        return redirect(f"/{number - 1}") if number else Reply(body=b"GIF8")

    with serve(lambda seen: play(int(seen.path[1:]))) as web:
        assert files(web).fetch(photos(web, "/3")) == b"GIF8"
        assert "redirects more than 3 times" in refusal(files(web), photos(web, "/4")).message


@pytest.mark.parametrize("address", NEAR)
def test_b14_no_address_nearby_is_connected_to(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    names = Names(rebound=["203.0.113.1", address])
    remote = RemoteFiles(Network(), lookup=names)
    # `only_loopback` of the tests would raise AssertionError if it were tried.
    with serve(lambda _: Reply(body=b"secret")) as web:
        for named in (host, "rebound.example"):
            error = refusal(remote, f"http://{named}:{port_of(web)}/latest/meta-data")
            assert "refused to be sent to" in error.message
            assert error.hint is None
    assert web.connections == 0


@pytest.mark.parametrize("target", [*NEAR[:3], "localhost", "rebound.example"])
def test_b14_no_redirect_leads_nearby(target: str) -> None:
    with (
        serve(lambda _: Reply(body=b"secret")) as inside,
        serve(lambda _: redirect(f"http://{target}:{port_of(inside)}/")) as web,
    ):
        error = refusal(files(web, rebound=["127.0.0.1"]), photos(web))
    assert "refused to be sent to" in error.message
    assert inside.connections == 0


def test_b14_a_name_that_changes_its_mind_is_looked_up_once() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with serve(lambda _: Reply(body=b"BM")) as web:
        remote = RemoteFiles(
            Network(),
            lookup=lambda *_: next(answers),
            trusted=frozenset({f"photos.example:{port_of(web)}"}),
        )
        assert remote.fetch(photos(web)) == b"BM"
    assert next(answers) == ["10.0.0.1"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://photos.example/",
        "http:\\\\evil",
        "http://user:word@photos.example/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://photos.example:99999/",
        "http://",
        "http://a b/",
        "http://gr\u00fcn.example/",
    ],
)
def test_b14_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    names = Names()
    assert "the URL is refused" in refusal(RemoteFiles(Network(), lookup=names), url).message
    assert names.asked == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "."])
def test_what_is_no_name_has_no_address(host: str) -> None:
    refusal(RemoteFiles(Network(), lookup=resolve), f"http://{host}/")


def test_b14_a_file_is_bounded() -> None:
    with serve(lambda _: Reply(body=bytes(MAX_BYTES + 1))) as web:
        assert "more than 10485760 bytes" in refusal(files(web), photos(web)).message
    with serve(lambda _: Reply(body=bytes(1000), headers={"Content-Encoding": "gzip"})) as web:
        assert "in the encoding" in refusal(files(web), photos(web)).message


@pytest.mark.parametrize(
    "reply", [Reply(body=bytes(9), silent=True), Reply(body=bytes(2000), drip_s=0.01)]
)
def test_b14_a_server_that_takes_its_time_is_left(reply: Reply) -> None:
    with serve(lambda _: reply) as web:
        error = refusal(files(web, total_s=0.3), photos(web))
    assert error.message == "the file took longer than 0.3 s"


def test_b14_a_server_that_drips_over_tls_is_left(server: Pair, authority: Pair) -> None:
    network = Network(ca_file=authority.certificate)
    reply = Reply(body=bytes(100), drip_s=0.05)
    with serve(lambda _: reply, pair=server) as web:
        url, trusted = f"{web.url}/", frozenset({web.host})
        remote = RemoteFiles(network, trusted=trusted, total_s=0.5)
        assert refusal(remote, url).message == "the file took longer than 0.5 s"


@pytest.mark.parametrize("status", [204, 401, 404, 500, 503])
def test_another_answer_than_the_file_is_told(status: int) -> None:
    with serve(lambda _: Reply(status, headers={"Content-Length": ""})) as web:
        error = refusal(files(web), photos(web))
        assert error.message == f"photos.example:{port_of(web)} answered {status}"
    assert len(web.seen) == 1  # nothing is tried again


def test_what_was_allowed_for_registries_is_not_allowed_here(server: Pair) -> None:
    with serve(lambda _: Reply(body=b"BM"), pair=server) as web:
        network = Network(
            trusted_hosts=frozenset({web.host, "127.0.0.1"}),
            insecure_registries=frozenset({web.host, f"photos.example:{port_of(web)}"}),
        )
        assert "refused to be sent" in refusal(RemoteFiles(network), f"{web.url}/").message
        assert "certificate" in refusal(files(web, network=network), photos(web)).message
    assert web.seen == []


def test_no_proxy_looks_names_up_for_us() -> None:
    with serve(lambda _: Reply(body=b"secret")) as proxy:
        network = Network(proxies=Proxies(http=proxy.url, https=proxy.url))
        remote = RemoteFiles(network, lookup=Names(rebound=["10.0.0.1"]))
        assert "refused to be sent to" in refusal(remote, "http://rebound.example/").message
    assert proxy.connections == 0


def test_offline_means_no_lookup() -> None:
    names = Names(photos=["127.0.0.1"])
    remote = RemoteFiles(Network(is_offline=True), lookup=names)
    assert "this daemon is offline" in refusal(remote, "http://photos.example/").message
    assert names.asked == []
