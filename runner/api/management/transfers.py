"""Docker Model Runner's routes that move models: their answers tell progress line by line."""

from __future__ import annotations

from collections.abc import Iterator

from runner.api import blocking, bodies, jsonbody
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import Fields, Shape, refuse, required, secret, text, word
from runner.api.keys import Scope
from runner.api.management.answers import ArchiveAnswer, Outcome, ProgressAnswer
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.service import Layout, Pulled
from runner.service import Transfers as Service

MAX_SOURCE_CHARACTERS = 4096
MAX_TOKEN_CHARACTERS = 16 * 1024


LAYOUT = word("layout", "how the archive is laid out", tuple(Layout))


class Transfers:
    """The handlers of the transfers' routes."""

    def __init__(self, transfers: Service) -> None:
        self._transfers = transfers

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "pull a model, telling progress line by line"
        yield Route("POST", "/models/create", Scope.MANAGE, self.pull, about, PULL)
        about = "store the models of a tar archive, which is the body"
        yield Route("POST", "/models/load", Scope.MANAGE, self.load, about)
        about = "push a model, telling progress line by line"
        yield Route("POST", "/models/{name}/push", Scope.MANAGE, self.push, about, PUSH)
        about = "give a model as a tar archive"
        yield Route(
            "GET", "/models/{name}/export", Scope.MANAGE, self.export, about, query=(LAYOUT,)
        )

    async def pull(self, call: Call) -> None:
        """Bring a model into the store. A client that leaves ends it if no other waits for it."""
        source, token = await bodies.read(call, PULL, _parse_pull)
        answer = ProgressAnswer(call, "pull")
        async with while_wanted(call.exchange), self._transfers.pull(source, token) as watch:
            await answer.follow(watch, _pulled)

    async def push(self, call: Call) -> None:
        """Send a model to the registry that its name says."""
        token = await _read_token(call)
        answer = ProgressAnswer(call, "push")
        async with while_wanted(call.exchange), self._transfers.push(call.name, token) as watch:
            await answer.follow(watch, lambda _: Outcome("Model pushed successfully"))

    async def export(self, call: Call) -> None:
        """Give a model as a tar archive: Docker's, or with ``layout=oci`` an OCI image layout.

        An archive that cannot be completed ends without its last chunk, which every client sees.
        """
        layout = call.query(LAYOUT) or Layout.DOCKER
        answer = ArchiveAnswer(call)
        async with while_wanted(call.exchange), answer.file() as file:
            async with self._transfers.save(call.name, file, layout=layout) as watch:
                await watch.result()
            await answer.finish()

    async def load(self, call: Call) -> None:
        """Store the models of a tar archive: Docker's, or an OCI image layout."""
        async with (
            while_wanted(call.exchange),
            blocking.body_file(call.exchange) as file,
            self._transfers.load(file) as watch,
        ):
            models = await watch.result()
        await ProgressAnswer(call, "load").finish(Outcome("Model loaded successfully", models))


def _pulled(pulled: Pulled) -> Outcome:
    if pulled.is_cached:
        return Outcome(f"Using cached model: {pulled.model.config.size}")
    return Outcome("Model pulled successfully")


FROM = required(
    text("from", "the model's name, or where it is", max_characters=MAX_SOURCE_CHARACTERS),
    'send {"from": MODEL}',
)
TOKEN = secret(
    "bearer-token",
    "what the registry is shown instead of a login",
    max_characters=MAX_TOKEN_CHARACTERS,
)
PULL = Shape("pull", (FROM, TOKEN))
PUSH = Shape("push", (TOKEN,))


def _parse_pull(fields: Fields) -> tuple[str, str | None]:
    source = fields.take(FROM).strip()
    if not source:
        refuse("from", "the name of a model", source)
    return source, _take_token(fields)


async def _read_token(call: Call) -> str | None:
    """Read a body that may hold a token, or be missing."""
    body = await call.exchange.read_body(call.max_body_bytes)
    return _take_token(Fields(jsonbody.decode_object(body), shape=PUSH)) if body else None


def _take_token(fields: Fields) -> str | None:
    token = fields.take(TOKEN)
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise RunnerError(  # it goes into a header as it is; it stays out of errors
            Kind.INVALID_REQUEST, "bearer-token: expected visible ASCII", param="bearer-token"
        )
    return token or None
