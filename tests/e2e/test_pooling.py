"""Embeddings and rankings over HTTP, by models of random weights beside one that chats."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import requests

from runner.oci import Reference
from runner.store import Store
from tests.e2e.conftest import MODEL, Daemon, running_daemon
from tests.support.models import add_gguf
from tests.support.pooling_models import CLS, CONTEXT, SEP, WIDTH, write_pooling_models

pytestmark = pytest.mark.model

EMBEDDER, RANKER, BROKEN = "local/embedding", "local/reranker", "local/broken"


@pytest.fixture(scope="module")
def pools(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has the models."""
    home: Path = tmp_path_factory.mktemp("home")
    store = Store(home / ".local" / "share" / "runner" / "models")
    for name, path in write_pooling_models(home).items():
        add_gguf(store, [path], Reference.parse(f"local/{name}"))
    with running_daemon(home) as started:
        yield started
        started.stop()


def error(answer: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def test_the_sdk_gets_vectors_of_length_one(pools: Daemon) -> None:
    with pools.sdk() as client:
        # The SDK asks for base64 unless told otherwise, and decodes it.
        packed = client.embeddings.create(model=EMBEDDER, input=["a b", "c d"])
        plain = client.embeddings.create(
            model=EMBEDDER, input=["a b", "c d"], encoding_format="float"
        )
        short = client.embeddings.create(model=EMBEDDER, input="a b", dimensions=8)
    first = np.array(packed.data[0].embedding)
    assert len(first) == WIDTH
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-6)
    for index in (0, 1):
        assert packed.data[index].embedding == pytest.approx(plain.data[index].embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == 8
    assert len(short.data[0].embedding) == 8
    assert np.linalg.norm(short.data[0].embedding) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("prefix", ["/v1", "/engines/v1", "/engines/llama.cpp/v1"])
def test_tokens_under_every_prefix(pools: Daemon, prefix: str) -> None:
    body = {"model": EMBEDDER, "input": [[CLS, 5, SEP], [CLS, 6, SEP]], "encoding_format": "base64"}
    answer = pools.post(f"{prefix}/embeddings", body | {"user": "u"})
    assert answer.status_code == 200
    assert answer.headers["x-ignored-fields"] == "user"
    vector = np.frombuffer(base64.b64decode(answer.json()["data"][1]["embedding"]), "<f4")
    assert len(vector) == WIDTH


def test_hundreds_of_texts_come_back_in_order(pools: Daemon) -> None:
    letters = [*"abcdefgh"] * 60
    data = pools.post("/v1/embeddings", {"model": EMBEDDER, "input": letters}).json()["data"]
    vectors = np.array([item["embedding"] for item in data])
    assert [item["index"] for item in data] == list(range(480))
    for index in range(8, 480):
        assert vectors[index] == pytest.approx(vectors[index % 8], abs=1e-3)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_a_text_that_is_too_long_is_named(pools: Daemon) -> None:
    answer = pools.post("/v1/embeddings", {"model": EMBEDDER, "input": ["a", "a " * 500]})
    assert answer.status_code == 400
    told = error(answer)
    assert (told["code"], told["param"]) == ("context_length_exceeded", "input[1]")
    assert (told["index"], told["n_prompt_tokens"], told["n_ctx"]) == (1, 502, CONTEXT)


def test_a_vector_that_is_none_is_an_error_in_json(pools: Daemon) -> None:
    answer = pools.post("/v1/embeddings", {"model": BROKEN, "input": ["a b", "a x"]})
    assert answer.status_code == 500
    assert "text 1: NaN" in error(answer)["message"]
    assert pools.post("/v1/embeddings", {"model": BROKEN, "input": "a b"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/rerank", "/v1/rerank", "/engines/rerank", "/engines/v1/rerank", "/v2/rerank"]
)
def test_documents_in_order(pools: Daemon, path: str) -> None:
    body = {"model": RANKER, "query": "a b", "documents": ["c", "d e", "f"], "top_n": 2}
    answer = pools.post(path, body | {"return_documents": True}).json()
    scores = [result["relevance_score"] for result in answer["results"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    best = answer["results"][0]
    assert best["document"] == {"text": ["c", "d e", "f"][best["index"]]}


def test_scores_agree_with_the_ranking(pools: Daemon) -> None:
    documents = ["c", "d e", "f"]
    ranked = pools.post("/rerank", {"model": RANKER, "query": "a b", "documents": documents})
    scored = pools.post("/score", {"model": RANKER, "text_1": "a b", "text_2": documents})
    scores = [item["score"] for item in scored.json()["data"]]
    for result in ranked.json()["results"]:
        assert scores[result["index"]] == pytest.approx(result["relevance_score"], abs=1e-3)


@pytest.mark.parametrize("path", ["/embedding", "/embeddings", "/engines/embedding"])
def test_llama_servers_routes_answer_in_its_shape(pools: Daemon, path: str) -> None:
    body = {"model": EMBEDDER, "content": ["a b", "c d"]}
    plain = pools.post("/v1/embeddings", {"model": EMBEDDER, "input": ["a b", "c d"]}).json()
    told = pools.post(path, body).json()
    assert [one["index"] for one in told] == [0, 1]
    for one, other in zip(told, plain["data"], strict=True):
        assert len(one["embedding"]) == 1
        assert one["embedding"][0] == pytest.approx(other["embedding"], abs=1e-6)


def test_text_embeddings_inferences_clients(pools: Daemon) -> None:
    plain = pools.post("/v1/embeddings", {"model": EMBEDDER, "input": "a b"}).json()
    texts = {"model": EMBEDDER, "inputs": ["a b", "a " * 500], "truncate": True}
    vectors = pools.post("/embed", texts).json()
    assert vectors[0] == pytest.approx(plain["data"][0]["embedding"], abs=1e-3)
    assert len(vectors[1]) == WIDTH
    refused = pools.post("/embed", {**texts, "truncate": False})
    assert (refused.status_code, error(refused)["param"]) == (400, "inputs[1]")
    texts = {"query": "a", "texts": ["b", "c " * 500], "truncate": True, "raw_scores": False}
    pools.post("/rerank", {"model": RANKER} | texts)
    # They name no model, as their server has one: the only one in memory that ranks is meant.
    ranked = pools.post("/rerank", texts).json()
    assert {one["index"] for one in ranked} == {0, 1}
    assert all(0 < one["score"] < 1 for one in ranked)


def test_a_model_that_makes_vectors_scores_by_their_cosine(pools: Daemon) -> None:
    documents = ["a b", "c", "d e f"]
    answer = pools.post("/v1/score", {"model": EMBEDDER, "text_1": "a b", "text_2": documents})
    data = pools.post("/v1/embeddings", {"model": EMBEDDER, "input": documents}).json()["data"]
    vectors = np.array([item["embedding"] for item in data])
    scores = [item["score"] for item in answer.json()["data"]]
    assert scores == pytest.approx((vectors @ vectors[0]).tolist(), abs=1e-3)
    assert scores[0] == pytest.approx(1, abs=1e-3)
    body = {"model": EMBEDDER, "text_1": "a " * 500, "text_2": "a"}
    assert error(pools.post("/score", body))["param"] == "text_1[0]"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/rerank", "/score", "/v1/completions"])
def test_a_model_is_loaded_and_nothing_answered(pools: Daemon, path: str) -> None:
    answer = pools.post(path, {"model": EMBEDDER}, headers={"X-Preload-Only": "true"})
    assert (answer.status_code, answer.content) == (200, b"")


def test_b15_each_kind_of_model_refuses_the_others_work(pools: Daemon) -> None:
    embed = {"input": "a"}
    rank = {"query": "a", "documents": ["b"]}
    chat = {"messages": [{"role": "user", "content": "a"}]}
    refused = [
        ("/v1/embeddings", MODEL, embed),
        ("/v1/embeddings", RANKER, embed),
        ("/rerank", MODEL, rank),
        ("/rerank", EMBEDDER, rank),
        ("/v1/chat/completions", EMBEDDER, chat),
        ("/v1/chat/completions", RANKER, chat),
    ]
    for path, model, body in refused:
        answer = pools.post(path, {"model": model} | body)
        assert (answer.status_code, error(answer)["code"]) == (400, "model_not_supported")
        assert error(answer)["param"] == "model"
    # Nobody is the worse for it: all live side by side.
    with pools.sdk() as client, pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=MODEL, input="a")
    assert {row["mode"] for row in pools.running()} == {"completion", "embedding", "reranking"}
    assert pools.chat("Hi", max_tokens=1).status_code == 200
