"""Certificates that must not be believed, and how one is made to be (D14)."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.registry.network import Network, read_network
from runner.registry.registry import Registry
from tests.support.certificates import Pair, make_authority, make_server_certificate
from tests.support.registries import RunningRegistry
from tests.support.web import Reply, serve
from tests.unit.registry.conftest import MakeTransport


def failure(make_transport: MakeTransport, network: Network, pair: Pair) -> RunnerError:
    with (
        serve(lambda _: Reply(), pair=pair) as web,
        pytest.raises(RunnerError) as caught,
        make_transport(network).open("GET", web.url + "/"),
    ):
        pass
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert caught.value.details["cause"] == "tls"
    assert web.seen == []  # not a byte of a request before the certificate is believed
    return caught.value


@pytest.mark.parametrize(
    ("valid", "problem"),
    [
        (("20200101000000Z", "20210101000000Z"), "has expired"),
        (("20910101000000Z", "20920101000000Z"), "is not valid yet"),
    ],
)
def test_d14_a_certificate_of_another_time_names_our_clock(
    make_transport: MakeTransport,
    tmp_path: Path,
    authority: Pair,
    valid: tuple[str, str],
    problem: str,
) -> None:
    pair = make_server_certificate(tmp_path, authority, valid=valid)
    error = failure(make_transport, Network(ca_file=authority.certificate), pair)
    assert problem in error.message
    assert "your clock says 2" in (error.hint or "")


def test_d14_a_certificate_for_another_name_is_told(
    make_transport: MakeTransport, tmp_path: Path, authority: Pair
) -> None:
    pair = make_server_certificate(tmp_path, authority, subjects=["DNS:other.example"])
    error = failure(make_transport, Network(ca_file=authority.certificate), pair)
    assert "is for another name" in error.message


def test_d14_a_self_signed_certificate_is_told(
    make_transport: MakeTransport, tmp_path: Path
) -> None:
    error = failure(make_transport, Network(), make_authority(tmp_path, "itself"))
    assert "authority that is not trusted here" in error.message


def test_d14_an_unknown_authority_is_told_with_both_ways_out(
    make_transport: MakeTransport, server: Pair
) -> None:
    error = failure(make_transport, Network(), server)
    assert "authority that is not trusted here" in error.message
    assert "certs.d" in (error.hint or "")
    assert "SSL_CERT_FILE" in (error.hint or "")


def test_d14_insecure_is_for_one_registry_only(make_transport: MakeTransport, server: Pair) -> None:
    with serve(lambda _: Reply(), pair=server) as one, serve(lambda _: Reply(), pair=server) as two:
        network = read_network({"RUNNER_INSECURE_REGISTRIES": one.host})
        transport = make_transport(network)
        with transport.open("GET", one.url + "/") as answer:
            assert answer.status == 200
        with pytest.raises(RunnerError), transport.open("GET", two.url + "/"):
            pass
    assert two.seen == []


def test_the_switch_of_docker_model_runner_opens_only_the_default_registry() -> None:
    both = {"INSECURE_REGISTRY": "true", "DEFAULT_REGISTRY": "registry.local:5000"}
    assert read_network(both).insecure_registries == {"registry.local:5000"}
    assert read_network({"INSECURE_REGISTRY": "true"}).insecure_registries == frozenset()


def test_certs_d_of_a_host_is_trusted(
    make_transport: MakeTransport, tls_registry: RunningRegistry, tmp_path: Path
) -> None:
    raw = tls_registry.seed("ai/tiny", "one", [b"layer"])
    folder = tmp_path / "docker" / "certs.d" / tls_registry.host
    folder.mkdir(parents=True)
    assert tls_registry.authority is not None
    (folder / "ca.crt").write_bytes(tls_registry.authority.read_bytes())
    network = read_network({"DOCKER_CONFIG": str(tmp_path / "docker")})
    registry = Registry(network, make_transport(network))
    found = registry.resolve(Reference.parse(f"{tls_registry.host}/ai/tiny:one"))
    assert found.raw == raw


def test_certs_d_is_believed_without_another_start(
    make_transport: MakeTransport, tls_registry: RunningRegistry, tmp_path: Path
) -> None:
    raw = tls_registry.seed("ai/tiny", "one", [b"layer"])
    network = Network(certs_folders=(tmp_path / "certs.d",))
    registry = Registry(network, make_transport(network))
    reference = Reference.parse(f"{tls_registry.host}/ai/tiny:one")
    with pytest.raises(RunnerError, match="not trusted"):
        registry.resolve(reference)
    folder = tmp_path / "certs.d" / tls_registry.host
    folder.mkdir(parents=True)
    assert tls_registry.authority is not None
    (folder / "ca.crt").write_bytes(tls_registry.authority.read_bytes())
    assert registry.resolve(reference).raw == raw


def test_certs_d_of_a_host_says_who_we_are(
    make_transport: MakeTransport, server: Pair, authority: Pair, tmp_path: Path
) -> None:
    me = make_server_certificate(tmp_path, authority, name="me", subjects=["DNS:me.test"])
    with serve(lambda _: Reply(), pair=server, clients=authority) as web:
        folder = tmp_path / "certs.d" / web.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
        network = Network(certs_folders=(tmp_path / "certs.d",), stall_s=5)
        with pytest.raises(RunnerError), make_transport(network).open("GET", web.url + "/"):
            pass  # nobody in particular
        (folder / "client.cert").write_bytes(me.certificate.read_bytes())
        (folder / "client.key").write_bytes(me.key.read_bytes())
        with make_transport(network).open("GET", web.url + "/") as answer:
            assert answer.status == 200


def test_a_certificate_file_that_cannot_be_read_is_named(
    make_transport: MakeTransport, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    transport = make_transport(Network(ca_file=tmp_path / "ca.pem"))
    with pytest.raises(RunnerError) as caught, transport.open("GET", "https://a.example/"):
        pass
    assert caught.value.details["cause"] == "trust"
    assert str(tmp_path / "ca.pem") in caught.value.message
