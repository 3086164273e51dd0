"""Where a registry's API is: the base URL of a host, and whether it speaks TLS."""

from __future__ import annotations

import threading

from runner.errors import RunnerError
from runner.oci.reference import DEFAULT_DOMAIN
from runner.oci.retry import Patience
from runner.registry.address import Origin, Reach, is_localhost, literal_reach
from runner.registry.caller import Caller
from runner.registry.failures import Cause
from runner.registry.network import Network
from runner.registry.transport import Transport
from runner.registry.trust import host_folders, is_insecure

DOCKER_HUB_URL = "https://registry-1.docker.io"

_ONCE = Patience(attempts=1)
_NO_TLS = (Cause.CONNECT, Cause.STALL)  # nothing listens, or waits for a line of text


class Endpoints:
    """Finds the base URL of hosts, and remembers it. Thread-safe.

    A host speaks https, and nothing else is tried, but for three kinds: this machine speaks http
    unless it turns out otherwise; a ``.local`` name, and a host that the user called insecure,
    speak http where no TLS is to be had.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def base_url(self, host: str, caller: Caller) -> str:
        """Return the URL that ``/v2/…`` is appended to.

        Raises RunnerError(REGISTRY_UNAVAILABLE) when a host that has to be tried does not answer.
        """
        if host == DEFAULT_DOMAIN:
            return DOCKER_HUB_URL
        with self._lock:
            known = self._known.get(host)
        if known is not None:
            return known
        candidates = [f"{scheme}://{host}" for scheme in schemes(self._transport.network, host)]
        if len(candidates) == 1:
            return candidates[0]
        found = next((url for url in candidates if self._speaks(url, caller)), None)
        if found is None:
            return candidates[-1]  # the request itself will tell why it cannot be made
        with self._lock:
            self._known[host] = found
        return found

    def _speaks(self, base_url: str, caller: Caller) -> bool:
        """Ask once, without any login, whether a host speaks the scheme of a URL."""
        url, is_tls = f"{base_url}/v2/", base_url.startswith("https:")
        try:
            with self._transport.open("GET", url, caller=caller, patience=_ONCE) as answer:
                # Servers of TLS answer a plain request with 400, if at all.
                return is_tls or answer.status != 400
        except RunnerError as error:
            cause = error.details.get("cause")
            # No handshake at all means another protocol; a wrong certificate does not.
            if cause in (Cause.BROKEN, Cause.HANDSHAKE) or (is_tls and cause in _NO_TLS):
                return False
            raise


def schemes(network: Network, host: str) -> tuple[str, ...]:
    """Return the schemes that a host may speak, the one to try first before the other."""
    if host in network.plain_registries:
        return ("http",)
    origin = Origin.of(f"https://{host}")
    if is_insecure(network, origin) or origin.host.endswith(".local"):
        return ("https", "http")
    is_here = is_localhost(origin.host) or literal_reach(origin.host) is Reach.LOOPBACK
    has_certificates = any(host_folders(network, origin))
    return ("http", "https") if is_here and not has_certificates else ("https",)
