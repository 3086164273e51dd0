"""Models in the shape that Anthropic's SDKs read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from runner.api import cards
from runner.api.call import Call, Handler
from runner.api.cards import StoredModel
from runner.api.fields import count, text
from runner.api.keys import Scope
from runner.api.routes import Route
from runner.service import Catalogue

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000

LIMIT = count("limit", f"how many models are told, {DEFAULT_LIMIT} without it", 1, MAX_LIMIT)
AFTER_ID = text("after_id", "tell those that follow this one")
BEFORE_ID = text("before_id", "tell those that come before this one")


class Models:
    """The handlers of Anthropic's model routes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        path, about = "/anthropic/v1/models", "list the stored models"
        query = (LIMIT, AFTER_ID, BEFORE_ID)
        yield Route("GET", path, Scope.INFER, self.list, about, query=query)
        yield Route("GET", f"{path}/{{name}}", Scope.INFER, self.show, "tell of one model")

    async def list(self, call: Call) -> None:
        """List a page of the stored models, and of the plain names that stand for one."""
        shown = [_render(model, name_of(model)) for model in await self._catalogue.list()]
        shown += [_render(model, name) for name, model in await self._catalogue.aliased()]
        limit = call.query(LIMIT) or DEFAULT_LIMIT
        after, before = call.query(AFTER_ID), call.query(BEFORE_ID)
        await call.reply_json(page(shown, limit, after_id=after, before_id=before))

    async def show(self, call: Call) -> None:
        """Tell of one model."""
        model = await self._catalogue.resolve(call.name)
        await call.reply_json(_render(model, name_of(model)))


def name_of(model: StoredModel) -> str:
    """Return the name that a list shows."""
    return model.tags[0] if model.tags else str(model.id)


def page(
    shown: Sequence[dict[str, Any]], limit: int, *, after_id: str | None, before_id: str | None
) -> dict[str, Any]:
    """Cut a page out of a list; an id that is not there cuts nothing."""
    ids = [model["id"] for model in shown]
    if before_id in ids:
        end = ids.index(before_id)
        start = max(0, end - limit)
        has_more = start > 0
    else:
        start = ids.index(after_id) + 1 if after_id in ids else 0
        end = start + limit
        has_more = end < len(ids)
    data = shown[start:end]
    return {
        "data": data,
        "has_more": has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _render(model: StoredModel, name: str) -> dict[str, Any]:
    context = model.config.context_size or cards.trained_context(model.config)
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": datetime.fromtimestamp(model.created_s, UTC).isoformat(),
        **({"max_input_tokens": context} if context else {}),
    }
