"""HTTP to registries and hubs: redirects, waits and time limits are decided here, nowhere else.

Over ``requests``, with its own policies switched off: no cookies, no netrc, no environment, no
retries, no redirects, no content encodings.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping

import requests
import urllib3

from runner.errors import RunnerError
from runner.oci.retry import Patience, parse_retry_after
from runner.registry.adapters import Adapters
from runner.registry.address import Origin, Reach, literal_reach, reach_of
from runner.registry.answer import Answer, Peer
from runner.registry.caller import Caller
from runner.registry.connection import OnConnect, Resolve, literal_is_forbidden, resolve
from runner.registry.failures import Cause, Route, explain, forbidden, is_passing, unavailable
from runner.registry.network import Network
from runner.registry.request import (
    SAFE,
    Authorization,
    Body,
    Message,
    Step,
    check_head,
    may_repeat,
    next_step,
    prepare,
)

MAX_REDIRECTS = 10
PAUSE_STEP_S = 0.2  # how long a wait may go on after it was cancelled

ANYBODY = Caller()
ONCE = Patience(attempts=1)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Transport:
    """Requests over kept connections. Thread-safe; ``close`` ends the idle ones.

    ``lookup``, ``sleep`` and ``dice`` are for tests: how names are resolved, how time passes and
    how delays are spread. ``on_connect`` is told of each connection before anything is sent.
    """

    def __init__(
        self,
        network: Network,
        *,
        lookup: Resolve = resolve,
        sleep: Callable[[float], None] = time.sleep,
        dice: Callable[[], float] = random.random,
        on_connect: OnConnect | None = None,
    ) -> None:
        self.network = network
        self._sleep = sleep
        self._dice = dice
        self._adapters = Adapters(network, lookup, on_connect)

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
        first = Step(method, url, _origin(url), led_by)
        patient_s = max(answer_s or 0.0, self.network.stall_s)
        message = Message(dict(headers or {}), body, auth, max_redirects, patient_s)
        answer = self._send_patiently(first, message, caller, patience or Patience())
        try:
            yield answer
        finally:
            answer.close()

    def close(self) -> None:
        """End the connections that are idle."""
        self._adapters.close()

    def _send_patiently(
        self, first: Step, message: Message, caller: Caller, patience: Patience
    ) -> Answer:
        attempt = 1
        while True:
            caller.check()
            wish_s: float | None = None
            try:
                answer = self._follow(first, message)
            except RunnerError as error:
                delay_s = patience.delay_s(attempt, dice=self._dice())
                if first.method not in SAFE or not is_passing(error) or delay_s is None:
                    raise
                reason = error.message
            else:
                wish_s = parse_retry_after(answer.headers.get("Retry-After"), now_s=time.time())
                delay_s = patience.delay_s(attempt, dice=self._dice(), retry_after_s=wish_s)
                if not may_repeat(answer.status, first.method, message.body) or delay_s is None:
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

    def _follow(self, first: Step, message: Message) -> Answer:
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
            step = next_step(step, answer, message.body)
        raise unavailable(
            Cause.REDIRECT,
            f"{first.origin.authority} redirects more than {message.max_redirects} times",
        )

    def _send(self, step: Step, message: Message) -> Answer:
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
        adapter = self._adapters.get(step.origin, home, proxy)
        try:
            response = adapter.send(
                prepare(step, message),
                stream=True,
                timeout=(self.network.stall_s, message.answer_s),
                proxies={step.origin.scheme: proxy} if proxy else None,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise explain(error, route, now_s=time.time(), stall_s=message.answer_s) from error
        # Through a proxy, only an address that is written out tells how far away its host is.
        address = None if proxy else adapter.gate.address
        reach = reach_of(address) if address else literal_reach(step.origin.host)
        peer = Peer(address, reach or Reach.PUBLIC)
        answer = Answer(response, route, peer, stall_s=self.network.stall_s)
        check_head(answer)
        return answer

    def pause(self, seconds: float, caller: Caller) -> None:
        """Wait; raise RunnerError(CANCELLED) when the caller is told to stop meanwhile."""
        while seconds > 0:
            caller.check()
            self._sleep(min(seconds, PAUSE_STEP_S))
            seconds -= PAUSE_STEP_S


def _is_trusted(network: Network, origin: Origin) -> bool:
    return bool({origin.host, origin.authority} & network.trusted_hosts)


def _origin(url: str) -> Origin:
    try:
        return Origin.of(url)
    except ValueError as problem:
        # The URL itself is not shown: it may be signed.
        raise unavailable(Cause.ANSWER, f"a URL is refused: {problem}") from problem
