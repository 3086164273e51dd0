"""Embeddings of a real model, all-MiniLM-L6-v2, compared with a computation of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runner.oci import Reference
from runner.store import Store
from tests.e2e.conftest import Daemon, running_daemon
from tests.support.minilm import (
    embed,
    find_minilm,
    read_vocabulary,
    read_weights,
    tokenize,
    write_minilm,
)
from tests.support.models import add_gguf

pytestmark = pytest.mark.model

MODEL = "local/minilm"
TEXTS = [
    "A man is eating food.",
    "Someone eats a meal, slowly and unhurriedly.",
    "The girl is carrying a baby.",
    "Quantum chromodynamics describes gluons!",
    "def tokenize(text): return text.split()",
]


@pytest.fixture(scope="module")
def package() -> Path:
    return find_minilm()


@pytest.fixture(scope="module")
def minilm(
    _engine: None, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon that has the model."""
    home: Path = tmp_path_factory.mktemp("home")
    write_minilm(package, home / "minilm.gguf")
    store = Store(home / ".local" / "share" / "runner" / "models")
    add_gguf(store, [home / "minilm.gguf"], Reference.parse(MODEL))
    with running_daemon(home) as started:
        yield started
        started.stop()


def test_vectors_are_those_of_the_model(minilm: Daemon, package: Path) -> None:
    weights, vocabulary = read_weights(package), read_vocabulary(package)
    tokens = [tokenize(text, vocabulary) for text in TEXTS]
    answer = minilm.post("/v1/embeddings", {"model": MODEL, "input": TEXTS}).json()
    assert answer["usage"]["prompt_tokens"] == sum(map(len, tokens))
    for item, expected in zip(answer["data"], tokens, strict=True):
        assert np.dot(item["embedding"], embed(expected, weights)) > 0.9999


def test_what_means_the_same_is_near(minilm: Daemon) -> None:
    body = {"model": MODEL, "text_1": TEXTS[0], "text_2": TEXTS[1:]}
    scores = [item["score"] for item in minilm.post("/v1/score", body).json()["data"]]
    assert scores[0] > 0.5 > max(scores[1:])


def test_fewer_dimensions_are_the_first_ones_with_length_one(minilm: Daemon) -> None:
    with minilm.sdk() as client:
        whole = client.embeddings.create(model=MODEL, input=TEXTS[0]).data[0].embedding
        short = client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=64)
    first = np.array(whole[:64])
    expected = first / np.linalg.norm(first)
    assert short.data[0].embedding == pytest.approx(expected.tolist(), abs=1e-5)
