"""Routes that ask registries and hubs without moving a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.api import bodies
from runner.api.call import Call, Handler
from runner.api.fields import Field, Fields, Shape, as_text, refuse, secret, text
from runner.api.keys import Scope
from runner.api.routes import Route
from runner.service import Diagnosis, Found, Transfers

DEFAULT_LIMIT = 32
MAX_TERM_CHARACTERS = 200
MAX_LOGIN_CHARACTERS = 16 * 1024


def _read_limit(value: Any, param: str) -> int:
    digits = as_text(value, param) or str(DEFAULT_LIMIT)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 6):
        refuse(param, "a number", value)
    return int(digits)


TERM = text("term", "what to look for", max_characters=MAX_TERM_CHARACTERS)
LIMIT = Field("limit", "how many are told", {"type": "integer", "minimum": 0}, _read_limit)
SOURCE = text("source", 'where: "all", or one of the places')
NAME = text("name", "the model to reach; without it, Docker Hub and Hugging Face are")


class Registries:
    """The handlers of these routes."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about, query = "list models that can be pulled", (TERM, LIMIT, SOURCE)
        yield Route("GET", "/registries/search", Scope.MANAGE, self.search, about, query=query)
        about = "try every step to a registry"
        yield Route("GET", "/registries/doctor", Scope.MANAGE, self.diagnose, about, query=(NAME,))
        about = "keep a login"
        yield Route("POST", "/registries/login", Scope.ADMIN, self.log_in, about, LOGIN)
        about = "forget a login"
        yield Route("POST", "/registries/logout", Scope.ADMIN, self.log_out, about, LOGOUT)

    async def search(self, call: Call) -> None:
        """List models that can be pulled."""
        source = call.query(SOURCE) or "all"
        limit = call.query(LIMIT)
        result = await self._transfers.search(
            call.query(TERM) or "",
            limit=DEFAULT_LIMIT if limit is None else limit,
            source=None if source == "all" else source,
        )
        rows = [_found(row) for row in result.found]
        await call.reply_json({"models": rows, "warnings": list(result.warnings)})

    async def diagnose(self, call: Call) -> None:
        """Try every step to a model, or to Docker Hub and Hugging Face."""
        name = (call.query(NAME) or "").strip() or None
        found = await self._transfers.diagnose(name)
        await call.reply_json([_diagnosis(one) for one in found])

    async def log_in(self, call: Call) -> None:
        """Keep a login that a registry accepts, where Docker keeps them."""
        _require_local(call)
        host, username, password = await bodies.read(call, LOGIN, _parse_login)
        kept_in = await self._transfers.log_in(host, username, password)
        await call.reply_json({"kept_in": kept_in})

    async def log_out(self, call: Call) -> None:
        """Forget a login."""
        _require_local(call)
        host = await bodies.read(call, LOGOUT, lambda fields: fields.take(HOST))
        await call.reply_json({"removed": await self._transfers.log_out(host or "")})


def _require_local(call: Call) -> None:
    hint = "log in there, or send a bearer-token with each pull"
    call.require_local("logins can be changed", hint=hint)


HOST = text("host", "the registry's host; empty: Docker Hub's", max_characters=255)
USERNAME = text("username", "who logs in", max_characters=MAX_LOGIN_CHARACTERS)
PASSWORD = secret("password", "a password or a token", max_characters=MAX_LOGIN_CHARACTERS)
LOGIN = Shape("login", (HOST, USERNAME, PASSWORD))
LOGOUT = Shape("logout", (HOST,))


def _parse_login(fields: Fields) -> tuple[str, str, str]:
    host, username, password = (fields.take(field) or "" for field in (HOST, USERNAME, PASSWORD))
    return host, username, password


def _found(row: Found) -> dict[str, Any]:
    """Render a row; what is not known is left out."""
    shown = {
        "name": row.name,
        "description": row.listed.description,
        "source": row.source,
        "quantization": row.offer.quantization,
        "quantizations": list(row.offer.quantizations),
        "size_bytes": row.offer.size_bytes,
        "fit": None if row.fit is None else row.fit.value,
        "license": row.listed.license,
        "context_length": row.listed.context_length,
        "gated": row.listed.is_gated,
    }
    known = {name: fact for name, fact in shown.items() if fact}
    return known | {"downloads": row.listed.downloads, "stars": row.listed.stars}


def _diagnosis(found: Diagnosis) -> dict[str, Any]:
    steps = [
        {"name": step.name, "verdict": step.verdict.value, "detail": step.detail}
        | ({"remedy": step.remedy} if step.remedy else {})
        for step in found.steps
    ]
    return {
        "target": found.target,
        "healthy": found.is_healthy,
        "steps": steps,
        "hosts": list(found.hosts),
    }
