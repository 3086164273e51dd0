"""Docker Model Runner's ``/engines/requests``: what was recorded, and what is being recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from runner import http
from runner.api import jsontext
from runner.api.call import Call, Handler, until_stopping, while_wanted
from runner.api.fields import flag, text
from runner.api.keys import Scope
from runner.api.management.configuring import render_setting
from runner.api.management.engines import MAX_NAME_CHARACTERS
from runner.api.recorder import Recorded, Recorder
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.service import Catalogue, Configuring

MODEL = text("model", "the model's name", max_characters=MAX_NAME_CHARACTERS)
INCLUDE_EXISTING = flag("include_existing", "whether a stream begins with what is kept")
CONNECTED = http.sse.render(b'{"status": "connected"}', event="connected")
EVENTS = "text/event-stream"


class Requests:
    """The handler of recorded requests."""

    def __init__(self, recorder: Recorder, catalogue: Catalogue, configuring: Configuring) -> None:
        self._recorder = recorder
        self._catalogue = catalogue
        self._configuring = configuring

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its route."""
        about = "list the requests that were recorded; with Accept: text/event-stream, follow them"
        query = (MODEL, INCLUDE_EXISTING)
        yield Route("GET", "/engines/requests", Scope.ADMIN, self.tell, about, query=query)

    async def tell(self, call: Call) -> None:
        """List or follow."""
        if not self._recorder.is_on:
            raise RunnerError(
                Kind.NOT_FOUND,
                "this server records no requests",
                hint="start it with --record-requests 10 to keep the last 10 of each model",
            )
        name, include = call.query(MODEL), call.query(INCLUDE_EXISTING) or False
        model_id = None if name is None else await self._find(name)
        if EVENTS in call.exchange.request.headers.get("accept", ""):
            await self._follow(call, model_id, include=include)
            return
        found = self._recorder.records(model_id)
        groups = [await self._group(records) for records in by_model(found)]
        await call.reply_json(groups)

    async def _follow(self, call: Call, model_id: str | None, *, include: bool) -> None:
        """Send what is recorded until the client leaves."""
        stream = await call.open_stream(EVENTS, heartbeat=http.sse.HEARTBEAT)
        async with while_wanted(call.exchange), self._recorder.follow() as queue:
            for recorded in self._recorder.records(model_id) if include else ():
                await stream.send(await self._event("existing_request", recorded))
            await stream.send(CONNECTED)
            async with until_stopping(call.exchange):
                while not call.exchange.is_stopping:
                    recorded = await queue.get()
                    if model_id in (None, recorded.model_id):
                        await stream.send(await self._event("new_request", recorded))
        await stream.finish()

    async def _find(self, name: str) -> str:
        """Return the model's id; one that no model has, for a name that none has."""
        try:
            return str((await self._catalogue.resolve(name)).id)
        except RunnerError as error:
            if error.kind is not Kind.MODEL_NOT_FOUND:
                raise
            return ""

    async def _event(self, event: str, recorded: Recorded) -> bytes:
        return http.sse.render(jsontext.encode([await self._group([recorded])]), event=event)

    async def _group(self, records: list[Recorded]) -> dict[str, Any]:
        """Render the records of one model, with the options that are kept of it."""
        model_id = records[0].model_id
        kept = await self._configuring.kept(model_id)
        return {
            "count": len(records),
            "model": model_id,
            "config": render_setting(kept[0])["Config"] if kept else {},
            "records": [msgspec.to_builtins(each.record) for each in records],
        }


def by_model(records: Iterable[Recorded]) -> list[list[Recorded]]:
    """Group records, in the order in which models came first."""
    groups: dict[str, list[Recorded]] = {}
    for each in records:
        groups.setdefault(each.model_id, []).append(each)
    return list(groups.values())
