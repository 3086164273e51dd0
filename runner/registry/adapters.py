"""The connections that are kept, to a bounded number of servers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import urllib3

from runner.registry.address import Origin, Reach
from runner.registry.connection import MAX_CONNECTIONS, Adapter, Gate, OnConnect, Resolve
from runner.registry.network import Network
from runner.registry.trust import tls_context, trust_stamp

MAX_SERVERS = 64  # a registry may redirect every blob to another name

_Key = tuple[Origin, Reach | None, tuple[object, ...]]


class Adapters:
    """One adapter for a server and for how one came to it. Thread-safe."""

    def __init__(self, network: Network, lookup: Resolve, on_connect: OnConnect | None) -> None:
        self._network = network
        self._lookup = lookup
        self._on_connect = on_connect
        self._kept: OrderedDict[_Key, Adapter] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, origin: Origin, home: Reach | None, proxy: str | None) -> Adapter:
        """Return the adapter for a server; ``home``: how far away the one is that sent us there.

        A certificate that was put in its place since is believed: nobody has to start us again.
        Raises RunnerError(REGISTRY_UNAVAILABLE) for a certificate file that cannot be read.
        """
        key = (origin, home, trust_stamp(self._network, origin))
        with self._lock:
            adapter = self._kept.get(key)
            if adapter is None:
                adapter = self._kept[key] = self._make(origin, home, proxy)
            self._kept.move_to_end(key)
            oldest = self._kept.popitem(last=False)[1] if len(self._kept) > MAX_SERVERS else None
        if oldest is not None:
            oldest.close()  # what is idle; answers that are being read go on
        return adapter

    def close(self) -> None:
        """End the connections that are idle."""
        with self._lock:
            adapters = list(self._kept.values())
            self._kept.clear()
        for adapter in adapters:
            adapter.close()

    def _make(self, origin: Origin, home: Reach | None, proxy: str | None) -> Adapter:
        gate = Gate(
            home, self._lookup, connect_s=self._network.connect_s, on_connect=self._on_connect
        )
        options: dict[str, Any] = {"maxsize": MAX_CONNECTIONS, "block": False}
        if origin.scheme == "https":
            options["ssl_context"] = tls_context(self._network, origin)
        if proxy is None:
            return Adapter(urllib3.PoolManager(**options), gate)
        parts = urllib3.util.parse_url(proxy)
        if parts.auth:
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=parts.auth)
        if parts.scheme == "https":
            own = Origin("https", parts.host or "", parts.port or 443)
            options["proxy_ssl_context"] = tls_context(self._network, own)
        return Adapter(urllib3.ProxyManager(proxy, **options), gate)
