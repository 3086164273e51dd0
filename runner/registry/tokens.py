"""Bearer tokens of registries: fetched, kept while they last, renewed before they end.

Source: distribution's token authentication specification, GET, and its OAuth2 form, POST.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from runner.errors import Kind, RunnerError
from runner.oci.scope import Scope
from runner.registry.address import Origin, Reach
from runner.registry.answer import Answer
from runner.registry.caller import Caller
from runner.registry.dockerconfig import Login
from runner.registry.failures import Cause, unavailable
from runner.registry.realm import judge_realm
from runner.registry.request import Authorization
from runner.registry.transport import Transport

CLIENT_ID = "runner"
MAX_TOKEN_BYTES = 64 * 1024  # of the token server's answer
MAX_TOKENS = 256
DEFAULT_LIFETIME_S = 60  # when the server names none: the specification's
MARGIN_S = 10.0  # renewed so long before the end, at most half its life

_TOKEN = re.compile(r"[!-~]{1,16384}")  # one that has a line break would end the header


@dataclass(frozen=True, slots=True)
class Wish:
    """What a token is asked for. Equal wishes share one token."""

    realm: str
    service: str
    scopes: tuple[Scope, ...]
    registry: Origin
    reach: Reach  # how far away the registry is
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str = field(repr=False)
    renew_at_s: float


@dataclass(slots=True)
class _Slot:
    """What is kept for a wish; ``busy`` is held while it is fetched."""

    busy: threading.Lock = field(default_factory=threading.Lock)
    kept: _Kept | None = None


class Tokens:
    """The tokens of one daemon, for all registries and callers. Thread-safe."""

    def __init__(
        self, transport: Transport, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._slots: OrderedDict[Wish, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, wish: Wish, caller: Caller, *, refused: str | None = None) -> str:
        """Return a token, from memory while it lasts; not the one that a registry ``refused``.

        Callers who wish the same at once cause one request. Raises RunnerError: REGISTRY_DENIED for
        a login that is refused or must not be sent, RATE_LIMITED, REGISTRY_UNAVAILABLE, CANCELLED.
        """
        with self._lock:
            slot = self._slots.setdefault(wish, _Slot())
            self._slots.move_to_end(wish)
            if len(self._slots) > MAX_TOKENS:
                self._slots.popitem(last=False)
        with slot.busy:
            kept = slot.kept
            if kept is None or kept.token == refused or self._clock() >= kept.renew_at_s:
                kept = slot.kept = self._fetch(wish, caller)
            return kept.token

    def _fetch(self, wish: Wish, caller: Caller) -> _Kept:
        origin = judge_realm(
            wish.realm,
            wish.registry,
            has_secret=wish.login is not None,
            trusted_hosts=self._transport.network.trusted_hosts,
        )
        login = wish.login
        if login is not None and login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token}
            return self._post(wish, form, origin, caller)
        kept = self._get(wish, origin, caller)
        if kept is None and login is not None:
            # A token server of OAuth2 only, as some clouds have.
            form = {
                "grant_type": "password",
                "username": login.username,
                "password": login.password,
            }
            return self._post(wish, form, origin, caller)
        if kept is None:
            raise _bad_answer(origin, "knows no GET")
        return kept

    def _get(self, wish: Wish, origin: Origin, caller: Caller) -> _Kept | None:
        """Ask with GET; None when the server takes POST only."""
        query = [("service", wish.service)] if wish.service else []
        query += [("scope", str(scope)) for scope in wish.scopes]
        auth = None
        if wish.login is not None:
            query.append(("account", wish.login.username))
            auth = basic(origin, wish.login)
        joint = "&" if "?" in wish.realm else "?"
        url = f"{wish.realm}{joint}{urlencode(query)}" if query else wish.realm
        with self._open("GET", url, wish, origin, caller, auth=auth) as answer:
            if answer.status in (404, 405):
                return None
            return self._read(answer, wish)

    def _post(self, wish: Wish, grant: dict[str, str], origin: Origin, caller: Caller) -> _Kept:
        form = grant | {"client_id": CLIENT_ID, "service": wish.service}
        if wish.scopes:
            form["scope"] = " ".join(str(scope) for scope in wish.scopes)
        body = urlencode(form).encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        opened = self._open("POST", wish.realm, wish, origin, caller, headers=headers, body=body)
        with opened as answer:
            return self._read(answer, wish)

    def _open(
        self, method: str, url: str, wish: Wish, origin: Origin, caller: Caller, **options: Any
    ) -> Any:
        # The registry's own host is as far away as it is; any other may not be nearer.
        led_by = None if origin.host == wish.registry.host else wish.reach
        return self._transport.open(
            method, url, caller=caller, led_by=led_by, max_redirects=0, **options
        )

    def _read(self, answer: Answer, wish: Wish) -> _Kept:
        origin = answer.route.origin
        if answer.status in (400, 401, 403):
            who = f"the login for {wish.registry.authority}" if wish.login else "anybody"
            raise RunnerError(
                Kind.REGISTRY_DENIED,
                f"the token server {origin.authority} refused {who} with {answer.status}",
                hint=f"log in again: runner login {wish.registry.authority}",
            )
        if answer.status == 429:
            raise RunnerError(
                Kind.RATE_LIMITED,
                f"the token server {origin.authority} answered 429",
                hint="wait, or log in for a higher limit",
            )
        if answer.status != 200:
            # The body is never shown: whoever chose the realm could read with our eyes.
            raise _bad_answer(origin, f"answered {answer.status}")
        value = answer.read_json(MAX_TOKEN_BYTES)
        members: Mapping[str, Any] = value if isinstance(value, dict) else {}
        token = members.get("token") or members.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _bad_answer(origin, "sent no token of visible characters")
        lifetime_s = members.get("expires_in")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float):
            lifetime_s = DEFAULT_LIFETIME_S
        lifetime_s = min(max(float(lifetime_s), DEFAULT_LIFETIME_S), 86400.0)
        return _Kept(token, self._clock() + lifetime_s - min(MARGIN_S, lifetime_s / 2))


def basic(origin: Origin, login: Login) -> Authorization:
    """Prove a password, RFC 7617."""
    pair = f"{login.username}:{login.password}".encode()
    return Authorization(origin, f"Basic {base64.b64encode(pair).decode('ascii')}")


def bearer(origin: Origin, token: str) -> Authorization:
    """Show a token, RFC 6750; raise RunnerError(REGISTRY_DENIED) for one no header can hold."""
    if not _TOKEN.fullmatch(token):
        raise RunnerError(
            Kind.REGISTRY_DENIED,
            "the token for the registry has characters that no token has, or too many",
            hint="give it as it was issued, without blanks and line breaks",
        )
    return Authorization(origin, f"Bearer {token}")


def _bad_answer(origin: Origin, problem: str) -> RunnerError:
    return unavailable(Cause.ANSWER, f"the token server {origin.authority} {problem}")
