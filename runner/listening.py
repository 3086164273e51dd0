"""Where the daemon listens: its port, its unix socket, the bridges, or what systemd opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner.config import Settings
from runner.errors import RunnerError
from runner.exposure import bracketed, is_loopback
from runner.net import Inherited, Server

LOG = logging.getLogger(__name__)


class Addresses(NamedTuple):
    """Where we listen, as URLs: ``http://127.0.0.1:12434``, ``unix:/path``."""

    own: list[str]
    bridges: list[str]  # for containers


def adopt_addresses(settings: Settings, inherited: Sequence[Inherited]) -> Settings:
    """Return the settings with the inherited sockets' addresses: who may call depends on them.

    Of several TCP addresses the one that is reached from farthest counts.
    """
    bound = [each.address for each in inherited if each.address]
    for host, port in sorted(bound, key=lambda address: not is_loopback(address[0])):
        settings = settings._replace(host=host, port=port)
    for each in inherited:
        if each.path:
            settings = settings._replace(socket_path=Path(each.path))
    return settings


async def listen(
    server: Server,
    settings: Settings,
    *,
    bridges: Sequence[str],
    inherited: Sequence[Inherited],
) -> Addresses:
    """Listen; inherited sockets replace ours of their kind. Raises RunnerError for the port."""
    for each in inherited:
        server.adopt(each.listener)
    bound = [each.address for each in inherited if each.address]
    if not bound:
        bound = await server.listen_tcp(settings.host, settings.port)
    addresses = Addresses([render_address(host, port) for host, port in bound], [])
    for address in bridges:
        try:
            await server.listen_tcp(address, bound[0][1])
        except RunnerError as error:
            LOG.warning("containers cannot reach this server by %s: %s", address, error)
        else:
            addresses.bridges.append(render_address(address, bound[0][1]))
    if settings.socket_path is not None:
        try:
            if not any(each.path for each in inherited):
                settings.socket_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                await server.listen_unix(settings.socket_path)
        except (OSError, RunnerError) as error:
            # A convenience: whoever needs it sees it missing, and the port works.
            LOG.warning("no unix socket at %s: %s", settings.socket_path, error)
        else:
            addresses.own.append(f"unix:{settings.socket_path}")
    return addresses


def render_address(host: str, port: int) -> str:
    """Write where we listen as a URL."""
    return f"http://{bracketed(host)}:{port}"
