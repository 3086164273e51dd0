"""Requests to one repository of one registry, proved by a login that only they may see."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from runner.errors import Kind, RunnerError
from runner.oci.challenge import Challenge, choose_challenge, parse_challenges
from runner.oci.errcode import kind_of, parse_faults
from runner.oci.retry import Patience, parse_retry_after
from runner.oci.scope import Scope, agree_scopes, parse_scopes
from runner.registry.address import Origin, Reach
from runner.registry.answer import Answer
from runner.registry.caller import Caller
from runner.registry.dockerconfig import Login
from runner.registry.failures import Cause
from runner.registry.request import Authorization, Body
from runner.registry.tokens import Tokens, Wish, basic, bearer
from runner.registry.transport import Transport

MAX_SHOWN_RETRY_AFTER_S = 7 * 86400


class FindLogin(Protocol):
    """Where logins come from; see :class:`~runner.registry.credentials.Credentials`."""

    def find(self, host: str, caller: Caller) -> Login | None:
        """Return the login for a registry's host; None: anonymous."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a daemon share."""

    transport: Transport
    credentials: FindLogin
    tokens: Tokens


class _Proof(NamedTuple):
    """An answer to a challenge; ``is_last``: when it is refused, that is the end."""

    auth: Authorization
    is_last: bool = True


class Session:
    """The requests of one caller. Thread-safe.

    ``host`` is whose login counts, ``base_url`` where its API is, ``scopes`` what tokens are for.
    """

    def __init__(
        self, services: Services, host: str, base_url: str, *scopes: Scope, caller: Caller
    ) -> None:
        self._services = services
        self.host = host
        self.base_url = base_url
        self.caller = caller
        self._origin = Origin.of(base_url)
        self._scopes = scopes
        self._lock = threading.Lock()
        self._wish: Wish | None = None  # what a token is asked for, once the registry has said it
        self._fixed: Authorization | None = None  # a proof that does not end
        self._reach = Reach.PUBLIC  # of the registry, once it has answered

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        patience: Patience | None = None,
        answer_s: float | None = None,
    ) -> Iterator[Answer]:
        """Send a request; give the answer, whatever its status.

        ``path`` is one below the base, or a URL that the registry sent: of another origin it gets
        no login, and must not be nearer than the registry. A 401 of the registry is answered once,
        with a login or a new token, where the body can be sent again. The rest is as of
        :meth:`Transport.open`.

        Raises RunnerError: REGISTRY_UNAVAILABLE, REGISTRY_DENIED, CANCELLED.
        """
        url = path if "://" in path else f"{self.base_url}{path}"
        is_own = url.startswith(f"{self.base_url}/")
        with contextlib.ExitStack() as stack:

            def send(auth: Authorization | None) -> Answer:
                stack.close()
                opened = self._services.transport.open(
                    method,
                    url,
                    headers=headers,
                    body=body,
                    auth=auth,
                    caller=self.caller,
                    patience=patience,
                    led_by=None if is_own else self._reach,
                    answer_s=answer_s,
                )
                return stack.enter_context(opened)

            auth = self._authorization()
            answer = send(auth)
            while self._wants_proof(answer) and (proof := self._prove(answer, auth)):
                auth = proof.auth
                answer = send(auth)
                if proof.is_last:
                    break
            if is_own and answer.route.origin == self._origin:
                self._reach = answer.peer.reach
            yield answer

    @property
    def token_host(self) -> str | None:
        """The host whose tokens the registry wants; None while it has wanted none."""
        with self._lock:
            return Origin.of(self._wish.realm).authority if self._wish else None

    @property
    def has_login(self) -> bool:
        """Whether anything was proved but the wish to pull."""
        with self._lock:
            return self._fixed is not None or (self._wish is not None and bool(self._wish.login))

    def refusal(self, answer: Answer, what: str = "") -> RunnerError:
        """Build the error of an answer whose status is not the expected one.

        ``what`` names what was asked for. The registry's own words are shown only where they are
        an error of the specification.
        """
        faults = () if answer.status < 400 else parse_faults(answer.read_prefix())
        kind = kind_of(answer.status, faults)
        words = "; ".join(str(fault) for fault in faults)
        asked = f" to {what}" if what else ""
        message = f"{answer.route} answered {answer.status}{asked}"
        wish_s = parse_retry_after(answer.headers.get("Retry-After"), now_s=answer.received_at_s)
        return RunnerError(
            kind,
            f"{message} ({words})" if words else message,
            hint=self._hint(kind),
            details={"cause": str(Cause.STATUS), "status": answer.status},
            retry_after_s=None if wish_s is None else int(min(wish_s, MAX_SHOWN_RETRY_AFTER_S)),
        )

    def wait(self, delay_s: float) -> None:
        """Wait; raise RunnerError(CANCELLED) when the caller is told to stop meanwhile."""
        self._services.transport.pause(delay_s, self.caller)

    def _hint(self, kind: Kind) -> str | None:
        return {
            Kind.REGISTRY_DENIED: f"check the name, and log in: runner login {self.host}; "
            "a registry may hide what you may not see",
            Kind.MODEL_NOT_FOUND: "check the name and the tag",
            Kind.RATE_LIMITED: f"wait, or log in for a higher limit: runner login {self.host}",
            Kind.REGISTRY_UNAVAILABLE: "try again later; what has arrived is kept",
        }.get(kind)

    def _wants_proof(self, answer: Answer) -> bool:
        # A storage behind a redirect may answer 401 too: its challenge is none of ours.
        return answer.status == 401 and answer.route.origin == self._origin

    def _authorization(self) -> Authorization | None:
        with self._lock:
            wish, fixed = self._wish, self._fixed
        if wish is None:
            return fixed
        return bearer(self._origin, self._services.tokens.get(wish, self.caller))

    def _prove(self, answer: Answer, used: Authorization | None) -> _Proof | None:
        """Answer a challenge; None when there is nothing better than what was refused."""
        challenge = choose_challenge(parse_challenges(answer.headers.get("WWW-Authenticate", "")))
        if challenge is None:
            return None
        login = self._services.credentials.find(self.host, self.caller)
        if login is not None and login.registry_token and used is None:
            # It may be one that only the token server takes: then that is asked next.
            direct = self._keep(None, bearer(self._origin, login.registry_token))
            return _Proof(direct, is_last=False)
        if challenge.scheme == "basic":
            if login is None or not login.password:
                return None
            # A helper may have a new password where the one before lasted some hours.
            auth = basic(self._origin, login)
            return None if used == auth else _Proof(self._keep(None, auth))
        wish = self._make_wish(challenge, answer, login)
        if wish is None:
            return None
        refused = used.value.removeprefix("Bearer ") if used else None
        token = self._services.tokens.get(wish, self.caller, refused=refused)
        return _Proof(self._keep(wish, bearer(self._origin, token)))

    def _make_wish(self, challenge: Challenge, answer: Answer, login: Login | None) -> Wish | None:
        realm = challenge.parameters.get("realm")
        if not realm:
            return None
        asked = parse_scopes(challenge.parameters.get("scope", ""))
        return Wish(
            realm=realm,
            service=challenge.parameters.get("service", "")[:256],
            scopes=agree_scopes(self._scopes, asked),
            registry=self._origin,
            reach=answer.peer.reach,
            login=login if login and (login.password or login.identity_token) else None,
        )

    def _keep(self, wish: Wish | None, auth: Authorization) -> Authorization:
        with self._lock:
            self._wish, self._fixed = wish, None if wish else auth
        return auth
