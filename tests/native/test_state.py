"""A sequence's memory taken out as bytes and put back: the same logits, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runner.binding import Code, NativeError, Prompt

from .driver import PROMPT, Engine

pytestmark = [pytest.mark.native, pytest.mark.model]
MakeEngine = Callable[..., Engine]
LOGPROBS: dict[str, Any] = {"temperature": 0, "max_tokens": 8, "top_logprobs": 5}
LAYOUTS = pytest.mark.parametrize(
    "settings",
    [
        {"kv_unified": True},
        {"kv_unified": False},
        {"kv_unified": False, "flash_attn": True, "type_k": "q8_0", "type_v": "q8_0"},
    ],
    ids=["unified", "streams", "quantised"],
)


def compute(engine: Engine, seq: int, tokens: list[int]) -> None:
    engine.step([], Prompt(seq, 0, tokens, None))


def answer(engine: Engine, seq: int, prompt: list[int]) -> list[Any]:
    """Tokens and log-probabilities after a prompt of which all but the last token is there."""
    generator, record = engine.begin(seq, prompt, **LOGPROBS)
    records = engine.go_on(generator, record).records
    engine.context.free_generator(generator)
    return [(record.token, record.logprob, record.top) for record in records]


@LAYOUTS
def test_a_state_put_back_gives_bit_identical_logits(
    make_engine: MakeEngine, settings: dict[str, Any]
) -> None:
    engine = make_engine(**settings)
    tokens = engine.tokens(PROMPT)
    compute(engine, 0, tokens[:-1])
    state = engine.context.state(0)
    expected = answer(engine, 0, tokens)
    engine.context.seq_rm(0)
    compute(engine, 0, engine.tokens("Other words where those were"))
    engine.context.seq_rm(0)
    for seq in (0, 2):  # a state is nobody's: it may go on elsewhere
        engine.context.set_state(seq, state, tokens[:-1])
        assert engine.context.seq_range(seq) == (0, len(tokens) - 2)
        assert answer(engine, seq, tokens) == expected


@LAYOUTS
def test_a_state_put_back_may_be_cut(make_engine: MakeEngine, settings: dict[str, Any]) -> None:
    engine = make_engine(**settings)
    tokens = engine.tokens(PROMPT)
    compute(engine, 0, tokens)
    state = engine.context.state(0)
    assert engine.context.seq_rm(0, 5)
    expected = answer(engine, 0, tokens[:6])
    engine.context.seq_rm(0)
    engine.context.set_state(0, state, tokens)
    assert engine.context.seq_rm(0, 5)
    assert answer(engine, 0, tokens[:6]) == expected


def test_taking_a_state_changes_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = engine.tokens(PROMPT)
    compute(engine, 0, tokens)
    first, second = engine.context.state(0), engine.context.state(0)
    assert np.array_equal(first, second)
    assert engine.context.seq_range(0) == (0, len(tokens) - 1)


@LAYOUTS
def test_the_size_is_told_before(make_engine: MakeEngine, settings: dict[str, Any]) -> None:
    engine = make_engine(**settings)
    info = engine.context.info
    tokens = engine.tokens(PROMPT)
    compute(engine, 1, tokens)
    expected = info.state_bytes + info.token_bytes * len(tokens)
    assert engine.context.state_size(1) == expected == engine.context.state(1).nbytes


def test_what_is_not_a_state_of_this_context_is_refused(make_engine: MakeEngine) -> None:
    engine, other = make_engine(), make_engine(kv_unified=False)
    context = engine.context
    tokens = engine.tokens(PROMPT)
    compute(engine, 0, tokens)
    state = context.state(0)
    broken = state.copy()
    broken[0] ^= 1
    cases = [
        (Code.STATE, broken, tokens),
        (Code.STATE, state[:-1], tokens),
        (Code.STATE, state[:40], tokens),
        (Code.ARGUMENT, np.append(state, np.uint8(0)), tokens),
        (Code.ARGUMENT, np.empty(0, np.uint8), tokens),
        (Code.ARGUMENT, state, tokens[:-1]),
        (Code.ARGUMENT, state, [*tokens, 1]),
        (Code.ARGUMENT, state, []),
        (Code.ARGUMENT, state, [*tokens[:-1], -1]),
    ]
    for code, data, text in cases:
        with pytest.raises(NativeError) as caught:
            context.set_state(1, data, text)
        assert caught.value.code is code
        assert context.seq_range(1) == (-1, -1)
    with pytest.raises(NativeError):
        other.context.set_state(1, state, tokens)
    context.set_state(1, state, tokens)


def test_a_sequence_must_be_there_to_be_saved_and_empty_to_be_filled(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    context = engine.context
    tokens = engine.tokens(PROMPT)
    with pytest.raises(NativeError, match="is empty"):
        context.state(0)
    with pytest.raises(NativeError, match="outside"):
        context.state(4)
    compute(engine, 0, tokens)
    state = context.state(0)
    with pytest.raises(NativeError, match="not empty"):
        context.set_state(0, state, tokens)
    with pytest.raises(NativeError, match="outside"):
        context.set_state(-1, state, tokens)
    buffer = np.empty(state.nbytes - 1, np.uint8)
    with pytest.raises(NativeError, match="are needed"):
        context.library.check(
            context.library.rn_seq_state_get(context.pointer, 0, buffer.ctypes.data, buffer.nbytes)
        )


def test_without_room_nothing_is_put_back(make_engine: MakeEngine) -> None:
    engine = make_engine(n_ctx=256, n_seq_max=2)
    tokens = (engine.tokens(PROMPT) * 30)[:200]
    compute(engine, 0, tokens)
    state = engine.context.state(0)
    with pytest.raises(NativeError) as caught:
        engine.context.set_state(1, state, tokens)
    assert caught.value.code is Code.STATE
    assert engine.context.seq_range(1) == (-1, -1)
    assert engine.context.seq_range(0) == (0, 199)


@pytest.mark.parametrize("length", [20, 200], ids=["by_state", "as_a_stream"])
def test_a_copied_stream_goes_on_like_its_source(make_engine: MakeEngine, length: int) -> None:
    engine = make_engine(n_ctx=1024, kv_unified=False)
    tokens = (engine.tokens(PROMPT) * 30)[:length]
    compute(engine, 0, tokens[:-1])
    engine.context.seq_cp(0, 1)
    assert engine.context.seq_range(1) == (0, length - 2)
    assert answer(engine, 1, tokens) == answer(engine, 0, tokens)
