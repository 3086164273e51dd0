"""Who may speak to us: decided before routing, on the raw head of a request. Pure.

Against DNS rebinding the ``Host`` must be one of ours; against pages of other sites the ``Origin``
must be allowed and a body must be JSON or an archive (a form cannot send those without a
preflight), or come from what is plainly no browser; keys give scopes. A client on the unix socket
is trusted by the socket's mode: only its content type counts.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from runner import http
from runner.api.faults import Header
from runner.api.keys import ALL_SCOPES, NO_KEYS, Keys, Scope, name_key
from runner.errors import Kind, RunnerError

ALLOWED_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
OUR_NAMES = frozenset({"localhost", "model-runner.docker.internal", "host.docker.internal"})
PUBLIC_PATHS = frozenset({"/", "/version", "/health", "/livez", "/readyz"})
PUBLIC_FOLDER = "/web/"  # the page's files: the page itself asks for the key

# Names under which people put a key into a URL, where logs and histories would keep it.
KEY_PARAMETERS = frozenset(
    {"api_key", "api-key", "apikey", "x-api-key", "key", "access_token", "token", "bearer"}
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the daemon was told about its callers.

    ``hosts`` and ``origins`` are configured names added to our own; ``*`` allows all.
    ``is_exposed`` says that we listen on an address that is not loopback: other machines then reach
    us by an IP literal, which no rebinding can forge (that takes a name). ``bridges`` are addresses
    of ours that containers come to; without a key they may use models, and change nothing.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    keys: Keys = NO_KEYS
    is_exposed: bool = False
    bridges: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the caller may do; ``scopes`` is empty for an unknown caller on a public path."""

    scopes: frozenset[Scope]
    owner: str = ""  # names the caller's key, for what belongs to it; empty: none was asked for

    def require(self, scope: Scope) -> None:
        """Raise FORBIDDEN unless the caller's key has ``scope``."""
        if scope not in self.scopes:
            raise RunnerError(
                Kind.FORBIDDEN,
                f"this API key may not do that: the route needs the scope {scope.value!r}",
                hint="use a key that has it, or add it to the key's line in the key file",
            )


def decide(request: http.Request, policy: Policy, *, at: str) -> Allowed:
    """Let the request in, or raise the RunnerError that says why not.

    ``at`` is the address of ours that it came to; empty for the unix socket.
    """
    is_bridge = bool(at) and _is_bridge(at, policy)
    if at:
        _check_host(request.host, policy, is_bridge=is_bridge)
        _check_origin(request, policy)
    _check_content_type(request)
    return _allowed(request, policy, is_bridge=is_bridge) if at else Allowed(ALL_SCOPES)


def cors_headers(request: http.Request, policy: Policy) -> list[Header]:
    """Return the headers that let an allowed page read our answer, whatever that answer is."""
    origins = request.headers.get_all("origin")
    if not origins:
        return []
    vary = ("Vary", "Origin")
    if len(origins) > 1 or not _is_allowed_origin(origins[0], request, policy):
        return [vary]
    return [
        ("Access-Control-Allow-Origin", origins[0]),
        ("Access-Control-Allow-Credentials", "true"),
        (
            "Access-Control-Expose-Headers",
            "X-Request-Id, Request-Id, X-Ignored-Fields, Retry-After",
        ),
        vary,
    ]


def preflight_headers(request: http.Request) -> list[Header]:
    """Return what a preflight of an allowed origin is told beside :func:`cors_headers`."""
    asked = request.headers.get("access-control-request-headers") or ""
    # A wildcard never covers Authorization, so what the page asked for is what it gets.
    names = asked if _HEADER_NAMES.fullmatch(asked) else "Authorization, Content-Type, X-Api-Key"
    headers = [
        ("Access-Control-Allow-Methods", ALLOWED_METHODS),
        ("Access-Control-Allow-Headers", names),
        ("Access-Control-Max-Age", "600"),
    ]
    if request.headers.get("access-control-request-private-network") == "true":
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    return headers


_HEADER_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(?:, ?[A-Za-z0-9-]{1,64}){0,31}")


def _is_bridge(at: str, policy: Policy) -> bool:
    """Whether containers come to this address of ours; ``at`` is as a socket tells it.

    Where nothing but loopback was asked for, that is every other one, however we came to listen
    there: nobody gets more by a mistake in what is a bridge.
    """
    if at in policy.bridges:
        return True
    address = ipaddress.ip_address(at.partition("%")[0])
    own = getattr(address, "ipv4_mapped", None) or address
    return not (policy.is_exposed or own.is_loopback)


# ---- Host ------------------------------------------------------------------------------------


def _check_host(host: http.Host | None, policy: Policy, *, is_bridge: bool) -> None:
    if host is None:
        return  # HTTP/1.0 without a Host: no browser, so no page behind it
    if not _is_allowed_host(host.name, policy, is_bridge=is_bridge):
        raise RunnerError(
            Kind.HOST_NOT_ALLOWED,
            f"the Host {host.name!r} is not one of this server's names",
            hint=f"if it is, start the server with RUNNER_ALLOWED_HOSTS={host.name}",
        )


def _is_allowed_host(name: str, policy: Policy, *, is_bridge: bool) -> bool:
    name = name.removesuffix(".")  # a fully qualified name is the same name
    if name in policy.hosts or "*" in policy.hosts:
        return True
    if name in OUR_NAMES or name.endswith(".localhost"):
        return True
    address = _address(name)
    # 0.0.0.0 reaches this machine's services from any page on some systems ("0.0.0.0 day").
    if address is None or address.is_unspecified:
        return False
    return address.is_loopback or policy.is_exposed or is_bridge


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


# ---- Origin ----------------------------------------------------------------------------------

_LOCAL_ORIGIN = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")


def _check_origin(request: http.Request, policy: Policy) -> None:
    origins = request.headers.get_all("origin")
    if not origins:
        return  # not a page: browsers send it with whatever could do harm
    if len(origins) > 1:
        raise RunnerError(Kind.INVALID_REQUEST, "expected one Origin header", param="Origin")
    if not _is_allowed_origin(origins[0], request, policy):
        raise RunnerError(
            Kind.ORIGIN_NOT_ALLOWED,
            f"pages of {origins[0]!r} may not use this server",
            hint=f"if they should, start the server with RUNNER_ORIGINS={origins[0]}",
        )


def _is_allowed_origin(origin: str, request: http.Request, policy: Policy) -> bool:
    if origin in policy.origins:
        return True
    if origin == "null" or "://" not in origin:
        return False  # sandboxed frames and files: anybody can make one
    if "*" in policy.origins or _LOCAL_ORIGIN.fullmatch(origin):
        return True
    if _without_port(origin) + ":*" in policy.origins:
        return True
    # A page that we serve ourselves under an allowed name.
    return origin.partition("://")[2] == request.headers.get("host")


def _without_port(origin: str) -> str:
    return re.sub(r":[0-9]+\Z", "", origin)


# ---- Content-Type ----------------------------------------------------------------------------

_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json")
# Of bodies that are files. Like JSON's, no form and no fetch sends them without a preflight.
_FILE_TYPES = frozenset({"application/x-tar", "application/octet-stream"})

# What ``curl -d`` sends. Ollama's own documentation has its users do so, and Ollama never looks.
_FORM_TYPE = "application/x-www-form-urlencoded"
_OLLAMA_FOLDER = "/api/"

# A page can send a body without a type (a Blob's may be empty) and a form without a preflight, but
# not without its browser naming the page: Origin goes with every POST (Fetch, section 3.2), the
# others with most requests. Programs that leave the type out send none of them.
_BROWSER_FIELDS = ("origin", "referer", "cookie")
_FETCH_METADATA = "sec-fetch-"


def _check_content_type(request: http.Request) -> None:
    if request.method not in ("POST", "PUT", "PATCH") or not _has_body(request.headers):
        return
    types = request.headers.get_all("content-type")
    if len(types) == 1 and (_is_json(types[0]) or types[0].lower() in _FILE_TYPES):
        return
    if _may_lack_type(types, request.raw_path) and not _is_of_browser(request.headers):
        return
    got = repr(types[0]) if types else "none"
    raise RunnerError(
        Kind.UNSUPPORTED_MEDIA_TYPE,
        f"expected the content type application/json (application/x-tar of a tar file), got {got}",
        hint="with curl, add: -H 'Content-Type: application/json'",
    )


def _is_json(content_type: str) -> bool:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {part.replace('"', "") for part in parameters if part.startswith("charset=")}
    return bool(_JSON_TYPE.fullmatch(media_type)) and charsets <= {"charset=utf-8", "charset=utf8"}


def _may_lack_type(types: list[str], path: str) -> bool:
    """Whether a program that sends these types means JSON, as its like does elsewhere."""
    return not types or (types == [_FORM_TYPE] and path.startswith(_OLLAMA_FOLDER))


def _is_of_browser(headers: http.Headers) -> bool:
    """Whether anything hints at a browser, so that a page may be behind the request."""
    return any(
        name in _BROWSER_FIELDS or name.startswith(_FETCH_METADATA) for name in headers.by_name
    )


def _has_body(headers: http.Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


# ---- keys ------------------------------------------------------------------------------------


def _allowed(request: http.Request, policy: Policy, *, is_bridge: bool) -> Allowed:
    authorizations = request.headers.get_all("authorization")
    if len(authorizations) > 1:
        raise RunnerError(
            Kind.INVALID_REQUEST, "expected one Authorization header", param="Authorization"
        )
    _refuse_key_in_query(request.query)
    if not policy.keys:  # SDKs send a made-up key to a server that wants none
        return Allowed(frozenset({Scope.INFER}) if is_bridge else ALL_SCOPES)
    presented = [*_bearer(authorizations), *request.headers.get_all("x-api-key")]
    for key in presented:
        scopes = policy.keys.scopes_of(key)
        if scopes is not None:
            return Allowed(scopes, name_key(key))
    if _is_public(request.raw_path) or request.method == "OPTIONS":
        return Allowed(frozenset())
    raise RunnerError(
        Kind.UNAUTHENTICATED,
        "this API key is not known" if presented else "this server needs an API key",
        hint="send the header Authorization: Bearer KEY",
    )


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDER)


def _bearer(authorizations: list[str]) -> list[str]:
    scheme, _, key = authorizations[0].partition(" ") if authorizations else ("", "", "")
    return [key.strip()] if scheme.lower() == "bearer" else []


def _refuse_key_in_query(query: str) -> None:
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name.lower() in KEY_PARAMETERS:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"a key does not belong into the URL, where logs keep it: {name}",
                hint="send the header Authorization: Bearer KEY",
                param=name,
            )
