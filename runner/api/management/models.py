"""Docker Model Runner's ``/models`` routes: list, inspect, name."""

from __future__ import annotations

from collections.abc import Iterator

from runner.api import cards
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import flag, required, text
from runner.api.keys import Scope
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.service import Catalogue, Transfers

REMOTE = flag("remote", "whether its registry is asked")
REPOSITORY = required(text("repo", "the new name's repository"))
TAG = required(text("tag", "the new name's tag"))


class Models:
    """The handlers of the store's routes."""

    def __init__(self, catalogue: Catalogue, transfers: Transfers) -> None:
        self._catalogue = catalogue
        self._transfers = transfers

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes; after those of other handlers that begin alike."""
        yield Route("GET", "/models", Scope.INFER, self.list, "list the stored models")
        about = "give a model one more name"
        query = (REPOSITORY, TAG)
        yield Route("POST", "/models/{name}/tag", Scope.MANAGE, self.tag, about, query=query)
        about = "tell of a model"
        yield Route("GET", "/models/{name}", Scope.INFER, self.show, about, query=(REMOTE,))
        about = "refuse what cannot be done with a model"
        yield Route("POST", "/models/{name}", Scope.MANAGE, self.refuse, about)

    async def list(self, call: Call) -> None:
        """List the stored models."""
        models = [cards.dmr_object(model) for model in await self._catalogue.list()]
        await call.reply_json(models)

    async def show(self, call: Call) -> None:
        """Tell of one model: of the store, or with ``remote=true`` of its registry."""
        if not call.query(REMOTE):
            stored = await self._catalogue.resolve(call.name)
            shown = cards.dmr_object(stored) | {"files": cards.files(stored.manifest)}
            await call.reply_json(shown)
            return
        call.allowed.require(Scope.MANAGE)  # it has us connect to whatever host the name says
        async with while_wanted(call.exchange), self._transfers.inspect(call.name) as watch:
            model = await watch.result()
        await call.reply_json(cards.dmr_object(model))

    async def refuse(self, call: Call) -> None:
        """Refuse what cannot be done with a model, as Docker Model Runner does."""
        action = call.name.rpartition("/")[2]
        raise RunnerError(
            Kind.NOT_FOUND,
            f'unknown action "{action}"',
            hint="POST /models/NAME/ is followed by tag, push or repackage",
        )

    async def tag(self, call: Call) -> None:
        """Give a model one more name."""
        repository, tag = call.query(REPOSITORY), call.query(TAG)
        if not repository or not tag:
            raise RunnerError(Kind.INVALID_REQUEST, "missing repo or tag query parameter")
        target = f"{repository}:{tag}"
        await self._catalogue.tag(call.name, target)
        message = f'Model tagged successfully with "{target}"'
        await call.reply_json({"message": message, "target": target}, status=201)
