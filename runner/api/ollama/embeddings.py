"""Ollama's routes for embeddings: ``/api/embed``, and ``/api/embeddings`` from before it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api import faults
from runner.api.call import Call, Handler, while_wanted
from runner.api.choosing import ignored_header
from runner.api.fields import Field, Fields, Ignored, Shape, as_text, boolean, integer, refuse, text
from runner.api.keep_alive import KEEP_ALIVE, permitted
from runner.api.keys import Scope
from runner.api.ollama.names import MODEL, NAME, take_model
from runner.api.ollama.options import EMBED_OPTIONS
from runner.api.ollama.parse import Keeping, take_keeping
from runner.api.ollama.text import arrival, keep
from runner.api.openai import pooling
from runner.api.routes import Route
from runner.service import Catalogue, Engines, Lease
from runner.wire.messages import Embed, Pooled

MAX_INPUTS = 2048
MAX_DIMENSIONS = 65536
LENGTH_ONE = 2  # norms of wire.Embed
AS_IT_IS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """One request for vectors, valid but for what only the loaded model can tell."""

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None
    norm: int = LENGTH_ONE
    truncates: bool = False
    keep_alive_s: float | None
    ignored: tuple[str, ...]


def _read_inputs(value: Any, param: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list) or len(value) > MAX_INPUTS:
        refuse(param, f"a string, or an array of at most {MAX_INPUTS}", value)
    for index, item in enumerate(value):
        if not as_text(item, f"{param}[{index}]"):
            refuse(f"{param}[{index}]", "a string that is not empty", item)
    return tuple(value)


_COMMON: tuple[Field[Any] | Ignored, ...] = (MODEL, NAME, KEEP_ALIVE, EMBED_OPTIONS)
_INPUT = Field(
    "input",
    "a text, or several; none at all loads the model, or unloads it",
    {"type": ["string", "array"], "items": {"type": "string"}, "maxItems": MAX_INPUTS},
    _read_inputs,
)
_DIMENSIONS = integer(
    "dimensions", "how many numbers of each vector, from its beginning", 1, MAX_DIMENSIONS
)
_TRUNCATE = boolean(
    "truncate", "whether a text that is too long is cut; unless asked for, it is refused"
)
EMBED = Shape("Ollama embed request", (*_COMMON, _INPUT, _DIMENSIONS, _TRUNCATE))

_PROMPT = text("prompt", "a text; none at all loads the model, or unloads it")
EMBEDDINGS = Shape("Ollama embeddings request", (*_COMMON, _PROMPT))


def parse_embed(body: dict[str, Any]) -> EmbedRequest | Keeping:
    """Read a body of ``/api/embed``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=EMBED)
    model, inputs = take_model(fields), fields.take(_INPUT) or ()
    if not inputs:
        return take_keeping(fields, model)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        dimensions=fields.take(_DIMENSIONS),
        truncates=fields.take(_TRUNCATE) or False,
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=(*fields,),  # evaluated last: what nobody took
    )


def parse_embeddings(body: dict[str, Any]) -> EmbedRequest | Keeping:
    """Read a body of ``/api/embeddings``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=EMBEDDINGS)
    model, prompt = take_model(fields), fields.take(_PROMPT)
    if not prompt:
        return take_keeping(fields, model)
    return EmbedRequest(
        model=model,
        inputs=(prompt,),
        norm=AS_IT_IS,
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=(*fields,),  # evaluated last: what nobody took
    )


def render_embed(model: str, pooled: Pooled | None, **durations_ns: int) -> bytes:
    """Render the answer of ``/api/embed``; None: nothing was asked."""
    vectors = [] if pooled is None else pooling.rows(pooled)
    count = 0 if pooled is None else sum(pooled.tokens)
    shown = {"model": model, "embeddings": vectors, **durations_ns, "prompt_eval_count": count}
    return msgspec.json.encode(shown)


def render_embeddings(pooled: Pooled | None) -> bytes:
    """Render the answer of ``/api/embeddings``; None: nothing was asked."""
    vector = [] if pooled is None else pooling.rows(pooled)[0]
    return msgspec.json.encode({"embedding": vector})


class Embeddings:
    """The handlers of the routes for embeddings."""

    def __init__(self, engines: Engines, catalogue: Catalogue) -> None:
        self._engines = engines
        self._catalogue = catalogue

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "make vectors of texts, as Ollama does"
        yield Route("POST", "/api/embed", Scope.INFER, self.embed, about, EMBED)
        about = "make one vector, as Ollama did before /api/embed"
        yield Route("POST", "/api/embeddings", Scope.INFER, self.embeddings, about, EMBEDDINGS)

    async def embed(self, call: Call) -> None:
        """Make vectors of length one."""
        timing, asked = arrival(), await call.read(parse_embed)
        pooled, load_ns = None, 0
        if isinstance(asked, Keeping):
            await keep(asked, call, self._engines, self._catalogue)
        else:
            async with while_wanted(call.exchange), await self._lease(call, asked) as lease:
                load_ns = timing.elapsed_ns()
                pooled = await _embed(lease, asked)
        durations_ns = {"total_duration": timing.elapsed_ns(), "load_duration": load_ns}
        body = await asyncio.to_thread(render_embed, asked.model, pooled, **durations_ns)
        await _reply(call, asked, body)

    async def embeddings(self, call: Call) -> None:
        """Make one vector, as the model gives it."""
        asked, pooled = await call.read(parse_embeddings), None
        if isinstance(asked, Keeping):
            await keep(asked, call, self._engines, self._catalogue)
        else:
            async with while_wanted(call.exchange), await self._lease(call, asked) as lease:
                pooled = await _embed(lease, asked)
        await _reply(call, asked, render_embeddings(pooled))

    async def _lease(self, call: Call, asked: EmbedRequest) -> Lease:
        keep_alive_s, _ = permitted(asked, call.allowed)
        return await self._engines.lease(asked.model, keep_alive_s=keep_alive_s)


async def _reply(call: Call, asked: EmbedRequest | Keeping, body: bytes) -> None:
    _, ignored = permitted(asked, call.allowed)
    await call.reply(body, headers=[faults.JSON_TYPE, *ignored_header(ignored)])


async def _embed(lease: Lease, asked: EmbedRequest) -> Pooled:
    request = Embed(
        id=0,
        inputs=asked.inputs,
        dimensions=asked.dimensions,
        norm=asked.norm,
        truncate=asked.truncates,
    )
    return await pooling.pool_on(lease, asked.model, request)
