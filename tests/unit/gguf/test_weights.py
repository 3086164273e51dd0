"""Where a model's bytes lie."""

from __future__ import annotations

import pytest

from runner.gguf import Gguf, Weights, read_header
from runner.gguf.weights import weigh
from tests.support.gguf_maker import STR, U32, Tensor, make_gguf


def model(blocks: int, *tensors: tuple[str, int]) -> Gguf:
    """A header with tensors of so many 4-byte numbers."""
    fields = {"general.architecture": (STR, "x"), "x.block_count": (U32, blocks)}
    data = make_gguf(fields, [Tensor(name, (elements,)) for name, elements in tensors])
    return read_header(data, len(data))


def test_blocks_and_output_are_counted_and_embeddings_are_not() -> None:
    told = model(
        2,
        ("token_embd.weight", 100),
        ("blk.0.attn_q.weight", 1),
        ("blk.1.attn_q.weight", 2),
        ("blk.1.ffn_up.weight", 3),
        ("output_norm.weight", 10),
        ("output.weight", 20),
        ("rope_freqs.weight", 50),
    )
    assert weigh(told) == Weights((4, 20), 120)


def test_embeddings_that_serve_as_output_are_there_twice() -> None:
    told = model(
        1, ("token_embd.weight", 100), ("blk.0.ffn_up.weight", 1), ("output_norm.weight", 2)
    )
    assert weigh(told) == Weights((4,), 408)


def test_shards_count_together() -> None:
    rest = model(2, ("blk.1.ffn_up.weight", 7))
    assert weigh(model(2, ("blk.0.ffn_up.weight", 5)), rest) == Weights((20, 28), 0)


@pytest.mark.parametrize("name", ["blk.2.x", "blk.99999999999.x", "blk.x.y", "blk.\u0661.x", "blk"])
def test_what_is_no_block_of_the_model_is_none(name: str) -> None:
    assert weigh(model(2, (name, 1))) == Weights((0, 0), 0)


@pytest.mark.parametrize(
    ("layers", "blocks", "bytes_"),
    [(0, 0, 0), (1, 0, 100), (2, 1, 104), (3, 2, 107), (4, 3, 109), (9, 3, 109), (-1, 3, 109)],
)
def test_the_last_layers_are_the_output_and_the_blocks_before_it(
    layers: int, blocks: int, bytes_: int
) -> None:
    weights = Weights((2, 3, 4), 100)
    assert (weights.blocks_among(layers), weights.of_last(layers)) == (blocks, bytes_)
    assert weights.layers == 4
