"""Documents in order of how well they answer a query. Parse and render are pure.

A ranking is asked for in the shape of Jina, Cohere and llama-server, or in that of Hugging Face's
text-embeddings-inference (``texts``), and answered in the same. Scores are the model's own
numbers, as llama-server gives them: higher is better, and many models' are not within 0..1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import exp
from typing import Any

import msgspec

from runner.api.call import Call, Handler
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
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.keys import Scope
from runner.api.openai import generation, pooling
from runner.api.openai.preloading import preloading
from runner.api.routes import LLAMA_PREFIXES, OPENAI_PREFIXES, Route
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
    is_within_one: bool  # scores are brought into 0..1
    is_tei: bool  # in the shape of text-embeddings-inference
    keep_alive_s: float | None
    ignored: tuple[str, ...]  # names of fields that had no effect


class Reranking:
    """The handler of rankings."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its routes; Docker Model Runner ranks without a version in the path."""
        handler = preloading(self._engines, self)
        for prefix in (*LLAMA_PREFIXES, *OPENAI_PREFIXES):
            for name in ("rerank", "reranking"):
                path = f"{prefix}/{name}"
                yield Route("POST", path, Scope.INFER, handler, "order documents", RANKING)
        # Where Cohere's clients look for it.
        yield Route("POST", "/v2/rerank", Scope.INFER, handler, "order documents", RANKING)

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(
            lambda body: parse_ranking(pooling.named(body, self._engines, reranks=True))
        )
        rendering = partial(render_ranking, request)
        await pooling.answer(self._engines, call, request, request.rank, rendering)


def texts_field(name: str, about: str) -> Field[Any]:
    """Declare a member that holds texts; :func:`take_texts` takes it."""
    schema = {"type": ["array", "string"], "minItems": 1, "maxItems": MAX_DOCUMENTS}
    return anything(name, about, schema)


QUERY = text("query", "what documents are ordered by")
DOCUMENTS = texts_field("documents", 'strings, or objects with a "text"')
TEXTS = texts_field("texts", "text-embeddings-inference's name of them, and its shape of answers")
SHOWS_TEXT = (
    boolean("return_documents", "whether the answer repeats the documents"),
    boolean("return_text", "text-embeddings-inference's name of that"),
)
TOP = integer("top_n", "so many of the best are told", 1, MAX_DOCUMENTS)
TRUNCATE = boolean(
    "truncate", "whether a document that is too long is cut; unless asked for, it is refused"
)
RAW = boolean("raw_scores", "false brings scores into 0..1, by the logistic function")
RANKING = Shape(
    "ranking",
    (generation.MODEL, QUERY, DOCUMENTS, TEXTS, TOP, *SHOWS_TEXT, TRUNCATE, RAW, KEEP_ALIVE),
)


def parse_ranking(body: dict[str, Any]) -> RankingRequest:
    """Read a request; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=RANKING)
    model = fields.take(generation.MODEL)
    query = fields.take(QUERY)
    if not query:
        refuse("query", "a string that is not empty", query)
    is_tei = TEXTS.name in fields and DOCUMENTS.name not in fields
    field = TEXTS if is_tei else DOCUMENTS
    documents = take_texts(fields, field)
    shows = [fields.take(name) for name in SHOWS_TEXT]
    top = fields.take(TOP)
    return RankingRequest(
        model=model,
        rank=Rank(
            id=0,
            queries=(query,),
            documents=documents,
            truncate=fields.take(TRUNCATE) or False,
            param=field.name,
        ),
        top=len(documents) if top is None else top,
        shows_text=any(shows),
        is_within_one=fields.take(RAW) is False,
        is_tei=is_tei,
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=tuple(fields),
    )


def render_ranking(request: RankingRequest, pooled: Pooled) -> bytes:
    """Render the best documents, the best first; equal ones as they were sent."""
    given = scores(pooled)
    if request.is_within_one:
        given = [_logistic(score) for score in given]
    order = sorted(range(len(given)), key=lambda index: -given[index])[: request.top]
    documents = request.rank.documents
    if request.is_tei:
        return msgspec.json.encode(
            [
                {"index": index, "score": given[index]}
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
                {"index": index, "relevance_score": given[index]}
                | ({"document": {"text": documents[index]}} if request.shows_text else {})
                for index in order
            ],
        }
    )


def _logistic(score: float) -> float:
    """Bring a score into 0..1; the two forms keep ``exp`` from overflowing."""
    return 1 / (1 + exp(-score)) if score >= 0 else exp(score) / (1 + exp(score))


def scores(pooled: Pooled) -> list[float]:
    """Return what a model that ranks gives of each pair."""
    return [row[0] for row in pooling.rows(pooled)]


def take_texts(fields: Fields, field: Field[Any]) -> tuple[str, ...]:
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
