"""Ollama's routes for the models there are: list, tell, name, remove."""

from __future__ import annotations

import time
from collections.abc import Iterator

from runner.api import bodies
from runner.api.call import Call, Handler
from runner.api.fields import Fields, Ignored, Shape, text
from runner.api.keys import Scope
from runner.api.management.removing import remove
from runner.api.ollama import cards
from runner.api.ollama.names import MAX_NAME_CHARACTERS, MODEL, NAME, take_model
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.oci import Role
from runner.service import Catalogue, Engines

# Of Ollama, not ours: clients ask whether the API is new enough for them. Its fields are those of
# this release, from which the request and response types were taken.
API_VERSION = "0.13.5"

SHOW = Shape(
    "Ollama show request",
    (
        MODEL,
        NAME,
        *(
            Ignored(name, "the model is told of as it is stored")
            for name in ("system", "template", "options")
        ),
        Ignored("verbose", "long lists of the file's header are left out"),
    ),
)
DELETE = Shape("Ollama delete request", (MODEL, NAME))

_SOURCE = text("source", "the model's name", max_characters=MAX_NAME_CHARACTERS)
_DESTINATION = text("destination", "its further name", max_characters=MAX_NAME_CHARACTERS)
COPY = Shape("Ollama copy request", (_SOURCE, _DESTINATION))


class Models:
    """The handlers of the routes for models."""

    def __init__(self, catalogue: Catalogue, engines: Engines) -> None:
        self._catalogue = catalogue
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "tell which of Ollama's releases this speaks like"
        yield Route("GET", "/api/version", Scope.INFER, self.version, about)
        about = "list the stored models, as Ollama does"
        yield Route("GET", "/api/tags", Scope.INFER, self.tags, about)
        about = "list the models in memory, as Ollama does"
        yield Route("GET", "/api/ps", Scope.INFER, self.running, about)
        about = "tell of a model, as Ollama does"
        yield Route("POST", "/api/show", Scope.INFER, self.show, about, SHOW)
        about = "give a model one more name, as Ollama does"
        yield Route("POST", "/api/copy", Scope.MANAGE, self.copy, about, COPY)
        about = "take a name from a model, and the model with its last one, as Ollama does"
        yield Route("DELETE", "/api/delete", Scope.MANAGE, self.delete, about, DELETE)

    async def version(self, call: Call) -> None:
        """Tell which of Ollama's releases this speaks like."""
        await call.reply_json({"version": API_VERSION})

    async def tags(self, call: Call) -> None:
        """List the stored models."""
        await call.reply_json(cards.tags(await self._catalogue.list()))

    async def running(self, call: Call) -> None:
        """List the models in memory."""
        stored = await self._catalogue.list()
        shown = cards.running(self._engines.running(), stored, now_s=time.time())
        await call.reply_json(shown)

    async def show(self, call: Call) -> None:
        """Tell of one model."""
        name = await bodies.read(call, SHOW, take_model)
        model = await self._catalogue.resolve(name)
        templates = await self._catalogue.texts(model, Role.CHAT_TEMPLATE)
        licenses = await self._catalogue.texts(model, Role.LICENSE)
        template = next(iter(templates), None)
        await call.reply_json(cards.show(model, template=template, licenses=licenses))

    async def delete(self, call: Call) -> None:
        """Take a name from a model, and the model with its last name, unless it is busy."""
        name = await bodies.read(call, DELETE, take_model)
        await remove(name, self._catalogue, self._engines)
        await call.reply(b"")

    async def copy(self, call: Call) -> None:
        """Give a model one more name."""
        source, destination = await bodies.read(call, COPY, _parse_copy)
        await self._catalogue.tag(source, destination)
        await call.reply(b"")


def _parse_copy(fields: Fields) -> tuple[str, str]:
    names = []
    for field in (_SOURCE, _DESTINATION):
        name = fields.take(field)
        if not name or not name.strip():
            raise RunnerError(Kind.INVALID_REQUEST, f"{field.name} is required", param=field.name)
        names.append(name)
    return names[0], names[1]
