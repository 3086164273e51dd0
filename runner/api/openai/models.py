"""``GET /v1/models`` and ``GET /v1/models/{name}``."""

from __future__ import annotations

from collections.abc import Iterator

from runner.api import cards
from runner.api.call import Call, Handler
from runner.api.keys import Scope
from runner.api.routes import OPENAI_PREFIXES, Route
from runner.service import Catalogue, Engines


class Models:
    """The handlers of OpenAI's model routes."""

    def __init__(self, catalogue: Catalogue, engines: Engines) -> None:
        self._catalogue = catalogue
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        for prefix in OPENAI_PREFIXES:
            path = f"{prefix}/models"
            yield Route("GET", path, Scope.INFER, self.list, "list the stored models")
            yield Route("GET", f"{path}/{{name}}", Scope.INFER, self.show, "tell of one model")

    async def list(self, call: Call) -> None:
        """List every stored model once, under its first tag."""
        contexts = self._contexts()
        models = [
            cards.openai_object(model, context_size=contexts.get(str(model.id)))
            for model in await self._catalogue.list()
        ]
        await call.reply_json({"object": "list", "data": models})

    async def show(self, call: Call) -> None:
        """Tell of one model."""
        model = await self._catalogue.resolve(call.name)
        context_size = self._contexts().get(str(model.id))
        await call.reply_json(cards.openai_object(model, context_size=context_size))

    def _contexts(self) -> dict[str, int]:
        """Return the context of each loaded model, by id."""
        return {
            running.id: running.settings.context_size
            for running in self._engines.running()
            if running.settings is not None
        }
