"""An authorisation server of the distribution specification's token protocol, in this process."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support import loopback
from tests.support.certificates import Signer

SERVICE = "test-registry"
ISSUER = "test-issuer"


@dataclass
class TokenServer:
    """Grants what is asked to a user who proves to be one, and only ``pull`` to anybody."""

    signer: Signer
    users: dict[str, str]
    url: str = ""
    lifetime_s: int = 300  # of the tokens; negative: they have expired when they arrive
    is_pull_open: bool = True  # whether anybody may pull
    refresh_tokens: set[str] = field(default_factory=set)
    requests: list[tuple[str, dict[str, list[str]], str]] = field(default_factory=list)

    def grant(self, query: dict[str, list[str]], user: str | None) -> dict[str, Any]:
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = re.fullmatch(r"([^:]+):(.+):([^:]*)", scope).groups()  # type: ignore[union-attr]
            allowed = [
                action
                for action in actions.split(",")
                if user or (action == "pull" and self.is_pull_open)
            ]
            access.append({"type": kind, "name": name, "actions": allowed})
        token = self.signer.token(
            {
                "iss": ISSUER,
                "sub": user or "",
                "aud": SERVICE,
                "jti": secrets.token_hex(8),
                "access": access,
            },
            lifetime_s=self.lifetime_s,
        )
        answer: dict[str, Any] = {"token": token, "access_token": token}
        answer["expires_in"] = max(self.lifetime_s, 60)
        if user and query.get("access_type") == ["offline"]:
            answer["refresh_token"] = secrets.token_hex(16)
            self.refresh_tokens.add(answer["refresh_token"])
        return answer

    def basic_user(self, authorization: str) -> str | None:
        """Return the user; None for nobody. Raises PermissionError for a wrong password."""
        if not authorization.startswith("Basic "):
            return None
        name, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
        return self._check(name, password)

    def form_user(self, form: dict[str, list[str]]) -> str | None:
        if form.get("grant_type") == ["refresh_token"]:
            if form.get("refresh_token", [""])[0] not in self.refresh_tokens:
                raise PermissionError
            return next(iter(self.users))
        return self._check(form["username"][0], form["password"][0])

    def _check(self, name: str, password: str) -> str:
        if self.users.get(name) != password:
            raise PermissionError
        return name


@contextmanager
def serve_tokens(signer: Signer, users: dict[str, str]) -> Iterator[TokenServer]:
    """Serve on a free port of loopback while the context lasts."""
    tokens = TokenServer(signer, users)

    class Granting(loopback.Handler):
        def _by_password(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            authorization = self.headers.get("Authorization", "")
            tokens.requests.append(("GET", query, authorization.partition(" ")[0]))
            self._answer(query, lambda: tokens.basic_user(authorization))

        def _by_form(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            form = parse_qs(body.decode())
            tokens.requests.append(("POST", form, ""))
            self._answer(form, lambda: tokens.form_user(form))

        do_GET, do_POST = _by_password, _by_form  # noqa: N815

        def _answer(self, query: dict[str, list[str]], user: Any) -> None:
            try:
                status, answer = 200, tokens.grant(query, user())
            except PermissionError:
                status, answer = 401, {"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with loopback.running(loopback.Server(Granting)) as port:
        tokens.url = f"http://127.0.0.1:{port}/token"
        yield tokens
