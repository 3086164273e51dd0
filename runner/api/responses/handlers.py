"""The handlers of the Responses API: answers are made, kept, told again and deleted."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import msgspec

from runner.api.answering import Answering, Form
from runner.api.asking import ChatRequest
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import count, flag, text, word
from runner.api.keys import Scope
from runner.api.openai.preloading import preloading
from runner.api.questions import ask
from runner.api.responses import parse, render, replay
from runner.api.responses.errors import named
from runner.api.responses.items import Item, name_items
from runner.api.responses.parse import ResponseRequest
from runner.api.responses.references import References, at
from runner.api.responses.shape import SHAPE
from runner.api.routes import LLAMA_PREFIXES, OPENAI_PREFIXES, Route
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease, ResponseStore, StoredResponse

DEFAULT_PAGE = 20
MAX_PAGE = 100

LIMIT = count("limit", f"how many items are listed; {DEFAULT_PAGE} if absent", 1, MAX_PAGE)
AFTER = text("after", "the item after which the list goes on")
ORDER = word("order", "the newest first, unless it is asc", ("asc", "desc"))
STREAM = flag("stream", "whether it is told as events, each text in one piece")
STARTING_AFTER = count(
    "starting_after", "the number of the last event that is left out", 0, replay.MAX_EVENTS
)


class Responses:
    """The handlers, over what is kept of earlier responses."""

    def __init__(self, engines: Engines, store: ResponseStore, *, patience_s: float) -> None:
        self._engines = engines
        self._store = store
        self._patience_s = patience_s

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes; Docker Model Runner has them without a version in the path, too."""
        create = preloading(self._engines, self.create)
        for prefix in (*LLAMA_PREFIXES, *OPENAI_PREFIXES):
            path, one = f"{prefix}/responses", f"{prefix}/responses/{{name}}"
            about = "answer a request of items"
            yield Route("POST", path, Scope.INFER, create, about, SHAPE)
            about = "count the tokens of a request of items"
            yield Route("POST", f"{path}/input_tokens", Scope.INFER, self.count, about, SHAPE)
            about = "list the items that a response was made of"
            items, paging = f"{one}/input_items", (AFTER, LIMIT, ORDER)
            yield Route("GET", items, Scope.INFER, self.list_input, about, query=paging)
            about = "refuse: nothing is made in the background"
            yield Route("POST", f"{one}/cancel", Scope.INFER, self.cancel, about)
            about = "tell a response again"
            query = (STREAM, STARTING_AFTER)
            yield Route("GET", one, Scope.INFER, self.show, about, query=query)
            yield Route("DELETE", one, Scope.INFER, self.delete, "delete a response")

    async def create(self, call: Call) -> None:
        """Answer one request."""
        request, asked = await self._read(call)
        key = secrets.token_hex(16)
        answer = render.Answer(
            render.Identity(key=key, created_s=int(time.time()), echo=request.echo),
            request.telling,
            keep=partial(self._keep, request, key, call.allowed.owner),
        )
        answering = Answering(
            self._engines, Form(error_event=answer.failed), patience_s=self._patience_s
        )

        async def begin(_: Lease) -> render.Answer:
            return answer

        try:
            await answering.give(call, asked, begin)
        except RunnerError as error:
            raise named(error) from None

    async def count(self, call: Call) -> None:
        """Tell how many tokens the input of a response is."""
        _, asked = await self._read(call)
        async with while_wanted(call.exchange), await self._engines.lease(asked.model) as lease:
            try:
                answered = await ask(lease, asked.prompt)
            except RunnerError as error:
                raise named(error) from None
        counted = {"object": "response.input_tokens", "input_tokens": len(answered.tokens)}
        await call.reply(msgspec.json.encode(counted))

    async def show(self, call: Call) -> None:
        """Tell a response again."""
        stored = await self._store.recall(call.name, call.allowed.owner)
        after = call.query(STARTING_AFTER)
        if call.query(STREAM):
            told = replay.stream(stored.response, after=-1 if after is None else after)
            await call.reply(told, headers=[("Content-Type", "text/event-stream")])
        else:
            await call.reply(msgspec.json.encode(stored.response))

    async def delete(self, call: Call) -> None:
        """Delete a response."""
        await self._store.forget(call.name, call.allowed.owner)
        await call.reply_json({"id": call.name, "object": "response", "deleted": True})

    async def cancel(self, call: Call) -> None:
        """Refuse: a response is kept once it is complete."""
        await self._store.recall(call.name, call.allowed.owner)
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "only a response that is made in the background can be cancelled",
            hint="to stop one that is being made, close its connection",
        )

    async def list_input(self, call: Call) -> None:
        """List the items that a response was made of, page by page, the newest first."""
        limit, after = call.query(LIMIT) or DEFAULT_PAGE, call.query(AFTER)
        chain = await self._store.chain(call.name, call.allowed.owner)
        items = _conversation(chain, with_last=False)
        if call.query(ORDER) != "asc":
            items.reverse()
        if after is not None:
            ids = [item["id"] for item in items]
            if after not in ids:
                raise RunnerError(
                    Kind.INVALID_REQUEST, "after: no item of this id is listed", param="after"
                )
            items = items[ids.index(after) + 1 :]
        page = items[:limit]
        listed = {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
        await call.reply(msgspec.json.encode(listed))

    async def _read(self, call: Call) -> tuple[ResponseRequest, ChatRequest]:
        """Read a request, with what it names of earlier responses."""
        request = await call.read(parse.parse)
        owner = call.allowed.owner
        items = await References(self._store, owner).resolve(request.items)
        request = replace(request, items=items)
        if request.previous is None:
            return request, await call.complete(request.chat(()))
        before = await self._before(request.previous, owner)
        asked = await asyncio.to_thread(request.chat, before)
        return request, await call.complete(asked)

    async def _before(self, id: str, owner: str) -> list[Item]:
        """Return all items up to the end of a response."""
        try:
            return _conversation(await self._store.chain(id, owner), with_last=True)
        except RunnerError as error:
            raise at(error, "previous_response_id") from None

    def _keep(
        self, request: ResponseRequest, key: str, owner: str, response: render.Response
    ) -> None:
        if request.store:
            self._store.keep(
                StoredResponse(
                    id=response["id"],
                    owner=owner,
                    previous=request.previous,
                    input=tuple(name_items(request.items, key)),
                    response=response,
                )
            )


def _conversation(chain: list[StoredResponse], *, with_last: bool) -> list[Item]:
    """Return the items of responses that went on from one another."""
    items: list[Item] = []
    for stored in chain:
        items += stored.input
        if with_last or stored is not chain[-1]:
            items += stored.output
    return items
