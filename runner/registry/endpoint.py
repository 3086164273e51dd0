"""Where a registry's API is: the base URL of a host, and whether it speaks TLS."""

from __future__ import annotations

import threading

from runner.errors import RunnerError
from runner.oci.retry import Patience
from runner.registry.address import Origin, Reach, is_localhost, literal_reach
from runner.registry.caller import Caller
from runner.registry.failures import Cause
from runner.registry.network import Network
from runner.registry.transport import Transport
from runner.registry.trust import host_folders, is_insecure

DOCKER_HUB_URL = "https://registry-1.docker.io"

_ONCE = Patience(attempts=1)


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
        if host == "docker.io":
            return DOCKER_HUB_URL
        with self._lock:
            known = self._known.get(host)
        if known is None:
            known = f"{self._scheme(host, caller)}://{host}"
            with self._lock:
                self._known[host] = known
        return known

    def _scheme(self, host: str, caller: Caller) -> str:
        network = self._transport.network
        first, second = schemes(network, host)
        if second is None:
            return first
        return first if self._speaks(first, host, caller) else second

    def _speaks(self, scheme: str, host: str, caller: Caller) -> bool:
        """Ask once, without any login, whether a host speaks a scheme."""
        url = f"{scheme}://{host}/v2/"
        try:
            with self._transport.open("GET", url, caller=caller, patience=_ONCE) as answer:
                # Servers of TLS answer a plain request with 400, if at all.
                return scheme == "https" or answer.status != 400
        except RunnerError as error:
            # No handshake at all means another protocol; a wrong certificate does not.
            if error.details.get("cause") in (Cause.BROKEN, Cause.HANDSHAKE):
                return False
            if scheme == "https" and error.details.get("cause") == Cause.CONNECT:
                return False  # nothing listens at 443
            raise


def schemes(network: Network, host: str) -> tuple[str, str | None]:
    """Return the scheme of a host, or the one to try and the one that is left when it fails."""
    origin = Origin.of(f"https://{host}")
    if is_insecure(network, origin):
        return "https", "http"
    if is_localhost(origin.host) or literal_reach(origin.host) is Reach.LOOPBACK:
        has_certificates = next(host_folders(network, origin), None) is not None
        return ("https", None) if has_certificates else ("http", "https")
    return ("https", "http") if origin.host.endswith(".local") else ("https", None)
