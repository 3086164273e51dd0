"""Embedding requests are read strictly, and answers are OpenAI's."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest

from runner.api.openai import embeddings, pooling
from runner.errors import Kind, RunnerError
from runner.wire.messages import Embed, ModelFacts, Pooled, Rank
from tests.support.fake_engine import FACTS

VALUES = [0.5, -0.25, 0.125, 1.0]
POOLED = Pooled(1, 2, struct.pack("<4f", *VALUES), (3, 5))


def parse(**members: Any) -> embeddings.EmbeddingsRequest:
    return embeddings.parse({"model": "m", "input": "a"} | members)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [1, 2]], ("a", (1, 2))),
    ],
    ids=["text", "texts", "tokens", "lists_of_tokens", "mixed"],
)
def test_every_shape_of_input(given: Any, inputs: Any) -> None:
    assert parse(input=given).embed.inputs == inputs


def test_llama_servers_name_for_the_input() -> None:
    body = {"model": "m", "content": ["a"]}
    assert embeddings.parse(body).embed == Embed(id=0, inputs=("a",), param="content")


def test_all_fields() -> None:
    request = parse(
        encoding_format="base64",
        dimensions=64,
        embd_normalize=-1,
        truncate=True,
        user="u",
        task=1,
    )
    assert request.embed == Embed(id=0, inputs=("a",), dimensions=64, norm=-1, truncate=True)
    assert request.is_base64
    assert request.ignored == ("user", "task")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": 5}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": ["a", []]}, "input[1]"),
        ({"input": [[1], [2, "b"]]}, "input[1][1]"),
        ({"input": [1, True]}, "input[1]"),
        ({"input": [-1]}, "input[0]"),
        ({"input": [2**31]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "8"}, "dimensions"),
        ({"embd_normalize": -2}, "embd_normalize"),
        ({"model": ""}, "model"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as refused:
        parse(**members)
    assert (refused.value.kind, refused.value.param) == (Kind.INVALID_REQUEST, param)


def test_an_answer_with_numbers() -> None:
    assert json.loads(embeddings.render(parse(), POOLED)) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": VALUES[:2]},
            {"object": "embedding", "index": 1, "embedding": VALUES[2:]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }


def test_an_answer_in_base64() -> None:
    answer = json.loads(embeddings.render(parse(encoding_format="base64"), POOLED))
    shown = [base64.b64decode(item["embedding"]) for item in answer["data"]]
    assert shown == [struct.pack("<2f", *VALUES[:2]), struct.pack("<2f", *VALUES[2:])]


def facts(*, pooling: bool, reranks: bool = False) -> ModelFacts:
    return msgspec.structs.replace(FACTS, pooling=pooling, reranks=reranks)


@pytest.mark.parametrize(
    ("request_", "kind", "message"),
    [
        (Embed(id=0, inputs=("a",)), facts(pooling=False), "generates text"),
        (Rank(id=0, queries=("a",), documents=("b",)), facts(pooling=False), "generates text"),
        (Embed(id=0, inputs=("a",)), facts(pooling=True, reranks=True), "ranks documents"),
        (Rank(id=0, queries=("a",), documents=("b",)), facts(pooling=True), "makes embeddings"),
    ],
    ids=["embed_chat", "rank_chat", "embed_ranker", "rank_embedder"],
)
def test_b15_a_model_of_another_kind_is_refused(
    request_: Embed | Rank, kind: ModelFacts, message: str
) -> None:
    with pytest.raises(RunnerError, match=f"m {message} and cannot make") as refused:
        pooling.check_kind(request_, "m", kind)
    assert refused.value.kind is Kind.MODEL_NOT_SUPPORTED
    assert (refused.value.param, refused.value.row.status) == ("model", 400)
