"""The environment as one value."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.registry.network import Network, read_network
from runner.registry.proxies import Proxies


def test_an_empty_environment_is_the_default() -> None:
    certs = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
    assert read_network({}) == Network(certs_folders=certs)


def test_everything_is_read() -> None:
    env = {
        "DOCKER_CONFIG": "/c",
        "HOME": "/h",
        "MODEL_RUNNER_REGISTRY_MIRRORS": "https://one.example/path/, two.example",
        "RUNNER_INSECURE_REGISTRIES": "A.example:5000,https://b.example,http://c.example",
        "DEFAULT_REGISTRY": "registry.example",
        "RUNNER_TRUSTED_HOSTS": "auth.example, cdn.example:8443",
        "HTTPS_PROXY": "proxy:3128",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CERT_DIR": "/cas",
        "HF_ENDPOINT": "https://hub.example/",
        "HF_TOKEN": " 'token' ",
        "RUNNER_STALL_TIMEOUT": "90s",
        "RUNNER_OFFLINE": "1",
    }
    assert read_network(env) == Network(
        docker_config=Path("/c/config.json"),
        default_registry="registry.example",
        mirrors=("https://one.example/path", "https://two.example"),
        insecure_registries=frozenset({"a.example:5000", "b.example"}),
        plain_registries=frozenset({"c.example"}),
        trusted_hosts=frozenset({"auth.example", "cdn.example:8443"}),
        proxies=Proxies(https="http://proxy:3128"),
        ca_file=Path("/ca.pem"),
        ca_folder=Path("/cas"),
        certs_folders=(
            Path("/c/certs.d"),
            Path("/h/.config/docker/certs.d"),
            Path("/h/.config/containers/certs.d"),
            Path("/etc/docker/certs.d"),
            Path("/etc/containers/certs.d"),
        ),
        hf_endpoint="https://hub.example",
        hf_token="token",
        helper_environment=env,
        stall_s=90.0,
        is_offline=True,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_RUNNER_REGISTRY_MIRRORS", "ftp://a.example"),
        ("RUNNER_INSECURE_REGISTRIES", "a b"),
        ("RUNNER_TRUSTED_HOSTS", "user@host"),
        ("HF_ENDPOINT", "https://user:word@host"),
        ("RUNNER_STALL_TIMEOUT", "soon"),
        ("RUNNER_STALL_TIMEOUT", "-1"),
        ("RUNNER_STALL_TIMEOUT", "nan"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(RunnerError) as caught:
        read_network({name: value})
    assert caught.value.kind is Kind.USAGE
    assert caught.value.message.startswith(f"{name}: expected ")


def test_a_broken_config_of_docker_keeps_nobody_from_starting(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert read_network({"DOCKER_CONFIG": str(tmp_path)}).proxies == Proxies()
