"""Settings follow the measured rules of the machine and the model; a wish always wins."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from runner.errors import Kind, RunnerError
from runner.gguf import describe, read_header
from runner.wire.messages import EngineSettings, EngineWishes, TunedSettings
from runner.worker.settings import (
    Machine,
    Traits,
    capacity,
    choose,
    context_options,
    policy,
    streams_fit,
    threads,
    traits,
)
from tests.support.gguf_maker import ARR, I32, U32, tiny_model

GIB = 1024**3


def machine(**changes: Any) -> Machine:
    values: dict[str, Any] = {
        "cpus": 8,
        "quota_cpus": None,
        "physical_cores": 4,
        "available_bytes": 16 * GIB,
        "device_free_bytes": None,
    }
    return Machine(**values | changes)


def model(**changes: Any) -> Traits:
    """A small model: 11,520 elements, 22.5 KiB of f16, a token."""
    values: dict[str, Any] = {
        "context_train": 8192,
        "size_bytes": GIB // 10,
        "cell_elements": 11_520,
        "has_state": False,
    }
    return Traits(**values | changes)


LARGE = model(cell_elements=131_072 // 2, size_bytes=5 * GIB)  # 128 KiB a token, as 8B models
LONG_1B = model(context_train=131_072, cell_elements=16_384, size_bytes=GIB, heads=32)
LONG_8B = model(context_train=131_072, cell_elements=65_536, size_bytes=5 * GIB, heads=32)


def chosen(wishes: EngineWishes | None = None, **more: Any) -> EngineSettings:
    return choose(wishes or EngineWishes(), more.get("model", model()), more.get("on", machine()))


def test_a_cpu_gets_streams_without_flash_attention() -> None:
    assert chosen() == EngineSettings(
        context_size=8192,
        total_cells=8 * 8192,
        parallel=8,
        slots=8,
        threads=4,
        threads_batch=4,
        batch_size=512,
        ubatch_size=512,
        flash_attention=False,
        kv_layout="streams",
        kv_type="f16",
        gpu_layers=0,
        target_gap_ms=100,
        max_queue=256,
        draft_tokens=8,
        prefix_ram_bytes=(16 * GIB - GIB // 10) // 8,
        prefix_disk_bytes=0,
        origin="rule",
    )


def test_a_gpu_gets_all_layers_flash_attention_and_one_buffer() -> None:
    settings = chosen(on=machine(device_free_bytes=24 * GIB))
    assert (settings.gpu_layers, settings.flash_attention) == (-1, True)
    assert (settings.kv_layout, settings.batch_size) == ("unified", 2048)
    assert (settings.slots, settings.total_cells) == (16, 8 * 8192)


def test_a_gpu_that_nobody_wants_changes_nothing() -> None:
    wishes = EngineWishes(gpu_layers=0)
    assert chosen(wishes, on=machine(device_free_bytes=24 * GIB)) == chosen()


@pytest.mark.parametrize(
    ("cpus", "physical_cores", "quota_cpus", "count"),
    [
        (8, 4, None, 4),
        (2, 4, None, 2),  # pinned to two
        (8, None, None, 8),
        (8, 4, 2.5, 2),
        (8, 4, 0.5, 1),
        (1, 1, 16.0, 1),
    ],
)
def test_threads_are_what_the_process_may_really_use(
    cpus: int, physical_cores: int | None, quota_cpus: float | None, count: int
) -> None:
    facts = machine(cpus=cpus, physical_cores=physical_cores, quota_cpus=quota_cpus)
    assert threads(facts) == count


@pytest.mark.parametrize(
    ("traits_", "available", "context", "layout", "cells"),
    [
        (model(), 16 * GIB, 8192, "streams", 65536),
        (model(context_train=1024), 16 * GIB, 1024, "streams", 8192),
        (model(), 2 * GIB, 8192, "unified", 22016),  # streams of 8 do not fit a quarter
        (LARGE, 16 * GIB, 8192, "unified", 22528),
        (LARGE, 7 * GIB, 4096, "unified", 4096),
        (LARGE, 6 * GIB, 2048, "unified", 2048),  # 2048 is the least, whatever fits
        (LARGE, 4 * GIB, 2048, "unified", 2048),
        (model(context_train=512), 0, 512, "unified", 512),
        # Of (16 - 5) / 4 GiB a token takes 128 KiB of KV and 64 KiB of scores: 32 heads, 512 rows.
        (LONG_8B, 16 * GIB, 14_848, "unified", 14_848),
        (LONG_8B, 64 * GIB, 80_384, "unified", 80_384),
        (LONG_1B, 4 * GIB, 8192, "unified", 8192),
        (LONG_1B, 16 * GIB, 40_960, "unified", 40_960),
        (LONG_1B, 64 * GIB, 51_456, "streams", 8 * 51_456),  # ample for each: faster so
    ],
)
def test_context_and_layout_follow_the_memory(
    traits_: Traits, available: int, context: int, layout: str, cells: int
) -> None:
    settings = chosen(model=traits_, on=machine(available_bytes=available))
    got = (settings.context_size, settings.kv_layout, settings.total_cells)
    assert got == (context, layout, cells)


def test_gpu_memory_counts_on_a_gpu() -> None:
    facts = machine(available_bytes=0, device_free_bytes=6 * GIB)
    assert chosen(model=LARGE, on=facts).context_size == 4096  # layers give way to it


def test_a_gpu_s_one_buffer_may_be_one_conversation_s() -> None:
    settings = chosen(model=LONG_8B, on=machine(device_free_bytes=24 * GIB))
    assert (settings.context_size, settings.total_cells) == (38_912, 38_912)


def test_a_model_with_state_gets_a_stream_for_each_sequence() -> None:
    settings = chosen(model=model(has_state=True), on=machine(device_free_bytes=24 * GIB))
    assert settings.kv_layout == "streams"


def test_few_streams_still_leave_slots_for_cached_prefixes() -> None:
    assert chosen(EngineWishes(parallel=1)).slots == 4
    tight = chosen(EngineWishes(parallel=1, kv_layout="streams"), on=machine(available_bytes=0))
    assert tight.slots == 1


def test_every_wish_wins() -> None:
    wishes = EngineWishes(
        context_size=1000,
        parallel=3,
        threads=7,
        threads_batch=6,
        batch_size=100,
        ubatch_size=50,
        flash_attention=True,
        kv_layout="unified",
        kv_type="q8_0",
        gpu_layers=5,
        target_gap_ms=0,
        max_queue=0,
        speculation=False,
        prefix_ram_bytes=0,
        prefix_disk_bytes=GIB,
    )
    assert chosen(wishes) == EngineSettings(
        context_size=1000,
        total_cells=3 * 1024,
        parallel=3,
        slots=11,
        threads=7,
        threads_batch=6,
        batch_size=100,
        ubatch_size=50,
        flash_attention=True,
        kv_layout="unified",
        kv_type="q8_0",
        gpu_layers=5,
        target_gap_ms=0,
        max_queue=0,
        draft_tokens=0,
        prefix_ram_bytes=0,
        prefix_disk_bytes=GIB,
        origin="rule",
    )


def test_a_quantised_cache_brings_flash_attention_with_it() -> None:
    assert chosen(EngineWishes(kv_type="q8_0")).flash_attention


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        (EngineWishes(kv_type="q4_0", flash_attention=False), "flash_attention"),
        (EngineWishes(parallel=0), "parallel"),
        (EngineWishes(parallel=129), "parallel"),
    ],
)
def test_wishes_that_contradict_are_refused(wishes: EngineWishes, param: str) -> None:
    with pytest.raises(RunnerError) as caught:
        chosen(wishes)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize("parallel", [1, 2, 8, 100])
@pytest.mark.parametrize("layout", ["unified", "streams"])
@pytest.mark.parametrize("context_size", [256, 1000, 4096])
def test_every_choice_is_a_capacity_the_scheduler_takes(
    parallel: int, layout: Any, context_size: int
) -> None:
    wishes = EngineWishes(parallel=parallel, kv_layout=layout, context_size=context_size)
    settings = chosen(wishes, on=machine(available_bytes=0))
    made = capacity(settings, state_bytes=0, token_bytes=1)
    assert made.shares_cells is (layout == "unified")
    options = context_options(settings)
    assert options["n_batch"] >= options["n_outputs_max"] >= options["n_seq_max"]


@pytest.mark.parametrize(
    ("wishes", "outputs"),
    [
        (EngineWishes(parallel=1), 4 + 8),
        (EngineWishes(), 64),  # 8 slots, and 8 drafts for each of 7: enough for the likely ones
        (EngineWishes(speculation=False), 8),
        (EngineWishes(parallel=100, kv_layout="streams"), 100),
        (EngineWishes(batch_size=16), 16),
    ],
)
def test_drafts_have_outputs_as_far_as_logits_are_cheap(wishes: EngineWishes, outputs: int) -> None:
    assert context_options(chosen(wishes))["n_outputs_max"] == outputs


def test_threads_for_many_rows_follow_those_for_one_unless_wished() -> None:
    assert chosen(EngineWishes(threads=3)).threads_batch == 3
    options = context_options(chosen(EngineWishes(threads_batch=3)))
    assert (options["n_threads"], options["n_threads_batch"]) == (4, 3)


@pytest.mark.parametrize(("available", "ram"), [(64 * GIB, 2 * GIB), (0, 0)])
def test_prefixes_get_a_bounded_share_of_free_memory(available: int, ram: int) -> None:
    assert chosen(on=machine(available_bytes=available)).prefix_ram_bytes == ram


TUNED = TunedSettings(
    flash_attention=True, kv_layout="unified", ubatch_size=256, threads=3, threads_batch=4
)


def tuned(wishes: EngineWishes | None = None, **more: Any) -> EngineSettings:
    measured = more.get("tuned", TUNED)
    return choose(wishes or EngineWishes(), model(), more.get("on", machine()), measured)


def test_what_was_measured_goes_before_the_rules() -> None:
    settings = tuned()
    assert settings.origin == "tuned"
    assert (settings.flash_attention, settings.kv_layout) == (True, "unified")
    assert (settings.ubatch_size, settings.threads, settings.threads_batch) == (256, 3, 4)
    assert (settings.context_size, settings.slots) == (8192, 16)


def test_the_context_stays_when_a_measurement_makes_room_for_more() -> None:
    on = machine(available_bytes=16 * GIB)  # flash attention keeps no scores
    settings = choose(EngineWishes(), LONG_8B, on, TUNED)
    assert (settings.flash_attention, settings.context_size) == (True, 14_848)


def test_a_wish_goes_before_what_was_measured() -> None:
    settings = tuned(EngineWishes(flash_attention=False, kv_layout="streams", threads=2))
    assert (settings.flash_attention, settings.kv_layout) == (False, "streams")
    assert (settings.threads, settings.threads_batch, settings.ubatch_size) == (2, 2, 256)


def test_streams_that_do_not_fit_any_more_are_not_insisted_on() -> None:
    streams = replace(TUNED, kv_layout="streams")
    assert tuned(tuned=streams).kv_layout == "streams"
    assert tuned(tuned=streams, on=machine(available_bytes=2 * GIB)).kv_layout == "unified"


def test_a_memory_that_cannot_be_cut_back_is_not_speculated_on() -> None:
    settings = chosen(model=model(has_state=True))
    assert (settings.draft_tokens, policy(settings).draft_tokens) == (0, 0)
    assert policy(chosen()).draft_tokens == 8


def test_a_long_stream_is_copied_for_a_longer_prefix_only() -> None:
    assert policy(chosen()).copy_min_tokens == 32
    assert policy(chosen(EngineWishes(context_size=65_536))).copy_min_tokens == 256
    assert policy(chosen(EngineWishes(target_gap_ms=50))).target_gap_s == 0.05


def test_cells_are_counted_from_the_header() -> None:
    def elements(**changes: Any) -> int:
        data = tiny_model(**changes)
        return traits(describe(read_header(data, len(data))), has_state=False).cell_elements

    assert elements() == 2 * (8 + 8)  # one block, two KV heads of length 8
    assert elements(llama__attention__key_length=(U32, 16)) == 2 * (16 + 8)
    per_block = (ARR, (I32, [3]))
    assert elements(llama__attention__head_count_kv=per_block) == 3 * (8 + 8)


WINDOW = {"window": 512, "window_share": 5 / 6}


@pytest.mark.parametrize(
    ("changes", "wishes", "is_full"),
    [
        (WINDOW, EngineWishes(), False),
        (WINDOW, EngineWishes(kv_layout="unified"), True),  # cells that are shared stay
        (WINDOW, EngineWishes(prefix_ram_bytes=0), True),  # nothing could be found again
        (WINDOW, EngineWishes(context_size=1024), True),  # the window, a pass: all of it
        (WINDOW, EngineWishes(context_size=1024, ubatch_size=128), False),
        (WINDOW | {"window": 8000}, EngineWishes(), True),
        ({"window": 512}, EngineWishes(), True),  # a number in the header, and no such layer
        ({}, EngineWishes(), True),
    ],
)
def test_a_window_gets_a_cache_of_its_size_where_that_is_less_and_prefixes_are_saved(
    changes: dict[str, Any], wishes: EngineWishes, is_full: bool
) -> None:
    settings = chosen(wishes, model=model(**changes))
    assert settings.full_window is is_full
    assert context_options(settings)["full_window"] is is_full


@pytest.mark.parametrize(("changes", "layout"), [(WINDOW, "streams"), ({}, "unified")])
def test_streams_with_a_window_fit_where_full_ones_do_not(
    changes: dict[str, Any], layout: str
) -> None:
    small = machine(available_bytes=GIB // 10 + 2 * GIB)  # 512 MiB for KV: 23,301 tokens
    settings = chosen(model=model(**changes), on=small)
    assert settings.kv_layout == layout
    assert streams_fit(settings, model(**changes), small) is (layout == "streams")


def test_a_context_that_is_only_measured_may_have_another_layout() -> None:
    settings = replace(chosen(model=model(**WINDOW)), kv_layout="unified")
    assert context_options(settings)["full_window"] is True
