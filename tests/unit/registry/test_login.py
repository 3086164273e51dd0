"""Logging in and out: what is checked, what is written, and that Docker's tools read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.registry.login import log_in, log_out, parse_host
from runner.registry.network import Network, read_network
from runner.registry.registry import Registry
from tests.support.registries import PASSWORD, USER, RunningRegistry, Skopeo
from tests.unit.registry.conftest import MakeTransport

HELPER = """#!/bin/sh
echo "$1" >> "$HOME/calls"
case "$1" in
  store) cat > "$HOME/stored" ;;
  get) read -r host; test -f "$HOME/stored" && cat "$HOME/stored" && exit 0
       echo "credentials not found in native keychain"; exit 1 ;;
  erase) rm -f "$HOME/stored" ;;
esac
"""


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """A home of its own, with a credential helper on its PATH."""
    (tmp_path / "bin").mkdir()
    helper = tmp_path / "bin" / "docker-credential-fake"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    return read_network({"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"})


def config(network: Network) -> Path:
    assert network.docker_config is not None
    network.docker_config.parent.mkdir(exist_ok=True)
    return network.docker_config


def test_a_login_is_checked_stored_used_and_forgotten(
    network: Network, basic_registry: RunningRegistry, make_transport: MakeTransport
) -> None:
    raw = basic_registry.seed("ai/tiny", "one", [b"layer"])
    registry = Registry(network, make_transport(network))
    reference = Reference.parse(f"{basic_registry.host}/ai/tiny:one")
    assert log_in(registry, basic_registry.host, USER, PASSWORD) == str(network.docker_config)
    assert json.loads(config(network).read_text()) == {
        "auths": {basic_registry.host: {"auth": "YWxpY2U6czNjcmV0"}}
    }
    assert config(network).stat().st_mode & 0o777 == 0o600
    assert registry.resolve(reference).raw == raw
    assert log_out(network, basic_registry.host)
    assert json.loads(config(network).read_text()) == {"auths": {}}
    assert not log_out(network, basic_registry.host)
    with pytest.raises(RunnerError):
        Registry(network, make_transport(network)).resolve(reference)


def test_a_wrong_password_is_not_stored(
    network: Network, basic_registry: RunningRegistry, make_transport: MakeTransport
) -> None:
    registry = Registry(network, make_transport(network))
    with pytest.raises(RunnerError) as caught:
        log_in(registry, basic_registry.host, USER, "wr0ng")
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert "wr0ng" not in str(caught.value)
    assert "check user name and password" in (caught.value.hint or "")
    assert not config(network).exists()


def test_a_login_goes_to_the_token_server(
    network: Network, token_registry: RunningRegistry, make_transport: MakeTransport
) -> None:
    registry = Registry(network, make_transport(network))
    log_in(registry, token_registry.host, USER, PASSWORD)
    with pytest.raises(RunnerError) as caught:
        log_in(registry, token_registry.host, USER, "wr0ng")
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert "check user name and password" in (caught.value.hint or "")


def test_what_else_the_file_holds_stays(
    network: Network, open_registry: RunningRegistry, make_transport: MakeTransport
) -> None:
    config(network).write_text('{"auths": {"a.example": {"auth": "YTpi"}}, "psFormat": "x"}')
    registry = Registry(network, make_transport(network))
    log_in(registry, open_registry.host, USER, PASSWORD)
    kept = json.loads(config(network).read_text())
    assert kept["psFormat"] == "x"
    assert sorted(kept["auths"]) == sorted(["a.example", open_registry.host])


def test_skopeo_reads_what_a_login_wrote(
    network: Network,
    basic_registry: RunningRegistry,
    make_transport: MakeTransport,
    skopeo: Skopeo,
) -> None:
    raw = basic_registry.seed("ai/tiny", "one", [b"layer"])
    log_in(Registry(network, make_transport(network)), basic_registry.host, USER, PASSWORD)
    source = f"docker://{basic_registry.host}/ai/tiny:one"
    arguments = ("inspect", "--raw", "--tls-verify=false", "--authfile", str(config(network)))
    assert skopeo(*arguments, source).stdout == raw


def test_we_read_what_skopeo_wrote(
    network: Network,
    basic_registry: RunningRegistry,
    make_transport: MakeTransport,
    skopeo: Skopeo,
) -> None:
    raw = basic_registry.seed("ai/tiny", "one", [b"layer"])
    login = ("login", "-u", USER, "-p", PASSWORD, "--tls-verify=false")
    skopeo(*login, "--authfile", str(config(network)), basic_registry.host)
    registry = Registry(network, make_transport(network))
    reference = Reference.parse(f"{basic_registry.host}/ai/tiny:one")
    assert registry.resolve(reference).raw == raw


def test_a_credential_helper_keeps_the_secret(
    network: Network, basic_registry: RunningRegistry, make_transport: MakeTransport, tmp_path: Path
) -> None:
    raw = basic_registry.seed("ai/tiny", "one", [b"layer"])
    config(network).write_text('{"credsStore": "fake"}')
    registry = Registry(network, make_transport(network))
    assert log_in(registry, basic_registry.host, USER, PASSWORD) == "docker-credential-fake"
    assert json.loads((tmp_path / "stored").read_text()) == {
        "ServerURL": basic_registry.host,
        "Username": USER,
        "Secret": PASSWORD,
    }
    assert PASSWORD not in config(network).read_text()
    assert json.loads(config(network).read_text())["auths"] == {basic_registry.host: {}}
    reference = Reference.parse(f"{basic_registry.host}/ai/tiny:one")
    assert registry.resolve(reference).raw == raw
    assert log_out(network, basic_registry.host)
    assert not (tmp_path / "stored").exists()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://Registry.Example/v2/", "registry.example"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_a_host_is_read_as_docker_reads_it(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["a b", "user@host", "-x", "a\nb", "host:port"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_host(text)
    assert caught.value.kind is Kind.USAGE


def test_a_user_name_with_a_colon_is_refused(
    network: Network, make_transport: MakeTransport
) -> None:
    with pytest.raises(RunnerError) as caught:
        log_in(Registry(network, make_transport(network)), "a.example", "a:b", "c")
    assert caught.value.kind is Kind.USAGE


def test_without_a_home_there_is_no_place_for_a_login(make_transport: MakeTransport) -> None:
    with pytest.raises(RunnerError) as caught:
        log_out(read_network({}), "a.example")
    assert caught.value.kind is Kind.USAGE
