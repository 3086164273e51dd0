"""What the doctor says of registries that are well, and of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.oci import Reference
from runner.registry.doctor import Diagnosis, Verdict, diagnose, diagnose_registry, diagnose_url
from runner.registry.network import Network
from runner.registry.proxies import Proxies
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from tests.support.registries import RunningRegistry
from tests.support.web import Reply, serve
from tests.unit.registry.conftest import MakeTransport

NAMES = ["settings", "proxy", "dns", "tcp", "tls", "http", "login", "manifest", "blob"]


def examine(make_transport: MakeTransport, host: str, network: Network) -> Diagnosis:
    registry = Registry(network, make_transport(network))
    found = diagnose(registry, Reference.parse(f"{host}/ai/tiny:one"))
    assert [step.name for step in found.steps] == NAMES
    return found


def failed(found: Diagnosis) -> str:
    """Return the step that failed, all before it having passed and all after it being skipped."""
    verdicts = [step.verdict for step in found.steps]
    at = verdicts.index(Verdict.FAILED)
    assert verdicts[:at] == [Verdict.PASSED] * at
    assert verdicts[at + 1 :] == [Verdict.SKIPPED] * (len(verdicts) - at - 1)
    assert not found.is_healthy
    return found.steps[at].name


def test_all_is_well(make_transport: MakeTransport, open_registry: RunningRegistry) -> None:
    open_registry.seed("ai/tiny", "one", [bytes(5000)])
    found = examine(make_transport, open_registry.host, Network())
    assert found.is_healthy
    assert found.hosts == (open_registry.host,)
    details = {step.name: step.detail for step in found.steps}
    assert details["dns"] == "127.0.0.1 is 127.0.0.1"
    assert details["tls"] == "none: plain HTTP"
    assert details["login"] == "open to anybody"
    assert details["blob"] == f"1024 bytes from {open_registry.host}, which sends it in parts"


def test_the_token_server_is_among_the_hosts(
    make_transport: MakeTransport, token_registry: RunningRegistry
) -> None:
    token_registry.seed("ai/tiny", "one", [bytes(5000)])
    found = examine(make_transport, token_registry.host, Network())
    assert found.is_healthy
    assert token_registry.tokens is not None
    token_host = token_registry.tokens.url.removeprefix("http://").removesuffix("/token")
    assert found.hosts == (token_registry.host, token_host)


def test_authorities_are_named(
    make_transport: MakeTransport, tls_registry: RunningRegistry
) -> None:
    tls_registry.seed("ai/tiny", "one", [b"x"])
    network = Network(ca_file=tls_registry.authority)
    found = examine(make_transport, tls_registry.host, network)
    assert found.is_healthy
    assert found.steps[4].detail == f"verified by {tls_registry.authority}"


def test_a_login_that_is_wanted_is_told(
    make_transport: MakeTransport, basic_registry: RunningRegistry
) -> None:
    found = examine(make_transport, basic_registry.host, Network())
    assert failed(found) == "login"
    assert f"runner login {basic_registry.host}" in (found.steps[6].remedy or "")


def test_an_unknown_model_is_told(
    make_transport: MakeTransport, open_registry: RunningRegistry
) -> None:
    assert failed(examine(make_transport, open_registry.host, Network())) == "manifest"


@pytest.mark.parametrize(
    ("network", "step"),
    [
        (Network(is_offline=True), "settings"),
        (Network(ca_file=Path("/nowhere.pem")), "settings"),
        (Network(proxies=Proxies(https="http://127.0.0.1:1")), "proxy"),
    ],
)
def test_settings_that_are_in_the_way_are_told(
    make_transport: MakeTransport, network: Network, step: str
) -> None:
    assert failed(examine(make_transport, "registry.test", network)) == step


def test_a_name_without_an_address_is_told() -> None:
    network = Network()
    registry = Registry(network, Transport(network))
    found = diagnose(registry, Reference.parse("no-such-name.invalid/ai/tiny"))
    assert failed(found) == "dns"


def test_a_registry_that_is_away_is_told(
    make_transport: MakeTransport, open_registry: RunningRegistry
) -> None:
    open_registry.stop()
    assert failed(examine(make_transport, open_registry.host, Network())) == "tcp"


def test_a_certificate_that_is_refused_is_told(
    make_transport: MakeTransport, tls_registry: RunningRegistry
) -> None:
    assert failed(examine(make_transport, tls_registry.host, Network())) == "tls"


def test_a_registry_is_reached_whatever_models_it_has(
    make_transport: MakeTransport, basic_registry: RunningRegistry
) -> None:
    network = Network()
    found = diagnose_registry(Registry(network, make_transport(network)), basic_registry.host)
    assert (found.target, found.hosts) == (basic_registry.host, (basic_registry.host,))
    assert [step.name for step in found.steps] == NAMES[:7]
    assert failed(found) == "login"


def test_a_hub_is_reached(make_transport: MakeTransport) -> None:
    with serve(lambda _: Reply(body=b"hello")) as web:
        found = diagnose_url(make_transport(), web.url + "/")
    assert found.is_healthy
    assert [step.name for step in found.steps] == NAMES[:6]
    assert found.hosts == (web.host,)
