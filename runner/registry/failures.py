"""Why a request got no answer: from the type of an exception to a cause, a sentence and a remedy.

``details["cause"]`` of the errors is one of the words of :class:`Cause`.
"""

from __future__ import annotations

import datetime
import http.client
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import requests
import urllib3.exceptions as http_errors

from runner.errors import Kind, RunnerError
from runner.registry.address import Origin
from runner.registry.connection import ForbiddenAddress, ProxyRefused
from runner.registry.proxies import shown


class Cause(StrEnum):
    """What failed, for programs."""

    OFFLINE = "offline"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"  # a certificate that is refused
    HANDSHAKE = "handshake"  # no TLS at all
    TRUST = "trust"
    PROXY = "proxy"
    STALL = "stall"
    BROKEN = "broken"  # the connection ended in the middle
    REDIRECT = "redirect"
    ANSWER = "answer"  # an answer that breaks the rules
    STATUS = "status"  # an answer that refuses


# Worth another try: the same request may succeed a moment later.
PASSING = frozenset({Cause.CONNECT, Cause.STALL, Cause.BROKEN})

# X509_V_ERR_* of OpenSSL, the numbers of ``ssl.SSLCertVerificationError.verify_code``.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = {18, 19, 20, 21}
_WRONG_NAME = {62, 64}


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request went, for the words of an error."""

    origin: Origin
    proxy: str | None = None

    def __str__(self) -> str:
        through = f" through the proxy {shown(self.proxy)}" if self.proxy else ""
        return f"{self.origin.authority}{through}"


def unavailable(cause: Cause, message: str, hint: str | None = None) -> RunnerError:
    """Build the error of a request that got no usable answer."""
    details = {"cause": str(cause)}
    return RunnerError(Kind.REGISTRY_UNAVAILABLE, message, hint=hint, details=details)


def is_passing(error: RunnerError) -> bool:
    """Tell whether the same request may succeed a moment later."""
    return error.kind is Kind.REGISTRY_UNAVAILABLE and error.details.get("cause") in PASSING


def explain(error: BaseException, route: Route, *, now_s: float, stall_s: float) -> RunnerError:
    """Turn what the HTTP library raised into an error that says what to do."""
    causes = list(_causes(error))
    for explanation in (_explain_policy, _explain_tls, _explain_proxy, _explain_connecting):
        if explained := explanation(causes, route, now_s):
            return explained
    if _find(causes, http_errors.ReadTimeoutError, requests.exceptions.ReadTimeout, TimeoutError):
        return stalled(route, stall_s)
    return broken(route, causes[-1])


def broken(route: Route, error: BaseException) -> RunnerError:
    """Build the error of a connection that ended in the middle."""
    return unavailable(
        Cause.BROKEN,
        f"the connection to {route} broke ({type(error).__name__})",
        "try again: what has arrived is kept",
    )


def stalled(route: Route, stall_s: float) -> RunnerError:
    """Build the error of a server that sends nothing, or hardly anything."""
    return unavailable(
        Cause.STALL,
        f"{route} sent nothing for {stall_s:g} s",
        "try again: what has arrived is kept; RUNNER_STALL_TIMEOUT waits longer",
    )


def _explain_policy(causes: list[BaseException], route: Route, _: float) -> RunnerError | None:
    if _find(causes, ForbiddenAddress) is None:
        return None
    return forbidden(route.origin)


def forbidden(origin: Origin) -> RunnerError:
    """Build the refusal to be led to an address nearer than the server that leads there."""
    return unavailable(
        Cause.REDIRECT,
        f"refused to be sent to {origin.authority}: an address of this machine or its network, "
        "named from outside",
        f"if it belongs there, allow it: RUNNER_TRUSTED_HOSTS={origin.authority}",
    )


def _explain_tls(causes: list[BaseException], route: Route, now_s: float) -> RunnerError | None:
    error = _find(causes, ssl.SSLError)
    if error is None:
        return None
    if not isinstance(error, ssl.SSLCertVerificationError):
        return unavailable(
            Cause.HANDSHAKE,
            f"no TLS connection to {route} ({getattr(error, 'reason', None) or 'it was refused'})",
            "if it speaks plain HTTP, or is to be trusted as it is: "
            f"RUNNER_INSECURE_REGISTRIES={route.origin.authority}",
        )
    return _explain_certificate(error.verify_code, route, now_s)


def _explain_certificate(code: int, route: Route, now_s: float) -> RunnerError:
    host = route.origin.authority
    if code in (_EXPIRED, _NOT_YET_VALID):
        clock = datetime.datetime.fromtimestamp(now_s, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        problem = "has expired" if code == _EXPIRED else "is not valid yet"
        hint = f"your clock says {clock}; if that is right, the server needs a new certificate"
        return unavailable(Cause.TLS, f"the certificate of {route} {problem}", hint)
    if code in _WRONG_NAME:
        return unavailable(
            Cause.TLS,
            f"the certificate of {route} is for another name",
            "check the name; if something stands in between (a proxy, a portal), pass it first",
        )
    problem = "is signed by an authority that is not trusted here"
    if code not in _UNKNOWN_AUTHORITY:
        problem = f"was refused (OpenSSL's code {code})"
    return unavailable(
        Cause.TLS,
        f"the certificate of {route} {problem}",
        "if your network has an authority of its own, put it into "
        f"~/.docker/certs.d/{host}/ca.crt or name it with SSL_CERT_FILE; "
        f"to trust this one host blindly: RUNNER_INSECURE_REGISTRIES={host}",
    )


def _explain_proxy(causes: list[BaseException], route: Route, _: float) -> RunnerError | None:
    if route.proxy is None:
        return None
    name = shown(route.proxy)
    if refused := _find(causes, ProxyRefused):
        return refused_by_proxy(route, getattr(refused, "status", 0))
    if _find(causes, http_errors.ProxyError, requests.exceptions.ProxyError):
        return unavailable(
            Cause.PROXY,
            f"the proxy {name} cannot be reached",
            f"check HTTP_PROXY and HTTPS_PROXY; NO_PROXY={route.origin.host} goes around it",
        )
    return None


def refused_by_proxy(route: Route, status: int) -> RunnerError:
    """Build the error of a proxy that lets nothing through."""
    name = shown(route.proxy or "")
    hint = f"ask who runs it, or go around it: NO_PROXY={route.origin.host}"
    if status == 407:
        hint = "it wants a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (HTTP_PROXY too)"
    return unavailable(
        Cause.PROXY, f"the proxy {name} refused {route.origin.authority} with {status}", hint
    )


def _explain_connecting(causes: list[BaseException], route: Route, _: float) -> RunnerError | None:
    if _find(causes, http_errors.NameResolutionError):
        return unavailable(
            Cause.DNS,
            f"the name {route.origin.host} has no address here",
            "check the name, the DNS server and the network; behind a proxy, set HTTPS_PROXY",
        )
    # Before ConnectTimeoutError, which is its base class.
    if _find(causes, http_errors.NewConnectionError, ConnectionRefusedError):
        return unavailable(
            Cause.CONNECT,
            f"{route} refused the connection, or cannot be reached",
            "check that it runs, its name and its port",
        )
    if _find(causes, http_errors.ConnectTimeoutError):
        return unavailable(
            Cause.CONNECT,
            f"{route} did not answer",
            "check the network and the firewall; behind a proxy, set HTTPS_PROXY",
        )
    if _find(causes, http.client.InvalidURL, requests.exceptions.InvalidURL):
        return unavailable(Cause.ANSWER, f"{route} has a URL that cannot be asked for")
    return None


def _find(causes: list[BaseException], *types: type[BaseException]) -> BaseException | None:
    return next((cause for cause in causes if isinstance(cause, types)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all it was made from: libraries wrap each other's."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [*found.args, getattr(found, "reason", None)]
            waiting += [found.__context__, found.__cause__]
