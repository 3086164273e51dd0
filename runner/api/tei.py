"""``/embed`` of Hugging Face's text-embeddings-inference. Parse and render are pure.

Its ``/rerank`` is in :mod:`runner.api.openai.reranking`, where ``texts`` tells it from Jina's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.call import Call, Handler
from runner.api.fields import Fields, Refused, Shape, boolean, required, word
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.keys import Scope
from runner.api.openai import embeddings, generation, pooling
from runner.api.openai.preloading import preloading
from runner.api.routes import Route
from runner.service import Engines
from runner.wire.messages import Embed, Pooled

LENGTH_ONE, AS_IT_IS = 2, -1  # norms of wire.Embed

INPUTS = required(embeddings.inputs_field("inputs"))
NORMALIZE = boolean("normalize", "whether vectors get the length one, as they do unless told")
# TEI writes "Right", its clients either.
DIRECTION = word("truncation_direction", "which end of a text is cut", ("Right", "right"))
SHAPE = Shape(
    "embedding of text-embeddings-inference",
    (
        generation.MODEL,
        INPUTS,
        NORMALIZE,
        embeddings.TRUNCATE,
        DIRECTION,
        embeddings.DIMENSIONS,
        KEEP_ALIVE,
        Refused(
            "prompt_name",
            "names a prompt that GGUF files do not hold",
            hint="write the prompt before each text",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """One request, valid but for what only the loaded model can tell."""

    model: str
    embed: Embed
    keep_alive_s: float | None
    ignored: tuple[str, ...]  # names of fields that had no effect


class Tei:
    """The handler of ``/embed``."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its route."""
        handler = preloading(self._engines, self)
        about = "make vectors of texts, as text-embeddings-inference does"
        yield Route("POST", "/embed", Scope.INFER, handler, about, SHAPE)

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(
            lambda body: parse(pooling.named(body, self._engines, reranks=False))
        )
        await pooling.answer(self._engines, call, request, request.embed, render)


def parse(body: dict[str, Any]) -> EmbedRequest:
    """Read a request; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=SHAPE)
    fields.take(DIRECTION)  # there is but one
    return EmbedRequest(
        model=fields.take(generation.MODEL),
        embed=Embed(
            id=0,
            inputs=embeddings.read_inputs(fields.take(INPUTS), INPUTS.name),
            dimensions=fields.take(embeddings.DIMENSIONS),
            norm=AS_IT_IS if fields.take(NORMALIZE) is False else LENGTH_ONE,
            truncate=fields.take(embeddings.TRUNCATE) or False,
            param=INPUTS.name,
        ),
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=tuple(fields),  # evaluated last: what nobody took
    )


def render(pooled: Pooled) -> bytes:
    """Render the answer: the vectors alone."""
    return msgspec.json.encode(pooling.rows(pooled))
