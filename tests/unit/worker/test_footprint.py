"""What a model takes of memory, from its header."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import RunnerError
from runner.gguf import ModelMetadata, describe, read_header
from runner.wire.messages import EngineWishes, MemoryNeed
from runner.worker.footprint import PROCESS_BYTES, estimate
from tests.support.gguf_maker import tiny_model

MIB = 1024**2


def facts(**changes: object) -> ModelMetadata:
    """SmolLM2-135M's: 11,520 elements of KV a token."""
    data = tiny_model()
    metadata = replace(
        describe(read_header(data, len(data))),
        size_bytes=92 * MIB,
        context_length=8192,
        block_count=30,
        embedding_length=576,
        feed_forward_length=1536,
        head_count=9,
        head_count_kv=3,
        key_length=64,
        value_length=64,
        vocabulary=49_152,
    )
    return replace(metadata, **changes)  # type: ignore[arg-type]


def test_the_least_is_what_is_chosen_where_memory_is_short() -> None:
    need = estimate(facts(), EngineWishes())
    # One buffer of 2048 cells; 512 rows with 9 heads' scores and a mask; logits of 64 outputs.
    rows = 512 * (2048 * 10 + 12 * 576 + 3 * 1536) * 4
    tensors = 576 + 896  # of the tiny model: its block, its output
    assert need == MemoryNeed(
        weights_bytes=92 * MIB,
        cache_bytes=2048 * 11_520 * 2,
        compute_bytes=rows + 64 * 49_152 * 4 + PROCESS_BYTES,
        context_size=2048,
        device_bytes=tensors + 2048 * 11_520 * 2 + rows + 64 * 49_152 * 4,
    )
    assert need.total_bytes == need.weights_bytes + need.cache_bytes + need.compute_bytes


def test_a_projector_and_adapters_count_as_weights() -> None:
    alone = estimate(facts(), EngineWishes())
    need = estimate(facts(), EngineWishes(), companions_bytes=7 * MIB)
    assert need.weights_bytes == 99 * MIB
    assert need.total_bytes == alone.total_bytes + 7 * MIB


@pytest.mark.parametrize(
    ("wishes", "context", "cells", "element_bytes"),
    [
        (EngineWishes(context_size=4096), 4096, 4096, 2),
        (EngineWishes(context_size=4096, kv_layout="streams"), 4096, 8 * 4096, 2),
        (EngineWishes(context_size=4096, kv_layout="streams", parallel=2), 4096, 2 * 4096, 2),
        (EngineWishes(context_size=4096, kv_type="q8_0"), 4096, 4096, 34 / 32),
    ],
)
def test_wishes_cost_what_they_cost(
    wishes: EngineWishes, context: int, cells: int, element_bytes: float
) -> None:
    need = estimate(facts(), wishes)
    assert (need.context_size, need.cache_bytes) == (context, int(cells * 11_520 * element_bytes))


def test_flash_attention_keeps_no_scores_of_each_head() -> None:
    with_scores = estimate(facts(), EngineWishes(context_size=8192, flash_attention=False))
    without = estimate(facts(), EngineWishes(context_size=8192, flash_attention=True))
    assert with_scores.compute_bytes - without.compute_bytes == 512 * 8192 * 9 * 4


def test_a_model_that_pools_has_no_cache() -> None:
    need = estimate(facts(pooling_type=1, context_length=512), EngineWishes())
    assert (need.cache_bytes, need.context_size) == (0, 512)


def test_what_a_header_leaves_out_counts_as_little() -> None:
    bare = facts(
        embedding_length=None, feed_forward_length=None, head_count=None, head_count_kv=None,
        vocabulary=None, context_length=None,
    )  # fmt: skip
    assert estimate(bare, EngineWishes()).context_size == 2048


def test_wishes_that_contradict_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(RunnerError, match="needs flash attention"):
        estimate(facts(), EngineWishes(kv_type="q8_0", flash_attention=False))
