"""Scores of pairs: what a model is asked, and the cosine of two vectors."""

from __future__ import annotations

import json
import struct

import pytest

from runner.api.openai import scoring
from runner.errors import RunnerError
from runner.wire.messages import Embed, Pooled, Rank

BODY = {"model": "m", "text_1": "q", "text_2": ["a", "b"]}


def vectors(*rows: tuple[float, ...]) -> Pooled:
    packed = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
    return Pooled(1, len(rows[0]), packed, (3,) * len(rows))


def test_what_either_kind_of_model_is_asked() -> None:
    request = scoring.parse(BODY | {"truncate": True})
    assert request.rank == Rank(
        id=0, queries=("q",), documents=("a", "b"), truncate=True, param="text_2"
    )
    assert request.embeds() == (
        Embed(id=0, inputs=("q",), truncate=True, param="text_1"),
        Embed(id=0, inputs=("a", "b"), truncate=True, param="text_2"),
    )


def test_scores_keep_the_order_of_their_pairs() -> None:
    usage = {"prompt_tokens": 17, "total_tokens": 17}
    answer = json.loads(scoring.render("m", [0.5, -1.0], usage, id="score-1", created_s=7))
    assert answer == {
        "id": "score-1",
        "object": "list",
        "created": 7,
        "model": "m",
        "data": [
            {"index": 0, "object": "score", "score": 0.5},
            {"index": 1, "object": "score", "score": -1.0},
        ],
        "usage": usage,
    }


def test_one_vector_is_compared_with_all_and_several_each_with_its_own() -> None:
    documents = vectors((1.0, 0.0), (0.6, 0.8))
    assert scoring.cosines(vectors((0.0, 1.0)), documents) == pytest.approx([0.0, 0.8])
    pairs = scoring.cosines(vectors((1.0, 0.0), (0.0, -1.0)), documents)
    assert pairs == pytest.approx([1.0, -0.8])


def test_pairs_need_as_many_queries_as_documents() -> None:
    with pytest.raises(RunnerError, match="as many as text_2 has, 3, got 2") as refused:
        scoring.parse({"model": "m", "text_1": ["a", "b"], "text_2": ["a", "b", "c"]})
    assert refused.value.param == "text_1"
