"""Routes that ask registries and hubs without moving a model."""

from __future__ import annotations

from typing import Any

from runner.api.call import Call
from runner.errors import Kind, RunnerError
from runner.service import Found, Transfers

DEFAULT_LIMIT = 32
MAX_TERM_CHARACTERS = 200


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
