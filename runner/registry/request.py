"""One request of a chain: what it carries, where a redirect leads, what its answer must not be.

Pure: nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import requests

from runner import __version__
from runner.oci.retry import PASSING
from runner.registry.address import Origin, Reach, resolve_url
from runner.registry.answer import Answer
from runner.registry.failures import Cause, refused_by_proxy, unavailable

SAFE = frozenset({"GET", "HEAD"})

# What proves who asks comes from an Authorization only, which knows its origin.
_PROOFS = frozenset({"authorization", "cookie", "proxy-authorization"})


class Stream(Protocol):
    """A body that is made while it is sent, and can be made again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


Body = bytes | Stream | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """A proof, and the only origin that may see it."""

    origin: Origin
    value: str = field(repr=False)


class Step(NamedTuple):
    """One request of a chain of redirects."""

    method: str
    url: str
    origin: Origin
    home: Reach | None  # of the server whose word the URL is; None: the user's own


class Message(NamedTuple):
    """What goes along with every request of a chain, as far as its rules let it."""

    headers: dict[str, str]
    body: Body
    auth: Authorization | None
    max_redirects: int
    answer_s: float  # how long its head may take


def next_step(step: Step, answer: Answer, body: Body) -> Step:
    """Decide where a redirect leads; raise RunnerError(REGISTRY_UNAVAILABLE) for a refusal."""
    url = resolve_url(step.url, answer.headers["Location"])
    try:
        origin = Origin.of(url)
    except ValueError as problem:
        raise unavailable(
            Cause.REDIRECT, f"{answer.route} redirects to a place that is refused: {problem}"
        ) from problem
    if step.origin.scheme == "https" and origin.scheme == "http":
        raise unavailable(
            Cause.REDIRECT,
            f"{answer.route} redirects from https to plain http, at {origin.authority}",
            "anybody on the way could read and change what comes; that is refused",
        )
    keeps_method = step.method in SAFE or answer.status in (307, 308)
    if not keeps_method or (body is not None and not isinstance(body, bytes)):
        raise unavailable(Cause.REDIRECT, f"{answer.route} redirects an upload")
    return Step(step.method, url, origin, step.home or answer.peer.reach)


def may_repeat(status: int, method: str, body: Body) -> bool:
    """Tell whether to ask again; what was refused as one too many had no effect."""
    if method in SAFE:
        return status in PASSING
    return status == 429 and (body is None or isinstance(body, bytes))


def prepare(step: Step, message: Message) -> requests.PreparedRequest:
    """Build the request as it is sent: the URL is not written anew, a signed one would break."""
    body, auth = message.body, message.auth
    request = requests.PreparedRequest()
    request.method = step.method
    request.url = step.url
    merged: dict[str, str] = {"User-Agent": f"runner/{__version__}", "Accept-Encoding": "identity"}
    if body is not None:
        merged["Content-Length"] = str(len(body))
    elif step.method in ("POST", "PUT", "PATCH"):
        merged["Content-Length"] = "0"
    merged |= {
        name: value for name, value in message.headers.items() if name.lower() not in _PROOFS
    }
    if auth is not None and auth.origin == step.origin:
        merged["Authorization"] = auth.value
    request.headers = requests.structures.CaseInsensitiveDict(merged)
    request.body = body  # type: ignore[assignment]  # iterables are sent too
    return request


def check_head(answer: Answer) -> None:
    """Refuse what the proxy says in the server's place, and a body in an encoding."""
    if answer.status == 407 and answer.route.proxy:
        answer.close()
        raise refused_by_proxy(answer.route, 407)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        # A small answer could become gigabytes, and digests are of the bytes as they are stored.
        answer.close()
        raise unavailable(
            Cause.ANSWER,
            f"{answer.route} sent a body in the encoding {encoding[:40]!a}, unasked",
        )
