"""Logging in and out, as ``docker login`` does: what is stored serves Docker's tools too."""

from __future__ import annotations

from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci.reference import DEFAULT_DOMAIN
from runner.registry.address import Origin
from runner.registry.dockerconfig import (
    Login,
    file_key,
    host_key,
    load_document,
    parse_docker_config,
    save_document,
    with_login,
    without_login,
)
from runner.registry.keychain import erase_login, store_login
from runner.registry.network import Network
from runner.registry.registry import Registry


def log_in(registry: Registry, host: str, username: str, password: str) -> str:
    """Show a login to a registry, and store it when it is accepted; return where it is kept.

    With a credential helper configured, the helper keeps it; else Docker's config file does, in
    base64, readable by its owner only. Raises RunnerError: REGISTRY_DENIED, USAGE for a host, user
    name or password that none can be, REGISTRY_UNAVAILABLE.
    """
    host = parse_host(host)
    if not username or not password or ":" in username:
        raise RunnerError(
            Kind.USAGE,
            "a login has a user name without a colon, and a password",
            hint=f"runner login -u NAME --password-stdin {host}",
        )
    login = Login(username, password)
    registry.check_login(host, login)
    network = registry.network
    path = _path(network)
    document = load_document(path)
    helper = parse_docker_config(document, path).helper_for(host)
    if helper is not None:
        store_login(helper, file_key(host), login, network.helper_environment)
    save_document(path, with_login(document, host, None if helper else login))
    return f"docker-credential-{helper}" if helper else str(path)


def log_out(network: Network, host: str) -> bool:
    """Forget the login of a registry; tell whether there was one in Docker's config file.

    Raises RunnerError: REGISTRY_DENIED for a credential helper that fails, USAGE.
    """
    host = parse_host(host)
    path = _path(network)
    document = load_document(path)
    config = parse_docker_config(document, path)
    if helper := config.helper_for(host):
        erase_login(helper, file_key(host), network.helper_environment)
    if host_key(host) not in config.auths:
        return helper is not None
    save_document(path, without_login(document, host))
    return True


def parse_host(text: str) -> str:
    """Normalise a registry as users write it: empty means Docker Hub, a URL its host."""
    host = host_key(text.strip()) if text.strip() else DEFAULT_DOMAIN
    try:
        Origin.of(f"https://{host}")
    except ValueError as problem:
        raise RunnerError(
            Kind.USAGE,
            f"{text[:80]!a} is no registry: {problem}",
            hint="write a host such as registry.example.com, with :PORT if it has one",
        ) from problem
    return host


def _path(network: Network) -> Path:
    if network.docker_config is None:
        raise RunnerError(
            Kind.USAGE,
            "there is no place to keep a login",
            hint="set DOCKER_CONFIG to a folder, or HOME",
        )
    return network.docker_config
