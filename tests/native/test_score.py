"""How likely the model finds a text, measured in pieces and token by token."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from runner.binding import Code, NativeError, Prompt, Record

from .driver import PROMPT, Engine

pytestmark = [pytest.mark.native, pytest.mark.model]
MakeEngine = Callable[..., Engine]


def stepped(engine: Engine, tokens: list[int]) -> list[float]:
    """The same, as a generator reports it that may say nothing but this text."""
    grammar = "root ::= " + " ".join(f"<[{token}]>" for token in tokens[1:])
    answer = engine.complete(
        tokens[:1], grammar=grammar, temperature=0, top_logprobs=0, max_tokens=len(tokens) - 1
    )
    assert answer.tokens == tokens[1:]
    return [record.logprob for record in answer.records if record.logprob is not None]


def test_a_score_row_by_row_is_what_stepping_token_by_token_gives(make_engine: MakeEngine) -> None:
    engine = make_engine(n_seq_max=1, n_outputs_max=1)
    tokens = engine.tokens(PROMPT)
    assert engine.context.score(0, tokens).tolist() == stepped(engine, tokens)


@pytest.mark.parametrize("outputs", [4, 7, 64], ids=lambda n: f"{n}_rows_a_piece")
def test_a_score_in_larger_pieces_differs_by_rounding_only(
    make_engine: MakeEngine, outputs: int
) -> None:
    engine = make_engine(n_outputs_max=outputs)
    tokens = engine.tokens(PROMPT)
    scores = engine.context.score(1, tokens).tolist()
    # Kernels differ by the number of rows: single tokens by 0.2, their mean by 0.01.
    assert statistics.fmean(scores) == pytest.approx(
        statistics.fmean(stepped(engine, tokens)), abs=0.1
    )


def test_a_step_tells_the_scores_of_prompt_rows(make_engine: MakeEngine) -> None:
    engine = make_engine(n_outputs_max=4)
    tokens = engine.tokens(PROMPT)
    records: list[Record] = []
    for start in range(0, len(tokens), 4):
        rows, behind = tokens[start : start + 4], tokens[start + 1 : start + 5]
        scored = [*behind, *[-1] * (len(rows) - len(behind))]
        records += engine.step([], Prompt(1, start, rows, None, None, scored, 2))
    assert [record.token for record in records] == tokens[1:]
    assert {(record.generator, record.text, record.flags) for record in records} == {(-1, "", 0)}
    whole = engine.context.score(0, tokens).tolist()
    assert [record.logprob for record in records] == whole
    for record in records:
        assert len(record.top) == 2
        assert record.logprob is not None and record.logprob <= record.top[0][1]


@pytest.mark.parametrize(
    ("scored", "generates", "message"),
    [
        ([5, 49152], False, "score: token 49152"),
        ([-1, -2], False, "score: token -2"),
        ([5, 5], True, "row 1 has a score and a generator"),
        ([5] * 5, False, "5 rows to sample from, the context allows 4"),
    ],
    ids=["no_token", "no_name", "generator", "too_many"],
)
def test_scores_that_cannot_be_told_are_refused(
    make_engine: MakeEngine, scored: list[int], generates: bool, message: str
) -> None:
    engine = make_engine(n_outputs_max=4)
    generator = None
    if generates:
        generator = engine.context.new_generator({"max_tokens": 1})
        engine.context.bind(generator, 0, len(scored), [])
    prompt = Prompt(0, 0, [1] * len(scored), generator, None, scored)
    with pytest.raises(NativeError, match=message) as refused:
        engine.stepper.run([], [prompt])
    assert refused.value.code is Code.ARGUMENT
    # Nothing of it is left for the next step.
    assert engine.step([], Prompt(0, 0, [1], None)) == []


def test_a_score_leaves_nothing_in_memory(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = engine.tokens(PROMPT)
    before = engine.complete(tokens, temperature=0).tokens
    first = engine.context.score(1, tokens)
    assert engine.context.seq_range(1) == (-1, -1)
    assert engine.context.score(1, tokens).tolist() == first.tolist()
    assert engine.complete(tokens, temperature=0).tokens == before


@pytest.mark.parametrize(
    ("code", "seq", "count", "message"),
    [
        (Code.ARGUMENT, 4, 2, "seq: sequence 4 is outside 0..3"),
        (Code.ARGUMENT, 1, 1, "n: a score needs 2 tokens or more, got 1"),
        (Code.ARGUMENT, 1, 300, "n: 300 tokens, a sequence holds 256"),
        (Code.STATE, 0, 2, "sequence 0 is not empty"),
    ],
    ids=["no_such_sequence", "too_short", "too_long", "occupied"],
)
def test_what_cannot_be_scored_is_refused(
    make_engine: MakeEngine, code: Any, seq: int, count: int, message: str
) -> None:
    engine = make_engine(kv_unified=False)
    engine.complete(PROMPT, max_tokens=1)
    with pytest.raises(NativeError, match=message) as refused:
        engine.context.score(seq, [1] * count)
    assert refused.value.code == code


def test_a_token_outside_the_vocabulary_is_refused(make_engine: MakeEngine) -> None:
    with pytest.raises(NativeError, match="tok: token -1 is outside the vocabulary"):
        make_engine().context.score(0, [1, -1])
