"""What is measured, and what is made of it: tables of rates in, settings out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from runner.wire.messages import EngineSettings, EngineWishes, Rates, TunedSettings
from runner.worker.settings import Machine, Traits, choose
from runner.worker.tuning import (
    Choice,
    Result,
    Space,
    ThreadTrial,
    score,
    search,
    shape,
    space,
    tuned_of,
)

GIB = 1024**3
BASE = TunedSettings(
    flash_attention=False, kv_layout="streams", ubatch_size=512, threads=2, threads_batch=2
)
FLASH = replace(BASE, flash_attention=True)
UNIFIED = replace(BASE, kv_layout="unified")
EVERYTHING = Space(flash_attention=True, kv_layout=True, ubatch_size=True, threads=(1, 2))
NOTHING = Space(flash_attention=False, kv_layout=False, ubatch_size=False, threads=())
MODEL = Traits(context_train=8192, size_bytes=GIB // 10, cell_elements=11_520, has_state=False)
MACHINE = Machine(
    cpus=8,
    quota_cpus=None,
    physical_cores=4,
    available_bytes=16 * GIB,
    device_free_bytes=None,
)


def rates(factor: float = 1.0, **changes: float) -> Rates:
    values = {"one": 100.0, "one_deep": 80.0, "many": 200.0, "prompt": 400.0}
    return Rates(**{name: value * factor for name, value in values.items()} | changes)


def play(
    results: list[tuple[TunedSettings, Rates | None]],
    room: Space,
    threads: dict[int, ThreadTrial] | None = None,
) -> Choice:
    """Run a search that must ask for exactly these candidates, in this order."""
    asked = search(BASE, room)
    candidate = next(asked)
    for at, (expected, measured) in enumerate(results):
        assert candidate == expected
        tried = threads if at == 0 and threads else {}
        try:
            candidate = asked.send(None if measured is None else Result(measured, tried))
        except StopIteration as end:
            assert at == len(results) - 1
            choice: Choice = end.value
            return choice
    raise AssertionError(f"it wants {candidate} too")


def test_a_faster_candidate_is_what_the_next_stage_begins_with() -> None:
    small = replace(FLASH, ubatch_size=256)
    choice = play(
        [
            (BASE, rates()),
            (FLASH, rates(1.5)),
            (replace(FLASH, kv_layout="unified"), rates(1.2)),
            (small, rates(1.6)),
            (replace(FLASH, ubatch_size=128), rates(1.5)),
            (BASE, rates(0.9)),
        ],
        EVERYTHING,
    )
    assert choice.settings == small
    assert choice.gain == pytest.approx(1.6)


@pytest.mark.parametrize("other", [None, rates(0.9), rates(1.02)])
def test_what_is_not_clearly_faster_changes_nothing(other: Rates | None) -> None:
    small = replace(BASE, ubatch_size=256)
    results = [(BASE, rates()), (FLASH, other), (UNIFIED, other), (small, other)]
    assert play(results, EVERYTHING) == (BASE, 1.0)


def test_what_is_fixed_is_not_tried() -> None:
    assert play([(BASE, rates())], NOTHING) == (BASE, 1.0)
    only_layout = Space(flash_attention=False, kv_layout=True, ubatch_size=False, threads=())
    choice = play([(BASE, rates()), (UNIFIED, rates(2.0)), (BASE, None)], only_layout)
    assert (choice.settings, choice.gain) == (UNIFIED, pytest.approx(2.0))


def test_what_only_seemed_faster_is_not_chosen() -> None:
    only_flash = Space(flash_attention=True, kv_layout=False, ubatch_size=False, threads=())
    slow_beginning = [(BASE, rates(0.5)), (FLASH, rates(0.9)), (BASE, rates(1.0))]
    assert play(slow_beginning, only_flash) == (BASE, 1.0)
    less_than_it_seemed = [(BASE, rates(0.5)), (FLASH, rates(2.0)), (BASE, rates(1.0))]
    assert play(less_than_it_seemed, only_flash) == (FLASH, pytest.approx(2.0))


def test_a_base_that_could_not_be_measured_ends_the_search() -> None:
    assert play([(BASE, None)], EVERYTHING) == (BASE, 1.0)


@pytest.mark.parametrize(
    ("trials", "threads", "threads_batch", "gain"),
    [
        ({1: ThreadTrial(0.02, 0.08), 2: ThreadTrial(0.01, 0.04)}, 2, 2, 1.0),
        ({1: ThreadTrial(0.005, 0.08), 2: ThreadTrial(0.01, 0.04)}, 1, 2, 2**0.55),
        ({1: ThreadTrial(0.02, 0.02), 2: ThreadTrial(0.01, 0.04)}, 2, 1, 2**0.45),
        ({1: ThreadTrial(0.0099, 0.0396), 2: ThreadTrial(0.01, 0.04)}, 2, 2, 1.0),  # noise
    ],
)
def test_threads_are_chosen_for_one_row_and_for_many(
    trials: dict[int, ThreadTrial], threads: int, threads_batch: int, gain: float
) -> None:
    only_threads = Space(flash_attention=False, kv_layout=False, ubatch_size=False, threads=(1, 2))
    choice = play([(BASE, rates())], only_threads, trials)
    assert choice.settings == replace(BASE, threads=threads, threads_batch=threads_batch)
    assert choice.gain == pytest.approx(gain)


def test_later_candidates_are_compared_with_the_threads_that_were_chosen() -> None:
    trials = {1: ThreadTrial(0.005, 0.02), 2: ThreadTrial(0.01, 0.04)}
    single = replace(BASE, threads=1, threads_batch=1)
    flash = replace(single, flash_attention=True)
    only_flash = Space(flash_attention=True, kv_layout=False, ubatch_size=False, threads=(1, 2))
    slower_than_base_with_one_thread = rates(1.9)
    results = [(BASE, rates()), (flash, slower_than_base_with_one_thread)]
    choice = play(results, only_flash, trials)
    assert (choice.settings, choice.gain) == (single, pytest.approx(2.0))


def test_one_answer_behind_a_history_weighs_most() -> None:
    deep, short = rates(one_deep=160.0), rates(one=200.0)
    many, prompt = rates(many=400.0), rates(prompt=800.0)
    assert score(deep) > score(many) > score(short) == pytest.approx(score(prompt))
    assert score(rates(2.0)) / score(rates()) == pytest.approx(2.0)


def settings(wishes: EngineWishes | None = None, **changes: Any) -> EngineSettings:
    machine = Machine(**{**_fields(MACHINE), **changes})
    return choose(wishes or EngineWishes(), MODEL, machine)


def _fields(machine: Machine) -> dict[str, Any]:
    return {name: getattr(machine, name) for name in Machine.__slots__}


@pytest.mark.parametrize(
    ("wishes", "model", "expected"),
    [
        ({}, {}, (True, True, True, (2, 3, 4, 8))),
        ({"flash_attention": False}, {}, (False, True, True, (2, 3, 4, 8))),
        ({"kv_layout": "unified"}, {}, (True, False, True, (2, 3, 4, 8))),
        ({"ubatch_size": 512}, {}, (True, True, False, (2, 3, 4, 8))),
        ({"threads": 4}, {}, (True, True, True, ())),
        ({"threads_batch": 4}, {}, (True, True, True, ())),
        ({"kv_type": "q8_0"}, {}, (False, True, True, (2, 3, 4, 8))),  # it needs flash attention
        ({"parallel": 1}, {}, (True, False, True, (2, 3, 4, 8))),  # one answer: no layout matters
        ({}, {"has_state": True}, (True, False, True, (2, 3, 4, 8))),
    ],
)
def test_wishes_and_the_model_fix_what_is_not_tried(
    wishes: dict[str, Any], model: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    wished = EngineWishes(**wishes)
    traits = Traits(**{name: getattr(MODEL, name) for name in Traits.__slots__} | model)
    room = space(wished, settings(wished), traits, MACHINE)
    assert (room.flash_attention, room.kv_layout, room.ubatch_size, room.threads) == expected


def test_streams_are_not_tried_where_they_do_not_fit() -> None:
    tight = Machine(**{**_fields(MACHINE), "available_bytes": 2 * GIB})
    chosen = choose(EngineWishes(), MODEL, tight)
    assert chosen.kv_layout == "unified"
    assert not space(EngineWishes(), chosen, MODEL, tight).kv_layout


def test_one_buffer_is_not_tried_where_a_window_has_a_cache_of_its_size() -> None:
    facts = {name: getattr(MODEL, name) for name in Traits.__slots__}
    windowed = Traits(**facts | {"window": 512, "window_share": 0.5})
    chosen = choose(EngineWishes(), windowed, MACHINE)
    assert not chosen.full_window
    assert not space(EngineWishes(), chosen, windowed, MACHINE).kv_layout


def test_one_core_leaves_no_threads_to_try() -> None:
    single = Machine(**{**_fields(MACHINE), "cpus": 1, "physical_cores": 1})
    assert space(EngineWishes(), choose(EngineWishes(), MODEL, single), MODEL, single).threads == ()


@pytest.mark.parametrize(
    ("row_s", "available", "context", "expected"),
    [
        (0.001, 16 * GIB, 4096, (8, 128, 600)),
        (0.02, 16 * GIB, 4096, (8, 32, 125)),  # a slow model gets shorter prompts
        (1.0, 16 * GIB, 4096, (8, 32, 64)),
        (0.001, 16 * GIB, 256, (8, 128, 256)),
        (0.001, 2 * GIB, 4096, (8, 128, 600)),
        (0.001, GIB // 10 + 22_016 * 23_040 + GIB // 4, 4096, (2, 128, 600)),
        (0.001, GIB, 4096, None),
    ],
)
def test_a_measurement_fits_time_and_memory(
    row_s: float, available: int, context: int, expected: tuple[int, int, int] | None
) -> None:
    wishes = EngineWishes(context_size=context, kv_layout="unified")
    machine = Machine(**{**_fields(MACHINE), "available_bytes": available})
    chosen = replace(choose(wishes, MODEL, machine), total_cells=22_016)
    if available == GIB:
        chosen = replace(chosen, total_cells=10**6)
    made = shape(chosen, NOTHING, MODEL, machine, row_s=row_s)
    assert (None if made is None else (made.rows, made.each, made.depth)) == expected


def test_a_search_changes_only_what_it_may() -> None:
    assert tuned_of(settings()) == TunedSettings(
        flash_attention=False, kv_layout="streams", ubatch_size=512, threads=4, threads_batch=4
    )
