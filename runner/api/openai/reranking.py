"""Documents in order of how well they answer a query, and scores of pairs. Parse, render: pure.

A ranking is asked for in the shape of Jina, Cohere and llama-server, or in that of Hugging Face's
text-embeddings-inference (``texts``), and answered in the same. Scores are the model's own
numbers, as llama-server gives them: higher is better, and many models' are not within 0..1.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api import faults
from runner.api.call import Call, Handler
from runner.api.choosing import ignored_header
from runner.api.fields import (
    Field,
    Fields,
    Shape,
    anything,
    as_text,
    boolean,
    integer,
    refuse,
    text,
)
from runner.api.keys import Scope
from runner.api.openai import generation, pooling
from runner.api.openai.preloading import preloading
from runner.api.routes import LLAMA_PREFIXES, OPENAI_PREFIXES, Route
from runner.errors import Kind, RunnerError
from runner.service import Engines
from runner.wire.messages import Pooled, Rank

MAX_DOCUMENTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingRequest:
    """One request for an order."""

    model: str
    rank: Rank
    top: int  # so many of the best are told
    shows_text: bool
    is_tei: bool  # in the shape of text-embeddings-inference
    ignored: tuple[str, ...]  # names of fields that had no effect


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRequest:
    """One request for the scores of pairs, in their order."""

    model: str
    rank: Rank
    ignored: tuple[str, ...]


class Reranking:
    """The handlers of rankings and scores."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes; Docker Model Runner ranks without a version in the path."""
        rerank, score = (preloading(self._engines, one) for one in (self.rerank, self.score))
        for prefix in (*LLAMA_PREFIXES, *OPENAI_PREFIXES):
            yield Route("POST", f"{prefix}/rerank", Scope.INFER, rerank, "order documents", RANKING)
            yield Route("POST", f"{prefix}/score", Scope.INFER, score, "score pairs", SCORING)
        # Where Cohere's clients look for it.
        yield Route("POST", "/v2/rerank", Scope.INFER, rerank, "order documents", RANKING)

    async def rerank(self, call: Call) -> None:
        """Order documents."""
        request = await call.read(parse_ranking)
        pooled = await pooling.pool(self._engines, call, request.model, request.rank)
        headers = [faults.JSON_TYPE, *ignored_header(request.ignored)]
        await call.reply(render_ranking(request, pooled), headers=headers)

    async def score(self, call: Call) -> None:
        """Score pairs."""
        request = await call.read(parse_scoring)
        pooled = await pooling.pool(self._engines, call, request.model, request.rank)
        id, now_s = f"score-{secrets.token_hex(16)}", int(time.time())
        headers = [faults.JSON_TYPE, *ignored_header(request.ignored)]
        await call.reply(render_scores(request, pooled, id=id, created_s=now_s), headers=headers)


def _texts(name: str, about: str) -> Field[Any]:
    schema = {"type": ["array", "string"], "minItems": 1, "maxItems": MAX_DOCUMENTS}
    return anything(name, about, schema)


QUERY = text("query", "what documents are ordered by")
DOCUMENTS = _texts("documents", 'strings, or objects with a "text"')
TEXTS = _texts("texts", "text-embeddings-inference's name of them, and its shape of answers")
SHOWS_TEXT = (
    boolean("return_documents", "whether the answer repeats the documents"),
    boolean("return_text", "text-embeddings-inference's name of that"),
)
TOP = integer("top_n", "so many of the best are told", 1, MAX_DOCUMENTS)
RANKING = Shape("ranking", (generation.MODEL, QUERY, DOCUMENTS, TEXTS, TOP, *SHOWS_TEXT))

TEXT_1 = _texts("text_1", "one query, or one for each document")
TEXT_2 = _texts("text_2", "the documents")
SCORING = Shape("scoring", (generation.MODEL, TEXT_1, TEXT_2))


def parse_ranking(body: dict[str, Any]) -> RankingRequest:
    """Read a request; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=RANKING)
    model = fields.take(generation.MODEL)
    query = fields.take(QUERY)
    if not query:
        refuse("query", "a string that is not empty", query)
    is_tei = TEXTS.name in fields and DOCUMENTS.name not in fields
    documents = _parse_texts(fields, TEXTS if is_tei else DOCUMENTS)
    shows = [fields.take(name) for name in SHOWS_TEXT]
    top = fields.take(TOP)
    return RankingRequest(
        model=model,
        rank=Rank(id=0, queries=(query,), documents=documents),
        top=len(documents) if top is None else top,
        shows_text=any(shows),
        is_tei=is_tei,
        ignored=tuple(fields),
    )


def parse_scoring(body: dict[str, Any]) -> ScoringRequest:
    """Read a request of vLLM's: ``text_1`` is one query for all of ``text_2``, or one for each."""
    fields = Fields(body, shape=SCORING)
    model = fields.take(generation.MODEL)
    queries, documents = _parse_texts(fields, TEXT_1), _parse_texts(fields, TEXT_2)
    if len(queries) not in (1, len(documents)):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"text_1: expected one text or as many as text_2 has, {len(documents)}, "
            f"got {len(queries)}",
            param="text_1",
        )
    rank = Rank(id=0, queries=queries, documents=documents)
    return ScoringRequest(model=model, rank=rank, ignored=tuple(fields))


def render_ranking(request: RankingRequest, pooled: Pooled) -> bytes:
    """Render the best documents, the best first; equal ones as they were sent."""
    scores = _scores(pooled)
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[: request.top]
    documents = request.rank.documents
    if request.is_tei:
        return msgspec.json.encode(
            [
                {"index": index, "score": scores[index]}
                | ({"text": documents[index]} if request.shows_text else {})
                for index in order
            ]
        )
    return msgspec.json.encode(
        {
            "model": request.model,
            "object": "list",
            "usage": pooling.usage(pooled),
            "results": [
                {"index": index, "relevance_score": scores[index]}
                | ({"document": {"text": documents[index]}} if request.shows_text else {})
                for index in order
            ],
        }
    )


def render_scores(request: ScoringRequest, pooled: Pooled, *, id: str, created_s: int) -> bytes:
    """Render every pair's score, in the order of the request."""
    return msgspec.json.encode(
        {
            "id": id,
            "object": "list",
            "created": created_s,
            "model": request.model,
            "data": [
                {"index": index, "object": "score", "score": score}
                for index, score in enumerate(_scores(pooled))
            ],
            "usage": pooling.usage(pooled),
        }
    )


def _scores(pooled: Pooled) -> Sequence[float]:
    return [row[0] for row in pooling.rows(pooled)]


def _parse_texts(fields: Fields, field: Field[Any]) -> tuple[str, ...]:
    """Read one text or several; each a string, or an object with a ``text``."""
    name, value = field.name, fields.take(field)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not 0 < len(value) <= MAX_DOCUMENTS:
        refuse(name, f"an array of 1 to {MAX_DOCUMENTS} strings", value)
    return tuple(_parse_text(item, f"{name}[{index}]") for index, item in enumerate(value))


def _parse_text(value: Any, param: str) -> str:
    if isinstance(value, dict):
        return as_text(value.get("text"), f"{param}.text")
    return as_text(value, param)
