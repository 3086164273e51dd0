"""Texts to vectors and ranks through the library, with tiny models of random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.binding import Code, Embedder, Library, Model, NativeError
from tests.support.pooling_models import (
    CLS,
    CONTEXT,
    MEAN,
    RANK,
    SEP,
    WIDTH,
    reference,
    write_pooling_models,
)

pytestmark = pytest.mark.native
MakeEmbedder = Callable[..., tuple[Model, Embedder]]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pooling_models(tmp_path_factory.mktemp("pooling"))


@pytest.fixture
def make(library: Library, paths: dict[str, Path]) -> Iterator[MakeEmbedder]:
    """Open a model and an embedder of 256 tokens and 8 texts a pass."""
    with ExitStack() as stack:

        def make(name: str = "embedding", **settings: Any) -> tuple[Model, Embedder]:
            model = stack.enter_context(Model(library, paths[name]))
            options = {"n_batch": 256, "n_seq_max": 8, "n_threads": 1} | settings
            return model, stack.enter_context(Embedder(model, options))

        yield make


def tokens(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=True, parse_special=True)


def test_a_model_says_how_it_pools(make: MakeEmbedder) -> None:
    model, embedder = make()
    info = model.info()
    assert (info["pooling"], info["pooling_type"]) == (True, "mean")
    assert (info["bos"], info["eos"], info["sep"]) == (CLS, SEP, SEP)
    assert (info["add_eos"], info["rerank_template"]) == (True, "")
    assert (embedder.info.n_out, embedder.info.n_text) == (WIDTH, CONTEXT)
    ranker, ranks = make("reranker")
    assert (ranker.info()["pooling_type"], ranks.info.n_out) == ("rank", 1)


@pytest.mark.parametrize("name", ["embedding", "reranker"])
@pytest.mark.parametrize("flash", [False, True], ids=["plain", "flash"])
def test_a_text_gives_the_same_alone_and_among_others(
    make: MakeEmbedder, name: str, flash: bool
) -> None:
    model, embedder = make(name, flash_attn=flash)
    texts = [tokens(model, text) for text in ("a b c", "x", "a b d", "q r s t u v w")]
    alone = np.vstack([embedder.embed([text]) for text in texts])
    assert alone == pytest.approx(embedder.embed(texts), abs=1e-3)
    assert np.abs(alone[0] - alone[2]).max() > 0.01  # another token, another vector


@pytest.mark.parametrize(("name", "pooling"), [("embedding", MEAN), ("reranker", RANK)])
@pytest.mark.parametrize("flash", [False, True], ids=["plain", "flash"])
def test_the_numbers_are_those_of_the_model(
    make: MakeEmbedder, name: str, pooling: int, flash: bool
) -> None:
    _, embedder = make(name, flash_attn=flash)
    texts = [[CLS, 7, 30, 8, SEP], [CLS, SEP], [CLS, *range(5, 65), SEP]]
    for row, text in zip(embedder.embed(texts), texts, strict=True):
        assert row == pytest.approx(reference(pooling, text), abs=2e-2)


def test_a_causal_model_computes_a_long_text_in_parts(make: MakeEmbedder) -> None:
    _, embedder = make("causal", n_batch=2000)
    assert (embedder.info.n_batch, embedder.info.n_ubatch) == (2000, 512)
    long = [3 + index % 256 for index in range(1500)]
    alone = embedder.embed([long])
    together = embedder.embed([[5, 6, 7], long, [8, 9]])
    assert together[1] == pytest.approx(alone[0], abs=1e-2)
    assert together[0] == pytest.approx(embedder.embed([[5, 6, 7]])[0], abs=1e-2)
    long[0] = 200  # what the first part saw is in what the last token sees
    assert np.abs(embedder.embed([long])[0] - alone[0]).max() > 1e-4


def test_the_longest_text_fits_and_a_longer_one_is_refused(make: MakeEmbedder) -> None:
    _, embedder = make()
    assert np.isfinite(embedder.embed([[CLS] * CONTEXT, [CLS] * CONTEXT])).all()
    with pytest.raises(NativeError, match=f"text 0 has {CONTEXT + 1} tokens, it may have 1 to"):
        embedder.embed([[CLS] * (CONTEXT + 1)])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "n_seq: 0 texts"),
        ([[2]] * 9, "n_seq: 9 texts, one pass takes 1 to 8"),
        ([[2], []], "text 1 has 0 tokens"),
        ([[2] * 100] * 3, "off: 300 tokens up to text 2, one pass takes 256"),
        ([[2, 9999]], "tok: token 9999 is outside the vocabulary"),
        ([[-1]], "tok: token -1 is outside"),
    ],
    ids=["none", "too_many", "empty", "over_the_batch", "high_token", "negative_token"],
)
def test_what_fits_no_pass_is_refused(
    make: MakeEmbedder, texts: list[list[int]], message: str
) -> None:
    _, embedder = make()
    with pytest.raises(NativeError, match=message) as refused:
        embedder.embed(texts)
    assert refused.value.code is Code.ARGUMENT


def test_a_number_that_is_none_comes_out_as_it_is(make: MakeEmbedder) -> None:
    model, embedder = make("broken")
    sound, broken = tokens(model, "a b"), tokens(model, "a x")
    assert np.isfinite(embedder.embed([sound])).all()
    assert np.isnan(embedder.embed([broken])).all()
    # Zero times NaN is NaN: what one text pays attention to is masked with zeros.
    assert np.isnan(embedder.embed([sound, broken])).all()
    assert np.isfinite(embedder.embed([sound])).all()


def test_threads_may_change_between_passes(make: MakeEmbedder) -> None:
    _, embedder = make()
    before = embedder.embed([[CLS, 9, SEP]])
    for threads in (2, 3, 1):
        embedder.set_threads(threads)
    assert embedder.embed([[CLS, 9, SEP]]) == pytest.approx(before, abs=1e-5)
    with pytest.raises(NativeError, match="n_threads: 0 is not in 1"):
        embedder.set_threads(0)


def test_a_model_that_generates_has_no_pool(library: Library, model: Model) -> None:
    with pytest.raises(NativeError, match="neither embeddings nor ranks") as refused:
        Embedder(model, {})
    assert refused.value.code is Code.UNSUPPORTED
