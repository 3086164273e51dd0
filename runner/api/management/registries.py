"""Routes that ask registries and hubs without moving a model."""

from __future__ import annotations

from typing import Any

from runner.api.call import Call
from runner.api.fields import Fields, Shape, text
from runner.errors import Kind, RunnerError
from runner.service import Diagnosis, Found, Transfers

DEFAULT_LIMIT = 32
MAX_TERM_CHARACTERS = 200
MAX_LOGIN_CHARACTERS = 16 * 1024


class Registries:
    """The handlers of these routes."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    async def search(self, call: Call) -> None:
        """List models that can be pulled: ``term``, ``limit``, ``source`` in the query."""
        term = call.query("term") or ""
        if len(term) > MAX_TERM_CHARACTERS:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"term: expected at most {MAX_TERM_CHARACTERS} characters",
                param="term",
            )
        source = call.query("source") or "all"
        result = await self._transfers.search(
            term,
            limit=_parse_limit(call.query("limit")),
            source=None if source == "all" else source,
        )
        rows = [_found(row) for row in result.found]
        await call.reply_json({"models": rows, "warnings": list(result.warnings)})

    async def diagnose(self, call: Call) -> None:
        """Try every step to the model ``name`` of the query, or to Docker Hub and Hugging Face."""
        name = (call.query("name") or "").strip() or None
        found = await self._transfers.diagnose(name)
        await call.reply_json([_diagnosis(one) for one in found])

    async def log_in(self, call: Call) -> None:
        """Keep a login that a registry accepts, where Docker keeps them."""
        _require_local(call)
        host, username, password = await call.read(_parse_login)
        kept_in = await self._transfers.log_in(host, username, password)
        await call.reply_json({"kept_in": kept_in})

    async def log_out(self, call: Call) -> None:
        """Forget a login."""
        _require_local(call)
        host = await call.read(lambda body: Fields(body, shape=LOGOUT).take(HOST))
        await call.reply_json({"removed": await self._transfers.log_out(host or "")})


def _require_local(call: Call) -> None:
    hint = "log in there, or send a bearer-token with each pull"
    call.require_local("logins can be changed", hint=hint)


HOST = text("host", "the registry's host; empty: Docker Hub's", max_characters=255)
USERNAME = text("username", "who logs in", max_characters=MAX_LOGIN_CHARACTERS)
PASSWORD = text("password", "a password or a token", max_characters=MAX_LOGIN_CHARACTERS)
LOGIN = Shape("login", (HOST, USERNAME, PASSWORD))
LOGOUT = Shape("logout", (HOST,))


def _parse_login(body: dict[str, Any]) -> tuple[str, str, str]:
    fields = Fields(body, shape=LOGIN)
    host, username, password = (fields.take(field) or "" for field in (HOST, USERNAME, PASSWORD))
    return host, username, password


def _parse_limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise RunnerError(
            Kind.INVALID_REQUEST, f"limit: expected a number, got {text[:20]!r}", param="limit"
        )
    return int(text)


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
