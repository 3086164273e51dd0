"""LoRA adapters in the native library: what they change, and which cannot be applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.binding import Code, Context, Library, Model, NativeError, Stepper
from tests.support.adapters import RANK, SHAPE, WEIGHT, adapter, pair, write, write_adapters
from tests.support.gguf_maker import ARR, STR, TENSOR_Q4_0, U32, Tensor

from .driver import Engine

pytestmark = [pytest.mark.native, pytest.mark.model]

DOWN = np.ones((RANK, SHAPE[0]), "<f4")
UP = np.ones((SHAPE[1], RANK), "<f4")
INTEGERS = Tensor(f"{WEIGHT}.lora_a", (SHAPE[0], RANK), 26, data=b"\0" * (4 * RANK * SHAPE[0]))
WIDTH, WORDS = 576, 49152


@pytest.fixture
def make_model(library: Library, model_path: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Load the model of its own with adapters: what they say, and an engine."""
    opened: list[Model | Context] = []

    def make(*files: bytes, **settings: Any) -> tuple[list[dict[str, str]], Engine]:
        model = Model(library, model_path)
        opened.append(model)
        told = [model.load_adapter(path) for path in write_adapters(tmp_path, *files)]
        context = Context(model, {"n_ctx": 512, "n_seq_max": 2, "n_threads": 1} | settings)
        opened.append(context)
        return told, Engine(model, context, Stepper(context))

    yield make
    for handle in reversed(opened):
        handle.close()


def test_an_adapter_changes_the_answer_while_it_is_used(make_model: Callable[..., Any]) -> None:
    told, engine = make_model(adapter(name="Law"), adapter(2))
    assert [one["name"] for one in told] == ["Law", ""]

    def answer(*scales: float) -> str:
        engine.context.use_adapters(scales)
        text: str = engine.complete(temperature=0).text
        return text

    plain = engine.complete(temperature=0).text
    first, second, both = answer(1, 0), answer(0, 1), answer(1, 1)
    assert len({plain, first, second, both}) == 4
    assert answer(0, 0) == plain
    assert answer(1, 0) == first


def test_twice_the_scale_is_twice_the_matrix(make_model: Callable[..., Any]) -> None:
    _, engine = make_model(adapter(strength=0.04), adapter(strength=0.02))
    scores = []
    for scales in ((1.0, 0.0), (0.0, 2.0)):
        engine.context.use_adapters(scales)
        scores.append(engine.context.score(0, engine.tokens("Once upon a time")))
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


@pytest.mark.parametrize("scales", [(), (1.0, 1.0), (float("nan"),), (float("inf"),)])
def test_scales_that_mean_nothing_are_refused(
    make_model: Callable[..., Any], scales: tuple[float, ...]
) -> None:
    _, engine = make_model(adapter())
    with pytest.raises(NativeError) as caught:
        engine.context.use_adapters(scales)
    assert caught.value.code is Code.ARGUMENT


def deep(rows: np.ndarray) -> np.ndarray:
    return np.stack([rows, rows])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (write(pair(WEIGHT, DOWN, UP[:8])), "incorrect shape"),
        (write(pair(WEIGHT, DOWN, np.ones((SHAPE[1], 3), "<f4"))), "not transposed"),
        (write(pair("blk.99.ffn_down.weight", DOWN, UP)), "does not exist in base model"),
        (write(pair(WEIGHT, DOWN, UP)[:1]), "missing one component"),
        (write([]), "changes no weight"),
        (write([Tensor("blk.0.attn_norm.weight", (WIDTH,))]), "changes no weight"),
        (write(pair(WEIGHT, deep(DOWN), UP)), "do not fit"),
        (write(pair(WEIGHT, DOWN, deep(UP))), "do not fit"),
        (
            write([INTEGERS, pair(WEIGHT, DOWN, UP)[1]]),
            "do not fit",
        ),
        (
            # Of a model that ends with the weights it begins with.
            write(
                pair(
                    "token_embd.weight",
                    np.ones((WORDS, RANK), "<f4"),
                    np.ones((WIDTH, RANK), "<f4"),
                )
            ),
            "begins and ends with",
        ),
        (
            write(
                pair(
                    "token_embd.weight",
                    np.ones((WORDS, RANK), "<f4"),
                    np.ones((WIDTH, RANK + 1), "<f4"),
                )
            ),
            "do not fit",
        ),
        (adapter(adapter__alora__invocation_tokens=(ARR, (U32, [1]))), "aLoRA"),
        (adapter(general__architecture=(STR, "gemma3")), "arch mismatch"),
    ],
)
def test_what_cannot_be_applied_is_refused_and_leaves_the_model_as_it_was(
    library: Library, model_path: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    bad, good = write_adapters(tmp_path, content, adapter())
    with Model(library, model_path) as model:
        with pytest.raises(NativeError, match=words):
            model.load_adapter(bad)
        model.load_adapter(good)
        with Context(model, {"n_ctx": 64, "n_threads": 1}) as context:
            context.use_adapters([1.0])
            assert len(context.score(0, [1, 2, 3])) == 2


def test_a_quantised_adapter_is_one(make_model: Callable[..., Any]) -> None:
    down = Tensor(f"{WEIGHT}.lora_a", (SHAPE[0], RANK), TENSOR_Q4_0, data=b"\1" * (48 * 18 * RANK))
    _, engine = make_model(write([down, pair(WEIGHT, DOWN, UP)[1]]))
    engine.context.use_adapters([1.0])
    assert engine.complete(max_tokens=2, temperature=0).tokens
