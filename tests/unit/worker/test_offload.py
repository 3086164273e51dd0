"""How many layers go to a GPU: fakes of its size, numbers of a model that exists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gguf import ModelMetadata, Weights, describe, read_header
from runner.wire.messages import EngineWishes
from runner.worker.footprint import estimate, need, on_device, settings_for
from runner.worker.offload import ALL, MARGIN_BYTES, gpu_layers
from runner.worker.settings import Machine
from tests.support.gguf_maker import tiny_model

MIB, GIB = 1024**2, 1024**3
BLOCK = 132 * MIB
OUTPUT = 410 * MIB


def facts(**changes: Any) -> ModelMetadata:
    """Llama 3.1 8B's at Q4_K_M, about: 128 KiB of KV a token in 32 blocks."""
    data = tiny_model()
    metadata = replace(
        describe(read_header(data, len(data))),
        size_bytes=32 * BLOCK + OUTPUT + 282 * MIB,
        weights=Weights((BLOCK,) * 32, OUTPUT),
        context_length=131_072,
        block_count=32,
        embedding_length=4096,
        feed_forward_length=14_336,
        head_count=32,
        head_count_kv=8,
        key_length=128,
        value_length=128,
        vocabulary=128_256,
    )
    return replace(metadata, **changes)


def machine(free_bytes: int | None, devices: int = 1) -> Machine:
    return Machine(
        cpus=8,
        quota_cpus=None,
        physical_cores=8,
        available_bytes=64 * GIB,
        device_free_bytes=free_bytes,
        devices=devices,
    )


def chosen(free_bytes: int | None, wishes: EngineWishes | None = None, **more: Any) -> int:
    on = machine(free_bytes, more.pop("devices", 1))
    return gpu_layers(facts(), wishes or EngineWishes(), on, **more)


def test_a_model_with_room_goes_to_the_gpu_as_a_whole() -> None:
    assert chosen(24 * GIB) == ALL


def test_without_a_gpu_nothing_is_chosen() -> None:
    assert chosen(None) == ALL  # as llama.cpp's default, which does nothing there


@pytest.mark.parametrize("wish", [0, 7, 99, -1])
def test_what_is_wished_is_not_questioned(wish: int) -> None:
    assert chosen(GIB, EngineWishes(gpu_layers=wish)) == wish


def test_a_model_without_room_goes_there_in_part() -> None:
    # 4 GiB less 1 for others; a step takes 512 rows of 4096 masked cells, vectors and the logits
    # of 64 outputs; a block has its 132 MiB and 4096 cells of 4 KiB, which is 16 MiB.
    step = 512 * (4096 + 12 * 4096 + 3 * 14_336) * 4 + 64 * 128_256 * 4
    left = 4 * GIB - GIB - step - OUTPUT
    assert left // ((132 + 16) * MIB) == 16
    assert chosen(4 * GIB) == 1 + 16


def test_a_wished_context_takes_the_place_of_layers() -> None:
    # A block's cells take 128 MiB now, and the mask eight times as much.
    step = 512 * (32_768 + 12 * 4096 + 3 * 14_336) * 4 + 64 * 128_256 * 4
    assert (3 * GIB - step - OUTPUT) // ((132 + 128) * MIB) == 9
    assert chosen(4 * GIB, EngineWishes(context_size=32_768)) == 1 + 9


def test_a_gpu_without_room_for_the_output_gets_nothing() -> None:
    assert chosen(GIB) == 0
    assert chosen(0) == 0


def test_what_is_loaded_beside_keeps_its_room() -> None:
    assert chosen(4 * GIB, companions_bytes=148 * MIB) == 1 + 15


def test_every_gpu_keeps_a_margin() -> None:
    assert chosen(5 * GIB, devices=2) == chosen(4 * GIB)


def test_a_model_that_pools_has_no_cells_to_count() -> None:
    metadata = facts(pooling_type=1, context_length=512)
    takes = need(settings_for(metadata, EngineWishes(), machine(24 * GIB)), metadata)
    free = GIB + on_device(takes, metadata.weights, 20)
    assert gpu_layers(metadata, EngineWishes(), machine(free)) == 20
    assert gpu_layers(metadata, EngineWishes(), machine(free - 1)) == 19


@pytest.mark.parametrize(
    ("layers", "blocks"), [(None, 32), (-1, 32), (33, 32), (32, 31), (2, 1), (1, 0)]
)
def test_an_estimate_tells_what_goes_to_a_gpu(layers: int | None, blocks: int) -> None:
    told = estimate(facts(), EngineWishes(gpu_layers=layers), companions_bytes=7 * MIB)
    step = told.compute_bytes - 64 * MIB
    assert told.device_bytes == OUTPUT + blocks * (BLOCK + 8 * MIB) + step + 7 * MIB


def test_an_estimate_for_the_cpu_alone_has_nothing_on_a_gpu() -> None:
    assert estimate(facts(), EngineWishes(gpu_layers=0), companions_bytes=7).device_bytes == 0


@given(
    free_bytes=st.integers(0, 12 * GIB),
    blocks=st.lists(st.integers(0, 400 * MIB), max_size=40),
    output_bytes=st.integers(0, 2 * GIB),
    context_size=st.sampled_from([None, 512, 8192, 131_072]),
)
def test_what_goes_there_fits_and_one_layer_more_would_not(
    free_bytes: int, blocks: list[int], output_bytes: int, context_size: int | None
) -> None:
    metadata = facts(
        weights=Weights(tuple(blocks), output_bytes),
        size_bytes=sum(blocks) + output_bytes,
        block_count=max(1, len(blocks)),
    )
    wishes, on = EngineWishes(context_size=context_size), machine(free_bytes)
    takes = need(settings_for(metadata, wishes, on), metadata)
    layers = gpu_layers(metadata, wishes, on)
    count = metadata.weights.layers if layers == ALL else layers
    room = free_bytes - MARGIN_BYTES
    assert count == 0 or on_device(takes, metadata.weights, count) <= room
    assert layers == ALL or on_device(takes, metadata.weights, count + 1) > room
