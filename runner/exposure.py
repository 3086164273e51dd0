"""Who may reach the daemon, by which of our addresses: keys, names, the bridge of containers."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence

from runner.api import Keys, Policy, parse_keys
from runner.config import Settings
from runner.errors import Kind, RunnerError
from runner.net import find_addresses

MAX_KEY_FILE_BYTES = 1024 * 1024
UNSPECIFIED = ("", "0.0.0.0", "::", "[::]")

LOG = logging.getLogger(__name__)


def read_keys(settings: Settings) -> Keys:
    """Collect the keys of the environment and the key file; raise RunnerError(USAGE)."""
    path = settings.api_keys_file
    if path is None:
        return parse_keys([], plain=settings.api_keys)
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(MAX_KEY_FILE_BYTES).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError(Kind.USAGE, f"cannot read the API key file {path}: {error}") from None
    if not parse_keys(lines):
        raise RunnerError(Kind.USAGE, f"the API key file {path} holds no key")
    return parse_keys(lines, plain=settings.api_keys)


def check_exposure(settings: Settings, keys: Keys) -> None:
    """Refuse to let other machines in without a key, unless that was asked for by name."""
    if keys or settings.insecure or is_loopback(settings.host):
        return
    raise RunnerError(
        Kind.USAGE,
        f"listening on {settings.host} lets other machines in, and there is no API key",
        hint="set RUNNER_API_KEY or --api-key-file, or say --insecure if you mean it",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``. Names other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def find_bridges(settings: Settings) -> list[str]:
    """Return our addresses that containers come to; those that we listen on anyway are none.

    Raises RunnerError(USAGE) for what is not one address: other machines would come there, too.
    """
    found = find_addresses(settings.containers)
    if every := next((each for each in found if each in UNSPECIFIED), None):
        raise RunnerError(
            Kind.USAGE,
            f"--containers {every} is every address of this machine, not one of a bridge",
            hint="name the bridge, as docker0; to let other machines in: --host, with an API key",
        )
    if settings.host in UNSPECIFIED:
        return []
    bridges = [each for each in found if each != settings.host]
    if settings.containers and not bridges:
        looked = ", ".join(settings.containers)
        LOG.warning("containers cannot reach this server: there is none of %s here", looked)
    return bridges


def build_policy(settings: Settings, keys: Keys, *, bridges: Sequence[str] = ()) -> Policy:
    """Say who may call. The name that we were told to listen on is one of ours."""
    hosts = {host.lower() for host in settings.allowed_hosts}
    if settings.host not in UNSPECIFIED:
        hosts.add(bracketed(settings.host).lower())
    return Policy(
        hosts=frozenset(hosts),
        origins=frozenset(settings.allowed_origins),
        keys=keys,
        is_exposed=not is_loopback(settings.host),
        bridges=frozenset(bridges),
    )


def bracketed(host: str) -> str:
    """Write a host as URLs and Host headers have it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
