"""Docker Hub's mirrors, and how the scheme of a registry is found."""

from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.registry.caller import Caller
from runner.registry.endpoint import Endpoints, schemes
from runner.registry.mirrors import Place, Places
from runner.registry.network import Network, read_network
from runner.registry.registry import Registry
from runner.registry.transport import ANYBODY
from tests.support.certificates import Pair
from tests.support.registries import RunningRegistry
from tests.support.web import Reply, Seen, serve
from tests.unit.registry.conftest import MakeTransport

NAME = Reference.parse("ai/tiny:one")
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = b'{"schemaVersion": 2}'


def manifest(_: Seen) -> Reply:
    return Reply(body=MANIFEST, headers={"Content-Type": MEDIA_TYPE})


def registry_with(make_transport: MakeTransport, *mirrors: str) -> Registry:
    network = Network(mirrors=mirrors, stall_s=5)
    return Registry(network, make_transport(network))


def test_a_mirror_is_asked_below_its_path(make_transport: MakeTransport) -> None:
    with serve(manifest) as mirror:
        registry = registry_with(make_transport, f"{mirror.url}/prefix")
        assert registry.resolve(NAME).raw == MANIFEST
    assert mirror.paths == ["/prefix/v2/ai/tiny/manifests/one"]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_mirror_that_cannot_is_passed_over(make_transport: MakeTransport, status: int) -> None:
    told: list[str] = []
    with serve(lambda _: Reply(status)) as broken, serve(manifest) as mirror:
        registry = registry_with(make_transport, broken.url, mirror.url)
        registry = registry.on_behalf(Caller(tell=told.append))
        assert registry.resolve(NAME).raw == MANIFEST
    assert f"the mirror {broken.host} was passed over" in told[-1]


def test_a_mirror_that_is_away_is_left_alone_for_a_while() -> None:
    now = [0.0]
    places = Places(_Endpoints(), ("https://a.example", "https://b.example"), clock=lambda: now[0])  # type: ignore[arg-type]
    first, second, hub = (Place("a.example", "https://a.example", True),
                          Place("b.example", "https://b.example", True),
                          Place("docker.io", "https://hub"))  # fmt: skip
    assert list(places.all_of("docker.io", ANYBODY)) == [first, second, hub]
    places.rest(first)
    assert list(places.all_of("docker.io", ANYBODY)) == [second, hub]
    now[0] = 301.0
    assert list(places.all_of("docker.io", ANYBODY)) == [first, second, hub]


def test_mirrors_are_docker_hubs_only() -> None:
    places = Places(_Endpoints(), ("https://a.example",))  # type: ignore[arg-type]
    assert list(places.all_of("ghcr.io", ANYBODY)) == [Place("ghcr.io", "https://hub")]


def test_a_default_registry_stands_in_the_hub_s_place_without_its_mirrors() -> None:
    places = Places(_Endpoints(), ("https://a.example",), default_registry="r.example:5000")  # type: ignore[arg-type]
    assert list(places.all_of("docker.io", ANYBODY)) == [Place("r.example:5000", "https://hub")]
    assert list(places.all_of("ghcr.io", ANYBODY)) == [Place("ghcr.io", "https://hub")]


class _Endpoints:
    def base_url(self, host: str, caller: Caller) -> str:
        return "https://hub"


def test_damage_is_not_passed_over(make_transport: MakeTransport) -> None:
    wrong = Reply(body=b"{}", headers={"Docker-Content-Digest": "sha256:" + "a" * 64})
    with serve(lambda _: wrong) as broken, pytest.raises(RunnerError) as caught:
        registry_with(make_transport, broken.url).resolve(NAME)
    assert caught.value.kind is Kind.INTEGRITY


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example.com", ("https",)),
        ("10.0.0.1:5000", ("https",)),
        ("localhost:5000", ("http", "https")),
        ("127.0.0.1:5000", ("http", "https")),
        ("[::1]:5000", ("http", "https")),
        ("registry.local:5000", ("https", "http")),
        ("insecure.example", ("https", "http")),
        ("plain.example:5000", ("http",)),
    ],
)
def test_plain_http_is_for_this_machine_and_where_it_was_allowed(
    host: str, expected: tuple[str, ...]
) -> None:
    network = read_network(
        {"RUNNER_INSECURE_REGISTRIES": "insecure.example, http://plain.example:5000/"}
    )
    assert schemes(network, host) == expected


def test_docker_hub_is_at_its_own_host(make_transport: MakeTransport) -> None:
    url = Endpoints(make_transport()).base_url("docker.io", ANYBODY)
    assert url == "https://registry-1.docker.io"


def test_a_tls_registry_of_this_machine_is_found(
    make_transport: MakeTransport, tls_registry: RunningRegistry
) -> None:
    transport = make_transport(Network(ca_file=tls_registry.authority))
    assert Endpoints(transport).base_url(tls_registry.host, ANYBODY) == tls_registry.url


def test_an_insecure_registry_without_tls_is_spoken_to_in_the_clear(
    make_transport: MakeTransport, open_registry: RunningRegistry
) -> None:
    host = f"registry.test:{open_registry.port}"
    network = read_network({"INSECURE_REGISTRY": host})
    assert Endpoints(make_transport(network)).base_url(host, ANYBODY) == f"http://{host}"


def test_a_certificate_that_is_refused_is_no_reason_for_plain_http(
    make_transport: MakeTransport, server: Pair
) -> None:
    with serve(lambda _: Reply(), pair=server) as web, pytest.raises(RunnerError) as caught:
        host = f"registry.local:{web.host.partition(':')[2]}"
        Endpoints(make_transport()).base_url(host, ANYBODY)
    assert caught.value.details["cause"] == "tls"
    assert web.seen == []


def test_what_was_found_is_remembered(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply()) as web:
        endpoints = Endpoints(make_transport())
        for _ in range(3):
            assert endpoints.base_url(web.host, ANYBODY) == web.url
    assert web.paths == ["/v2/"]
