"""Ollama's routes for text: ``/api/chat`` and ``/api/generate``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from runner.api.answering import Answering, Form
from runner.api.call import Call, Handler, while_wanted
from runner.api.choosing import ignored_header
from runner.api.faults import JSON_TYPE
from runner.api.keep_alive import permitted
from runner.api.keys import Scope
from runner.api.ollama import faults, render
from runner.api.ollama.parse import (
    CHAT,
    GENERATE,
    Keeping,
    TextRequest,
    parse_chat,
    parse_generate,
)
from runner.api.ollama.render import Said, Timing
from runner.api.routes import Route
from runner.service import Catalogue, Engines, Lease
from runner.wire.messages import Piece

CONTENT_TYPE = "application/x-ndjson"


class Text:
    """The handlers of the routes for text."""

    def __init__(self, engines: Engines, catalogue: Catalogue, *, patience_s: float) -> None:
        form = Form(
            error_event=faults.render_line, content_type=CONTENT_TYPE, heartbeat=b""
        )  # a line that says nothing would be one to Ollama's clients
        self._answering = Answering(engines, form, patience_s=patience_s)
        self._engines = engines
        self._catalogue = catalogue

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "go on with a conversation, as Ollama does"
        yield Route("POST", "/api/chat", Scope.INFER, self.chat, about, CHAT)
        about = "answer a prompt, as Ollama does"
        yield Route("POST", "/api/generate", Scope.INFER, self.generate, about, GENERATE)

    async def chat(self, call: Call) -> None:
        """Go on with a conversation."""
        await self._answer(call, await call.read(parse_chat), render.chat_members)

    async def generate(self, call: Call) -> None:
        """Answer a prompt."""
        await self._answer(call, await call.read(parse_generate), render.generate_members)

    async def _answer(
        self, call: Call, asked: TextRequest | Keeping, members: Callable[[Piece], Said]
    ) -> None:
        timing = arrival()
        if isinstance(asked, Keeping):
            await keep(asked, call, self._engines, self._catalogue)
            is_loaded = asked.keep_alive_s != 0
            said = members(render.NOTHING)
            body = render.kept(asked.model, said, is_loaded=is_loaded, now=timing.now())
            _, ignored = permitted(asked, call.allowed)
            await call.reply(body, headers=[JSON_TYPE, *ignored_header(ignored)])
            return

        async def begin(_: Lease) -> render.Answer:
            return render.Answer(asked.model, members, timing, timing.elapsed_ns())

        await self._answering.give(call, asked, begin)


async def keep(asked: Keeping, call: Call, engines: Engines, catalogue: Catalogue) -> None:
    """Load the model, or with 0 seconds unload it: a busy one when it falls idle.

    Raises FORBIDDEN for who may not unload: that is all it asks for, so it cannot be ignored.
    """
    if asked.keep_alive_s == 0:
        call.allowed.require(Scope.MANAGE)
        id = str((await catalogue.resolve(asked.model)).id)
        await engines.unload([id])
        if all(running.id != id for running in engines.running()):
            return
    keep_alive_s, _ = permitted(asked, call.allowed)
    async with (
        while_wanted(call.exchange),
        await engines.lease(asked.model, keep_alive_s=keep_alive_s),
    ):
        pass


def arrival() -> Timing:
    """Take the time of a request that just came."""
    return Timing(time.time_ns(), time.monotonic_ns(), time.monotonic_ns)
