"""Scores of pairs of texts, as vLLM is asked for them. Parse and render are pure.

Of a model that ranks they are its own numbers, of one that makes vectors the cosine of two.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

import msgspec

from runner.api import faults
from runner.api.call import Call, Handler, while_wanted
from runner.api.choosing import ignored_header
from runner.api.fields import Fields, Shape
from runner.api.keep_alive import KEEP_ALIVE, permitted
from runner.api.keys import Scope
from runner.api.openai import generation, pooling, reranking
from runner.api.openai.preloading import preloading
from runner.api.routes import LLAMA_PREFIXES, OPENAI_PREFIXES, Route
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease
from runner.wire.messages import Embed, Pooled, Rank

TEXT_1 = reranking.texts_field("text_1", "one query, or one for each document")
TEXT_2 = reranking.texts_field("text_2", "the documents")
SHAPE = Shape("scoring", (generation.MODEL, TEXT_1, TEXT_2, reranking.TRUNCATE, KEEP_ALIVE))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRequest:
    """One request for the scores of pairs, in their order."""

    model: str
    queries: tuple[str, ...]  # one for all documents, or one for each
    documents: tuple[str, ...]
    truncate: bool
    keep_alive_s: float | None
    ignored: tuple[str, ...]

    @property
    def rank(self) -> Rank:
        """What a model that ranks is asked."""
        return Rank(
            id=0,
            queries=self.queries,
            documents=self.documents,
            truncate=self.truncate,
            param=TEXT_2.name,
        )

    def embeds(self) -> tuple[Embed, Embed]:
        """Return what a model that makes vectors is asked: for those of each side."""
        sides = ((self.queries, TEXT_1.name), (self.documents, TEXT_2.name))
        first, second = (
            Embed(id=0, inputs=texts, truncate=self.truncate, param=name) for texts, name in sides
        )
        return first, second


class Scoring:
    """The handler of scores."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its routes."""
        handler = preloading(self._engines, self)
        for prefix in (*LLAMA_PREFIXES, *OPENAI_PREFIXES):
            yield Route("POST", f"{prefix}/score", Scope.INFER, handler, "score pairs", SHAPE)

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(parse)
        keep_alive_s, ignored = permitted(request, call.allowed)
        leasing = self._engines.lease(request.model, keep_alive_s=keep_alive_s)
        async with while_wanted(call.exchange), await leasing as lease:
            scores, usage = await _score(lease, request)
        id, now_s = f"score-{secrets.token_hex(16)}", int(time.time())
        headers = [faults.JSON_TYPE, *ignored_header(ignored)]
        body = render(request.model, scores, usage, id=id, created_s=now_s)
        await call.reply(body, headers=headers)


async def _score(lease: Lease, request: ScoringRequest) -> tuple[Sequence[float], dict[str, int]]:
    """Score every pair, by what the model can do; return the scores and the usage."""
    facts = lease.ready.model
    if facts.reranks or not facts.pooling:
        pooled = await pooling.pool_on(lease, request.model, request.rank)
        return reranking.scores(pooled), pooling.usage(pooled)
    first, second = [await pooling.pool_on(lease, request.model, one) for one in request.embeds()]
    return await asyncio.to_thread(cosines, first, second), pooling.usage(first, second)


def parse(body: dict[str, Any]) -> ScoringRequest:
    """Read a request of vLLM's: ``text_1`` is one query for all of ``text_2``, or one for each."""
    fields = Fields(body, shape=SHAPE)
    model = fields.take(generation.MODEL)
    queries, documents = reranking.take_texts(fields, TEXT_1), reranking.take_texts(fields, TEXT_2)
    if len(queries) not in (1, len(documents)):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"text_1: expected one text or as many as text_2 has, {len(documents)}, "
            f"got {len(queries)}",
            param="text_1",
        )
    return ScoringRequest(
        model=model,
        queries=queries,
        documents=documents,
        truncate=fields.take(reranking.TRUNCATE) or False,
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=tuple(fields),  # evaluated last: what nobody took
    )


def render(
    model: str, scores: Sequence[float], usage: dict[str, int], *, id: str, created_s: int
) -> bytes:
    """Render every pair's score, in the order of the request."""
    return msgspec.json.encode(
        {
            "id": id,
            "object": "list",
            "created": created_s,
            "model": model,
            "data": [
                {"index": index, "object": "score", "score": score}
                for index, score in enumerate(scores)
            ],
            "usage": usage,
        }
    )


def cosines(queries: Pooled, documents: Pooled) -> list[float]:
    """Compare vectors of length one: the first query with all documents, or each with its own."""
    firsts, seconds = pooling.rows(queries), pooling.rows(documents)
    if len(firsts) == 1:
        firsts *= len(seconds)
    return [sum(map(mul, first, second)) for first, second in zip(firsts, seconds, strict=True)]
