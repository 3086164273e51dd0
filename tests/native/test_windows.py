"""Memory that forgets: sliding windows, recurrent states, and both kinds beside plain attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from runner.binding import Code, Context, Library, Model, NativeError, Prompt, Stepper
from runner.gguf import Window, describe, read_header
from runner.wire.messages import EngineWishes
from runner.worker.footprint import FULL, need
from runner.worker.settings import choose, context_options, traits
from tests.support.state_models import (
    MANY_LAYERS,
    VOCABULARY,
    WINDOW,
    write_state_models,
    write_window_models,
)

from .driver import Engine

pytestmark = pytest.mark.native

UBATCH = 64
RANDOM = Random(7)
TEXT = [RANDOM.randrange(3, VOCABULARY) for _ in range(700)]
GREEDY: dict[str, Any] = {"temperature": 0, "ignore_eos": True}
LAYOUTS = pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "streams"])
KINDS = pytest.mark.parametrize("kind", ["window", "recurrent", "hybrid"])

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="module")
def models(library: Library, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    paths = write_state_models(tmp_path_factory.mktemp("models"))
    return {kind: Model(library, path) for kind, path in paths.items()}


@pytest.fixture
def make(models: dict[str, Model]) -> Iterator[MakeEngine]:
    contexts: list[Context] = []

    def make(kind: str, **settings: Any) -> Engine:
        defaults = {"n_ctx": 4096, "n_batch": 256, "n_ubatch": UBATCH, "n_seq_max": 4}
        more = {"n_threads": 1, "n_outputs_max": 16, "flash_attn": True, "kv_unified": False}
        more["full_window"] = settings.get("kv_unified", False)
        contexts.append(Context(models[kind], defaults | more | settings))
        return Engine(models[kind], contexts[-1], Stepper(contexts[-1]))

    yield make
    for context in contexts:
        context.close()


def fill(engine: Engine, seq: int, text: list[int], start: int = 0) -> None:
    for at in range(start, len(text), UBATCH):
        engine.step([], Prompt(seq, at, text[at : at + UBATCH], None))


def answer(engine: Engine, seq: int, prompt: list[int], length: int = 8) -> list[int]:
    """Tokens after a prompt of which all but the last token is there."""
    generator, record = engine.begin(seq, prompt, **GREEDY, max_tokens=length)
    tokens = engine.go_on(generator, record).tokens
    engine.context.free_generator(generator)
    return tokens


@KINDS
@LAYOUTS
def test_a_state_goes_on_like_the_sequence_it_was_taken_from(
    make: MakeEngine, kind: str, kv_unified: bool
) -> None:
    engine = make(kind, kv_unified=kv_unified)
    context = engine.context
    fill(engine, 0, TEXT[:300])
    state = context.state(0)
    fill(engine, 0, TEXT, start=300)
    expected = answer(engine, 0, [*TEXT, 9])
    fill(engine, 1, TEXT[::-1])  # other words, where those were
    for seq in (2, 0):
        context.seq_rm(seq)
        context.set_state(seq, state, TEXT[:300])
        fill(engine, seq, TEXT, start=300)
        assert answer(engine, seq, [*TEXT, 9]) == expected


@KINDS
@LAYOUTS
@pytest.mark.parametrize("length", [20, 300])
def test_the_size_of_a_state_is_told_before(
    make: MakeEngine, kind: str, kv_unified: bool, length: int
) -> None:
    engine = make(kind, kv_unified=kv_unified)
    info = engine.context.info
    fill(engine, 1, TEXT[:length])
    passed = max(0, length - info.window) if info.window else 0
    told = info.state_bytes + info.token_bytes * length - info.window_token_bytes * passed
    assert engine.context.state_size(1) == pytest.approx(told, rel=0.05)
    assert engine.context.state_size(1) <= told


@KINDS
@LAYOUTS
@pytest.mark.parametrize("context_size", [1024, None])
def test_what_a_cache_takes_is_told_from_the_header(
    models: dict[str, Model], tmp_path: Path, kind: str, kv_unified: bool, context_size: int | None
) -> None:
    data = write_state_models(tmp_path)[kind].read_bytes()
    metadata = describe(read_header(data, len(data)))
    wishes = EngineWishes(
        context_size=context_size,
        kv_layout="unified" if kv_unified else "streams",
        prefix_ram_bytes=2**20,  # or a window is no shorter than the context
    )
    settings = choose(wishes, traits(metadata), FULL)
    with Context(models[kind], context_options(settings)) as context:
        assert need(settings, metadata).cache_bytes == context.info.memory_bytes["context"]


@LAYOUTS
@pytest.mark.parametrize(
    ("architecture", "windows"), [("gemma3", 6), ("gemma2", 4), ("cohere2", 6)]
)
def test_layers_that_only_the_architecture_gives_a_window_are_told_from_the_header(
    library: Library, tmp_path: Path, architecture: str, windows: int, kv_unified: bool
) -> None:
    path = write_window_models(tmp_path)[architecture]
    data = path.read_bytes()
    metadata = describe(read_header(data, len(data)))
    assert metadata.window == Window(WINDOW, windows / MANY_LAYERS)
    wishes = EngineWishes(
        context_size=2048,
        kv_layout="unified" if kv_unified else "streams",
        prefix_ram_bytes=2**20,
    )
    settings = choose(wishes, traits(metadata), FULL)
    with Model(library, path) as model, Context(model, context_options(settings)) as context:
        assert model.info()["swa_layers"] == windows
        told = need(settings, metadata).cache_bytes
        assert told == pytest.approx(context.info.memory_bytes["context"], rel=1e-3)


def test_what_forgets_says_so(make: MakeEngine) -> None:
    info = make("window").context.info
    assert (info.window, info.full_window, info.seq_rm) == (WINDOW, False, "part")
    full = make("window", full_window=True).context.info
    assert (full.window, full.full_window) == (WINDOW, True)
    assert info.memory_bytes["context"] < 0.7 * full.memory_bytes["context"]
    for kind in ("recurrent", "hybrid"):
        info = make(kind).context.info
        assert (info.window, info.window_token_bytes, info.seq_rm) == (0, 0, "full")


def test_a_window_is_cut_back_only_as_far_as_it_was_not_passed(make: MakeEngine) -> None:
    engine = make("window")
    context = engine.context
    fill(engine, 0, TEXT)
    first, last = context.seq_range(0)
    assert (400 < first < 600, last) == (True, 699)
    assert not context.seq_rm(0, 300)
    assert not context.seq_rm(0, first + WINDOW - 2)
    assert context.seq_range(0) == (first, last)
    assert context.seq_rm(0, first + WINDOW - 1)
    cut = [*TEXT[: first + WINDOW - 1], 9]
    shortened = answer(engine, 0, cut)
    fill(engine, 1, cut[:-1])
    assert answer(engine, 1, cut) == shortened
    assert context.seq_rm(0)


def test_a_window_has_room_for_guesses_that_were_wrong(make: MakeEngine) -> None:
    engine = make("window")
    random = Random(3)
    text = TEXT[:200]
    fill(engine, 0, text)
    for at in range(300):  # round the cache more than once
        fill(engine, 0, text + TEXT[at : at + random.randrange(1, 9)], start=len(text))
        text = text + TEXT[at : at + 1]
        assert engine.context.seq_rm(0, len(text))
    expected = answer(engine, 0, [*text, 9])
    fill(engine, 1, text)
    assert answer(engine, 1, [*text, 9]) == expected


def test_guesses_change_nothing_that_is_sampled(make: MakeEngine) -> None:
    engine = make("window")
    prompt = TEXT[:100] * 3
    fill(engine, 0, prompt[:-1])
    fill(engine, 1, prompt[:-1])
    alone = answer(engine, 0, prompt, length=60)
    generator, record = engine.begin(1, prompt, **GREEDY, max_tokens=60)
    records = [record]
    while not records[-1].flags:
        records += engine.stepper.run([generator], [], (6,)).records
    assert [record.token for record in records] == alone


@pytest.mark.parametrize("length", [200, 700], ids=["by_state", "as_a_stream"])
@KINDS
def test_a_copied_sequence_goes_on_like_its_source(
    make: MakeEngine, kind: str, length: int
) -> None:
    engine = make(kind)
    fill(engine, 0, TEXT[:length])
    engine.context.seq_cp(0, 1)
    prompt = [*TEXT[:length], 9]
    assert answer(engine, 1, prompt) == answer(engine, 0, prompt)


def test_a_window_that_another_sequence_has_written_over_is_not_copied(make: MakeEngine) -> None:
    engine = make("window", kv_unified=True)
    context = engine.context
    fill(engine, 0, TEXT[:100])
    fill(engine, 1, TEXT)
    context.seq_rm(0)
    fill(engine, 2, TEXT[:200])  # in the cells of 0, and behind them in what 1 has passed
    with pytest.raises(NativeError, match="behind its window") as caught:
        context.seq_cp(1, 3, 0, 90)
    assert caught.value.code is Code.STATE
    assert context.seq_range(3) == (-1, -1)
    assert not context.seq_rm(1, 90)
    context.seq_cp(1, 3)
    assert answer(engine, 3, [*TEXT, 9]) == answer(engine, 1, [*TEXT, 9])


def test_sequences_in_one_buffer_have_full_windows(make: MakeEngine) -> None:
    with pytest.raises(NativeError, match="full_window"):
        make("window", kv_unified=True, full_window=False)
