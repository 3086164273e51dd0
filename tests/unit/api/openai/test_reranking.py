"""Ranking and scoring requests, and their answers in each of the shapes that clients know."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from runner.api.openai import reranking
from runner.errors import Kind, RunnerError
from runner.wire.messages import Pooled, Rank

SCORES = [0.5, 2.0, -1.0, 2.0]
POOLED = Pooled(1, 1, struct.pack("<4f", *SCORES), (4, 4, 5, 4))
DOCUMENTS = ["a", "b", "c", "d"]
BODY = {"model": "m", "query": "q", "documents": DOCUMENTS}


def ranked(**members: Any) -> Any:
    request = reranking.parse_ranking(BODY | members)
    return json.loads(reranking.render_ranking(request, POOLED))


def test_the_best_come_first_and_equal_ones_in_their_order() -> None:
    assert ranked() == {
        "model": "m",
        "object": "list",
        "usage": {"prompt_tokens": 17, "total_tokens": 17},
        "results": [
            {"index": 1, "relevance_score": 2.0},
            {"index": 3, "relevance_score": 2.0},
            {"index": 0, "relevance_score": 0.5},
            {"index": 2, "relevance_score": -1.0},
        ],
    }


def test_so_many_of_the_best_with_their_texts() -> None:
    results = ranked(top_n=2, return_documents=True)["results"]
    assert results[0] == {"index": 1, "relevance_score": 2.0, "document": {"text": "b"}}
    assert len(results) == 2
    assert len(ranked(top_n=9)["results"]) == 4


def test_the_shape_of_text_embeddings_inference() -> None:
    request = reranking.parse_ranking(
        {"model": "m", "query": "q", "texts": DOCUMENTS, "return_text": True, "raw_scores": True}
    )
    assert request.rank.param == "texts"
    assert json.loads(reranking.render_ranking(request, POOLED))[:2] == [
        {"index": 1, "score": 2.0, "text": "b"},
        {"index": 3, "score": 2.0, "text": "d"},
    ]


def test_documents_may_be_objects_with_a_text() -> None:
    request = reranking.parse_ranking(BODY | {"documents": [{"text": "a", "id": 1}, "b"]})
    assert request.rank == Rank(id=0, queries=("q",), documents=("a", "b"))


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"query": ["q"]}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": None}, "documents"),
        ({"documents": ["a", 5]}, "documents[1]"),
        ({"documents": ["a", {"title": "b"}]}, "documents[1].text"),
        ({"documents": None, "texts": [None]}, "texts[0]"),
        ({"top_n": 0}, "top_n"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"model": None}, "model"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_ranking_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as refused:
        reranking.parse_ranking(BODY | members)
    assert (refused.value.kind, refused.value.param) == (Kind.INVALID_REQUEST, param)


def test_scores_are_brought_into_one_where_raw_ones_are_not_wanted() -> None:
    results = ranked(raw_scores=False)["results"]
    assert [result["relevance_score"] for result in results] == pytest.approx(
        [0.880797, 0.880797, 0.622459, 0.268941], abs=1e-6
    )


def test_a_score_far_from_zero_stays_a_number() -> None:
    request = reranking.parse_ranking(BODY | {"documents": ["a", "b"], "raw_scores": False})
    pooled = Pooled(1, 1, struct.pack("<2f", 1e6, -1e6), (4, 4))
    results = json.loads(reranking.render_ranking(request, pooled))["results"]
    assert [result["relevance_score"] for result in results] == [1.0, 0.0]


def test_what_else_is_asked_of_the_model() -> None:
    request = reranking.parse_ranking(BODY | {"truncate": True, "keep_alive": "5m"})
    assert request.rank == Rank(
        id=0, queries=("q",), documents=tuple(DOCUMENTS), truncate=True, param="documents"
    )
    assert (request.keep_alive_s, request.ignored) == (300.0, ())
