"""Files that clients name by URL: from public addresses alone, wherever names and servers lead."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from runner.errors import Kind, RunnerError
from runner.registry.address import Origin, Reach
from runner.registry.connection import Kept, Resolve, resolve
from runner.registry.network import Network
from runner.registry.proxies import Proxies
from runner.registry.transport import ONCE, Transport

MAX_BYTES = 10 * 1024 * 1024
MAX_REDIRECTS = 3
MAX_ADDRESSES = 4  # of one name; those that do not answer are waited for one after the other
TOTAL_S = 10.0  # for all of a file, with its redirects
STALL_S = 5.0
HEADERS = {"Accept": "image/*"}


class RemoteFiles:
    """Fetches what URLs of clients name. Thread-safe.

    The server that is named, and each that it redirects to, must have public addresses only, and
    the one that was checked is connected to: neither this machine nor its network nor a cloud's
    metadata is reached. So no proxy is used, which would look names up by itself; and nothing that
    was allowed for registries is allowed here, nor does a proof of who we are go along.
    """

    def __init__(
        self,
        network: Network,
        *,
        lookup: Resolve = resolve,
        trusted: frozenset[str] = frozenset(),
        total_s: float = TOTAL_S,
    ) -> None:
        """``trusted`` and ``lookup`` are for tests: who may be near, and how names are resolved."""
        self._network = replace(
            network,
            trusted_hosts=trusted,
            insecure_registries=frozenset(),
            certs_folders=(),
            proxies=Proxies(),
            connect_s=min(network.connect_s, STALL_S),
            stall_s=min(network.stall_s, STALL_S),
        )
        self._lookup = lookup
        self._total_s = total_s

    def fetch(self, url: str) -> bytes:
        """Return the file; raise RunnerError(INVALID_REQUEST) that says why there is none."""
        try:
            Origin.of(url)
        except ValueError as problem:
            # Not shown: a URL may be signed.
            raise RunnerError(Kind.INVALID_REQUEST, f"the URL is refused: {problem}") from problem
        with _ended_after(self._total_s) as connections:
            try:
                return self._fetch(url, connections)
            except RunnerError as error:
                message = error.message
                if connections.are_ended:
                    message = f"the file took longer than {self._total_s:g} s"
                # Without the hint: it tells how registries are allowed, and clients are not.
                raise RunnerError(Kind.INVALID_REQUEST, message) from error

    def _fetch(self, url: str, connections: Kept) -> bytes:
        def lookup(host: str, port: int) -> Sequence[str]:
            return self._lookup(host, port)[:MAX_ADDRESSES]

        # One for each file: what clients name is not worth keeping connections for.
        transport = Transport(self._network, lookup=lookup, on_connect=connections.add)
        try:
            with transport.open(
                "GET",
                url,
                headers=HEADERS,
                led_by=Reach.PUBLIC,
                max_redirects=MAX_REDIRECTS,
                patience=ONCE,
            ) as answer:
                if answer.status != 200:
                    message = f"{answer.route} answered {answer.status}"
                    raise RunnerError(Kind.INVALID_REQUEST, message)
                return answer.read(MAX_BYTES)
        finally:
            transport.close()


@contextlib.contextmanager
def _ended_after(total_s: float) -> Iterator[Kept]:
    connections = Kept()
    timer = threading.Timer(total_s, connections.end)
    timer.daemon = True
    timer.start()
    try:
        yield connections
    finally:
        timer.cancel()
        connections.close()
