"""Ollama's routes that move models: pull and push, telling progress on lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from runner.api.call import Call, Handler, while_wanted
from runner.api.choosing import ignored_header
from runner.api.faults import JSON_TYPE
from runner.api.fields import Fields, Ignored, Shape, boolean
from runner.api.keys import Scope
from runner.api.ollama import faults, progress
from runner.api.ollama.names import MODEL, NAME, take_model
from runner.api.ollama.progress import Manner
from runner.api.ollama.text import CONTENT_TYPE
from runner.api.routes import Route
from runner.errors import RunnerError
from runner.net import Stream
from runner.service import Transfers as Service
from runner.service import Watch

T = TypeVar("T")

PROGRESS_S = 0.1  # between two lines of a layer

STREAM = boolean("stream", "whether progress is told; it is unless told not to")
_SETTING = "is a setting of the server"
PULL = Shape(
    "Ollama pull or push request",
    (
        MODEL,
        NAME,
        STREAM,
        Ignored("insecure", f"which registries are spoken to without TLS {_SETTING}"),
        Ignored("username", f"a login {_SETTING}: POST /registries/login"),
        Ignored("password", f"a login {_SETTING}: POST /registries/login"),
    ),
)


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """A model to move."""

    name: str
    stream: bool
    ignored: tuple[str, ...]


class Transfers:
    """The handlers of the routes that move models."""

    def __init__(self, transfers: Service) -> None:
        self._transfers = transfers

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "bring a model into the store, as Ollama does"
        yield Route("POST", "/api/pull", Scope.MANAGE, self.pull, about, PULL)
        about = "send a model to its registry, as Ollama does"
        yield Route("POST", "/api/push", Scope.MANAGE, self.push, about, PULL)

    async def pull(self, call: Call) -> None:
        """Bring a model into the store. A client that leaves ends it if no other waits for it."""
        wanted = await call.read(_parse)
        async with while_wanted(call.exchange), self._transfers.pull(wanted.name) as watch:
            await follow(call, watch, progress.PULL, wanted)

    async def push(self, call: Call) -> None:
        """Send a model to the registry that its name says."""
        wanted = await call.read(_parse)
        async with while_wanted(call.exchange), self._transfers.push(wanted.name) as watch:
            await follow(call, watch, progress.PUSH, wanted)


def _parse(body: dict[str, Any]) -> TransferRequest:
    fields = Fields(body, shape=PULL)
    name, stream = take_model(fields), fields.take(STREAM)
    return TransferRequest(name.strip(), stream is not False, tuple(fields))


async def follow(call: Call, watch: Watch[T], manner: Manner, wanted: TransferRequest) -> None:
    """Tell how a transfer goes until it is over, or without ``stream`` that it is.

    The head waits for the first news, so that what is refused has its status.
    """
    stream: Stream | None = None
    while wanted.stream and (news := await watch.more()):
        if told := progress.lines(news, manner):
            if stream is None:
                stream = await _open(call, wanted)
                told = progress.line(manner.opening) + told
            await stream.send(told)
        await watch.pause(PROGRESS_S)
    try:
        await watch.result()
    except RunnerError as error:
        if stream is None:
            raise
        await stream.send(faults.render_line(error))
    else:
        if stream is None:
            await succeed(call, manner, wanted)
            return
        await stream.send(progress.line(progress.SUCCESS))
    await stream.finish()


async def succeed(call: Call, manner: Manner, wanted: TransferRequest) -> None:
    """Tell that it worked, when there was nothing to tell before."""
    if not wanted.stream:
        headers = [JSON_TYPE, *ignored_header(wanted.ignored)]
        await call.reply(progress.line(progress.SUCCESS), headers=headers)
        return
    stream = await _open(call, wanted)
    await stream.send(progress.line(manner.opening) + progress.line(progress.SUCCESS))
    await stream.finish()


async def _open(call: Call, wanted: TransferRequest) -> Stream:
    return await call.open_stream(CONTENT_TYPE, headers=ignored_header(wanted.ignored))
