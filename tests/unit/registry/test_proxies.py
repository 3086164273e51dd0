"""Which proxy is used, and what one does to requests (D16)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.registry.address import Origin
from runner.registry.network import Network, read_network
from runner.registry.proxies import Proxies, parse_direct, parse_proxy, shown
from runner.registry.registry import Registry
from tests.support.certificates import Pair, make_server_certificate
from tests.support.web import Reply, serve, tunnel_proxy
from tests.unit.registry.conftest import MakeTransport

PROXY = "http://proxy.corp:3128"


@pytest.mark.parametrize(
    ("direct", "url", "is_direct"),
    [
        ("", "https://a.example/", False),
        ("*", "https://a.example/", True),
        ("a.example", "https://a.example/", True),
        ("example", "https://a.example/", True),
        (".example", "https://a.example/", True),
        (".a.example", "https://a.example/", False),
        ("*.example", "https://a.example/", True),
        ("ample", "https://a.example/", False),
        ("A.Example", "https://a.example/", True),
        ("b.example, a.example", "https://a.example/", True),
        ("a.example:8443", "https://a.example/", False),
        ("a.example:8443", "https://a.example:8443/", True),
        ("a.example:443", "https://a.example/", True),
        ("10.0.0.0/8", "http://10.1.2.3:5000/", True),
        ("10.0.0.0/8", "http://11.1.2.3:5000/", False),
        ("10.0.0.0/8", "http://ten.example/", False),
        ("10.1.2.3", "http://10.1.2.3:5000/", True),
        ("10.1.2.3:80", "http://10.1.2.3:5000/", False),
        ("[fd00::1]:5000", "http://[fd00::1]:5000/", True),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("", "http://localhost:5000/", True),
        ("", "http://127.0.0.1:5000/", True),
        ("", "http://[::1]:5000/", True),
        ("nonsense/99", "http://10.1.2.3/", False),
    ],
)
def test_d16_no_proxy_takes_ports_domains_and_networks(
    direct: str, url: str, is_direct: bool
) -> None:
    proxies = Proxies(PROXY, PROXY, parse_direct(direct))
    assert proxies.choose(Origin.of(url)) == (None if is_direct else PROXY)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy:3128", "http://proxy:3128"),
        ("https://proxy", "https://proxy"),
        ("", None),
        ("socks5://proxy", None),
    ],
)
def test_a_proxy_may_be_written_without_its_scheme(text: str, proxy: str | None) -> None:
    assert parse_proxy(text) == proxy


def test_a_proxy_is_shown_without_its_password() -> None:
    assert shown("http://me:word@proxy:3128") == PROXY.replace(".corp", "")
    assert "word" not in repr(Proxies("http://me:word@proxy:3128"))


def test_variables_in_lower_case_come_first() -> None:
    network = read_network(
        {
            "http_proxy": "one:1",
            "HTTP_PROXY": "two:2",
            "NO_PROXY": "a.example",
            "all_proxy": "all:3",
        }
    )
    assert network.proxies == Proxies("http://one:1", "http://all:3", ("a.example",))


def test_dockers_config_names_a_proxy_where_the_environment_does_not(tmp_path: Path) -> None:
    folder = str(tmp_path)
    (tmp_path / "config.json").write_text(
        '{"proxies": {"default": {"httpsProxy": "http://p:1", "noProxy": "b.example"}}}'
    )
    assert read_network({"DOCKER_CONFIG": folder}).proxies == Proxies(
        None, "http://p:1", ("b.example",)
    )
    both = {"DOCKER_CONFIG": folder, "HTTPS_PROXY": "http://q:2"}
    assert read_network(both).proxies == Proxies(None, "http://q:2", ())


def test_plain_http_is_asked_of_the_proxy_with_its_login(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply(body=b"through")) as proxy:
        url = proxy.url.replace("http://", "http://me:word@")
        transport = make_transport(Network(proxies=Proxies(http=url), stall_s=5))
        with transport.open("GET", "http://registry.test/v2/") as answer:
            assert answer.read(10) == b"through"
    assert proxy.paths == ["http://registry.test/v2/"]
    assert proxy.seen[0].headers["Proxy-Authorization"] == "Basic bWU6d29yZA=="
    assert proxy.seen[0].headers["Authorization"] is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_d16_a_proxy_that_wants_a_login_is_named(
    make_transport: MakeTransport, scheme: str
) -> None:
    with serve(lambda _: Reply(407)) as proxy:
        network = Network(proxies=Proxies(proxy.url, proxy.url), stall_s=5)
        with (
            pytest.raises(RunnerError) as caught,
            make_transport(network).open("GET", f"{scheme}://registry.test/v2/"),
        ):
            pass
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert caught.value.details["cause"] == "proxy"
    assert f"the proxy {proxy.url} refused registry.test with 407" in caught.value.message
    assert "USER:PASSWORD" in (caught.value.hint or "")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_d16_a_proxy_that_is_away_is_named(make_transport: MakeTransport, scheme: str) -> None:
    with serve(lambda _: Reply()) as proxy:
        pass
    network = Network(proxies=Proxies(proxy.url, proxy.url), stall_s=5)
    with (
        pytest.raises(RunnerError) as caught,
        make_transport(network).open("GET", f"{scheme}://registry.test/v2/"),
    ):
        pass
    assert caught.value.details["cause"] == "proxy"
    assert proxy.url in caught.value.message


def test_d16_a_page_of_the_proxy_in_place_of_a_manifest_is_told(
    make_transport: MakeTransport,
) -> None:
    page = Reply(body=b"<html>pay first</html>", headers={"Content-Type": "text/html"})
    with serve(lambda _: page) as proxy:
        network = Network(
            proxies=Proxies(proxy.url), plain_registries=frozenset({"registry.test"}), stall_s=5
        )
        registry = Registry(network, make_transport(network))
        with pytest.raises(RunnerError) as caught:
            registry.resolve(Reference.parse("registry.test/ai/tiny:one"))
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert f"through the proxy {proxy.url} sent a page for people" in caught.value.message


@pytest.fixture
def tunnels() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    with tunnel_proxy(seen) as url:
        yield url, seen


def test_https_goes_through_a_tunnel_with_the_certificate_of_its_own_name(
    make_transport: MakeTransport,
    tunnels: tuple[str, list[str]],
    tmp_path: Path,
    authority: Pair,
) -> None:
    url, seen = tunnels
    pair = make_server_certificate(tmp_path, authority, subjects=["DNS:registry.test"])
    with serve(lambda _: Reply(body=b"inside"), pair=pair) as web:
        port = web.host.partition(":")[2]
        network = Network(proxies=Proxies(https=url), ca_file=authority.certificate, stall_s=5)
        transport = make_transport(network)
        with transport.open("GET", f"https://registry.test:{port}/") as answer:
            assert answer.read(10) == b"inside"
        with pytest.raises(RunnerError) as caught:
            transport.open("GET", f"https://other.test:{port}/").__enter__()
    assert "is for another name" in caught.value.message
    assert f"through the proxy {url}" in caught.value.message
    assert seen == [f"CONNECT {name}.test:{port} HTTP/1.1" for name in ("registry", "other")]
