"""HTTP to registries and hubs: redirects, waits and time limits are decided here, nowhere else.

Over ``requests``, with its own policies switched off: no cookies, no netrc, no environment, no
retries, no redirects, no content encodings.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import requests
import urllib3

from runner import __version__
from runner.errors import RunnerError
from runner.oci.retry import PASSING, Patience, parse_retry_after
from runner.registry.address import Origin, Reach, literal_reach, reach_of, resolve_url
from runner.registry.answer import Answer, Peer
from runner.registry.caller import Caller
from runner.registry.connection import (
    MAX_CONNECTIONS,
    Adapter,
    Gate,
    Resolve,
    literal_is_forbidden,
    resolve,
)
from runner.registry.failures import (
    Cause,
    Route,
    explain,
    forbidden,
    is_passing,
    refused_by_proxy,
    unavailable,
)
from runner.registry.network import Network
from runner.registry.trust import tls_context

MAX_REDIRECTS = 10
PAUSE_STEP_S = 0.2  # how long a wait may go on after it was cancelled

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = frozenset({"GET", "HEAD"})
ANYBODY = Caller()
ONCE = Patience(attempts=1)


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


class _Step(NamedTuple):
    """One request of a chain of redirects."""

    method: str
    url: str
    origin: Origin
    home: Reach | None  # of the server whose word the URL is; None: the user's own


class _Message(NamedTuple):
    """What goes along with every request of a chain, as far as its rules let it."""

    headers: dict[str, str]
    body: Body
    auth: Authorization | None
    max_redirects: int
    answer_s: float  # how long its head may take


class Transport:
    """Requests over kept connections. Thread-safe; ``close`` ends the idle ones.

    ``lookup``, ``sleep`` and ``dice`` are for tests: how names are resolved, how time passes and
    how delays are spread.
    """

    def __init__(
        self,
        network: Network,
        *,
        lookup: Resolve = resolve,
        sleep: Callable[[float], None] = time.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.network = network
        self._lookup = lookup
        self._sleep = sleep
        self._dice = dice
        self._adapters: dict[tuple[Origin, Reach | None], Adapter] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        auth: Authorization | None = None,
        caller: Caller = ANYBODY,
        patience: Patience | None = None,
        led_by: Reach | None = None,
        max_redirects: int = MAX_REDIRECTS,
        answer_s: float | None = None,
    ) -> Iterator[Answer]:
        """Send a request; give the answer, whatever its status, and close it at the end.

        GET and HEAD are sent again after failures that pass, and so is anything that was refused
        with 429 and whose body is bytes. ``auth`` goes to its own origin only. Redirects are
        followed; not from https to http, not to a nearer network than the server's own, or than
        ``led_by``: the reach of the server whose word the URL is. The head of an answer may take
        ``answer_s``, as long as any stall without it.

        Raises RunnerError: REGISTRY_UNAVAILABLE when there is no answer, CANCELLED.
        """
        first = _Step(method, url, _origin(url), led_by)
        patient_s = max(answer_s or 0.0, self.network.stall_s)
        message = _Message(dict(headers or {}), body, auth, max_redirects, patient_s)
        answer = self._send_patiently(first, message, caller, patience or Patience())
        try:
            yield answer
        finally:
            answer.close()

    def close(self) -> None:
        """End the connections that are idle."""
        with self._lock:
            adapters, self._adapters = list(self._adapters.values()), {}
        for adapter in adapters:
            adapter.close()

    def _send_patiently(
        self, first: _Step, message: _Message, caller: Caller, patience: Patience
    ) -> Answer:
        attempt = 1
        while True:
            caller.check()
            wish_s: float | None = None
            try:
                answer = self._follow(first, message)
            except RunnerError as error:
                delay_s = patience.delay_s(attempt, dice=self._dice())
                if first.method not in _SAFE or not is_passing(error) or delay_s is None:
                    raise
                reason = error.message
            else:
                wish_s = parse_retry_after(answer.headers.get("Retry-After"), now_s=time.time())
                delay_s = patience.delay_s(attempt, dice=self._dice(), retry_after_s=wish_s)
                if not _may_repeat(answer.status, first.method, message.body) or delay_s is None:
                    return answer
                answer.close()
                reason = f"{answer.route} answered {answer.status}"
            wished = " as it asks" if wish_s is not None else ""
            attempt += 1
            caller.tell(
                f"{reason}; trying again in {delay_s:.1f} s{wished} "
                f"(attempt {attempt} of {patience.attempts})"
            )
            self.pause(delay_s, caller)

    def _follow(self, first: _Step, message: _Message) -> Answer:
        step = first
        for _ in range(message.max_redirects + 1):
            answer = self._send(step, message)
            if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                return answer
            answer.close()
            if message.max_redirects == 0:
                raise unavailable(
                    Cause.REDIRECT, f"{answer.route} redirects a request that must not be"
                )
            step = _next_step(step, answer, message.body)
        raise unavailable(
            Cause.REDIRECT,
            f"{first.origin.authority} redirects more than {message.max_redirects} times",
        )

    def _send(self, step: _Step, message: _Message) -> Answer:
        if self.network.is_offline:
            raise unavailable(
                Cause.OFFLINE,
                f"{step.origin.authority} was not asked: this daemon is offline",
                "unset RUNNER_OFFLINE",
            )
        proxy = self.network.proxies.choose(step.origin)
        route = Route(step.origin, proxy)
        home = None if _is_trusted(self.network, step.origin) else step.home
        if home is not None and literal_is_forbidden(home, step.origin.host):
            raise forbidden(step.origin)
        adapter = self._adapter(step.origin, home, proxy)
        try:
            response = adapter.send(
                _prepare(step, message),
                stream=True,
                timeout=(self.network.connect_s, message.answer_s),
                proxies={step.origin.scheme: proxy} if proxy else None,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise explain(error, route, now_s=time.time(), stall_s=message.answer_s) from error
        # Through a proxy, only an address that is written out tells how far away its host is.
        address = None if proxy else adapter.gate.address
        reach = reach_of(address) if address else literal_reach(step.origin.host)
        peer = Peer(address, reach or Reach.PUBLIC)
        answer = Answer(response, route, peer, stall_s=self.network.stall_s)
        _check_head(answer)
        return answer

    def _adapter(self, origin: Origin, home: Reach | None, proxy: str | None) -> Adapter:
        with self._lock:
            adapter = self._adapters.get((origin, home))
            if adapter is None:
                adapter = self._adapters[origin, home] = self._make_adapter(origin, home, proxy)
            return adapter

    def _make_adapter(self, origin: Origin, home: Reach | None, proxy: str | None) -> Adapter:
        gate = Gate(home, self._lookup, stall_s=self.network.stall_s)
        options: dict[str, Any] = {"maxsize": MAX_CONNECTIONS, "block": False}
        if origin.scheme == "https":
            options["ssl_context"] = tls_context(self.network, origin)
        if proxy is None:
            return Adapter(urllib3.PoolManager(**options), gate)
        parts = urllib3.util.parse_url(proxy)
        login = urllib3.make_headers(proxy_basic_auth=parts.auth) if parts.auth else None
        return Adapter(urllib3.ProxyManager(proxy, proxy_headers=login, **options), gate)

    def pause(self, seconds: float, caller: Caller) -> None:
        """Wait; raise RunnerError(CANCELLED) when the caller is told to stop meanwhile."""
        while seconds > 0:
            caller.check()
            self._sleep(min(seconds, PAUSE_STEP_S))
            seconds -= PAUSE_STEP_S


def _next_step(step: _Step, answer: Answer, body: Body) -> _Step:
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
    keeps_method = step.method in _SAFE or answer.status in (307, 308)
    if not keeps_method or (body is not None and not isinstance(body, bytes)):
        raise unavailable(Cause.REDIRECT, f"{answer.route} redirects an upload")
    return _Step(step.method, url, origin, step.home or answer.peer.reach)


def _may_repeat(status: int, method: str, body: Body) -> bool:
    """Tell whether to ask again; what was refused as one too many had no effect."""
    if method in _SAFE:
        return status in PASSING
    return status == 429 and (body is None or isinstance(body, bytes))


def _prepare(step: _Step, message: _Message) -> requests.PreparedRequest:
    """Build the request as it is sent: the URL is not written anew, a signed one would break."""
    body, auth = message.body, message.auth
    request = requests.PreparedRequest()
    request.method = step.method
    request.url = step.url
    merged: dict[str, str] = {"User-Agent": f"runner/{__version__}", "Accept-Encoding": "identity"}
    if body is not None:
        merged["Content-Length"] = str(len(body))
    elif body is None and step.method in ("POST", "PUT", "PATCH"):
        merged["Content-Length"] = "0"
    merged |= message.headers
    if auth is not None and auth.origin == step.origin:
        merged["Authorization"] = auth.value
    request.headers = requests.structures.CaseInsensitiveDict(merged)
    request.body = body  # type: ignore[assignment]  # iterables are sent too
    return request


def _check_head(answer: Answer) -> None:
    """Refuse what the proxy says in the server's place, and a body in an encoding."""
    if answer.status == 407:
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


def _is_trusted(network: Network, origin: Origin) -> bool:
    return bool({origin.host, origin.authority} & network.trusted_hosts)


def _origin(url: str) -> Origin:
    try:
        return Origin.of(url)
    except ValueError as problem:
        # The URL itself is not shown: it may be signed.
        raise unavailable(Cause.ANSWER, f"a URL is refused: {problem}") from problem
