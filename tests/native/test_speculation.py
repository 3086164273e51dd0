"""Guesses from the text itself change how many steps an answer takes, and nothing else.

Kernels may round a row that is computed alone otherwise than the same row among others: llama.cpp's
attention does so without flash attention (its products of one column take another path), and with
it as soon as two threads share the row. What must be equal to the last bit is therefore compared
with flash attention on one thread, where a test of its own says whether this build is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from native.builder.tiny_model import write_models
from runner.binding import Code, Context, Flag, Library, Model, NativeError, Prompt, Record, Stepper
from runner.engine.backend import Bind, Plan, Prefill
from runner.worker.llama import LlamaBackend

from .driver import Engine

pytestmark = [pytest.mark.native, pytest.mark.model]
MakeEngine = Callable[..., Engine]

REPEATS = "The king has a red hat. The queen has a red hat. The king has a red hat. The queen"
VARIED = "Once upon a time there was a frog who"
EXACT = {"flash_attn": True, "n_outputs_max": 36}


@dataclass
class Run:
    """One generator on its way, and how it got there."""

    generator: int
    records: list[Record]
    prompt_tokens: int
    drafted: int = 0
    steps: int = 0

    @property
    def text(self) -> str:
        return "".join(record.text for record in self.records)

    @property
    def accepted(self) -> int:
        return len(self.records) - 1 - self.steps


def begin(engine: Engine, prompt: str, seq: int, **settings: Any) -> Run:
    tokens = engine.tokens(prompt)
    engine.context.seq_rm(seq)
    generator, record = engine.begin(seq, tokens, **settings)
    return Run(generator, [record], len(tokens))


def finish(engine: Engine, runs: Sequence[Run], drafts: Sequence[int]) -> None:
    """Decode all to their ends, each with its own number of guesses."""
    by_id = {run.generator: run for run in runs}
    while going := [i for i, run in enumerate(runs) if not run.records[-1].flags]:
        ids = [runs[i].generator for i in going]
        outcome = engine.stepper.run(ids, (), [drafts[i] for i in going])
        assert outcome.rc == 0
        assert list(dict.fromkeys(record.generator for record in outcome.records)) == ids
        for record in outcome.records:
            by_id[record.generator].records.append(record)
        for generator, drafted in zip(ids, outcome.drafted, strict=True):
            by_id[generator].drafted += drafted
            by_id[generator].steps += 1


def answer(engine: Engine, prompt: str, drafts: int, *, seq: int = 0, **settings: Any) -> Run:
    run = begin(engine, prompt, seq, **{"max_tokens": 16} | settings)
    finish(engine, [run], [drafts])
    engine.context.free_generator(run.generator)
    return run


def repeated(engine: Engine, words: str, times: int) -> dict[str, Any]:
    """Settings of an answer that says these words so often, each a token, and ends."""
    tokens = engine.model.tokenize(words * times, add_special=False, parse_special=False)
    grammar = "root ::= " + " ".join(f"<[{token}]>" for token in tokens)
    return {"grammar": grammar, "temperature": 0, "max_tokens": 100}


@pytest.fixture(scope="module", params=[True, False], ids=["unified", "streams"])
def engine(model: Model, request: pytest.FixtureRequest) -> Iterator[Engine]:
    settings = {"n_ctx": 2048, "n_batch": 256, "n_seq_max": 4, "n_threads": 1}
    with Context(model, settings | EXACT | {"kv_unified": request.param}) as context:
        yield Engine(model, context, Stepper(context))


@pytest.fixture(scope="module")
def exact(engine: Engine) -> Engine:
    require_exact(engine)
    return engine


def require_exact(engine: Engine) -> None:
    """Skip where this build does not compute a row alike alone and among others."""
    tokens = engine.tokens(REPEATS)
    seen = set()
    for rows in (1, 2, 5, 9):
        engine.context.seq_rm(0)
        engine.step([], Prompt(0, 0, tokens[:-rows], None))
        generator, record = engine.begin(0, tokens, temperature=0, top_logprobs=10)
        engine.context.free_generator(generator)
        seen.add(record.top)
    engine.context.clear()
    if len(seen) > 1:
        pytest.skip("the kernels of this build round a row otherwise among others than alone")


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": 0, "top_logprobs": 5},
        {"temperature": 1.0, "seed": 3, "top_logprobs": 0},
        {"temperature": 1.0, "seed": 4, "top_k": 0, "top_p": 1.0},
        {"temperature": 0, "repeat_penalty": 1.1, "frequency_penalty": 0.2},
        {"temperature": 0, "dry_multiplier": 0.8},
        {"seed": 5, "mirostat": 2},
        {"temperature": 0, "json_schema": '{"type": "array", "items": {"type": "boolean"}}'},
        {"temperature": 0, "stop": ["hat. The king"]},
    ],
    ids=str,
)
def test_guesses_change_nothing_but_the_number_of_steps(
    exact: Engine, settings: dict[str, Any]
) -> None:
    without = answer(exact, REPEATS, 0, **settings)
    memory = exact.context.seq_range(0)
    guessed = answer(exact, REPEATS, 8, **settings)
    assert [record[1:] for record in guessed.records] == [record[1:] for record in without.records]
    assert exact.context.seq_range(0) == memory
    assert without.drafted == 0
    assert guessed.drafted >= guessed.accepted >= 0


def test_a_text_that_repeats_takes_few_steps(engine: Engine) -> None:
    run = answer(engine, "Say", 8, **repeated(engine, " one two three", 12))
    assert run.text == " one two three" * 12
    assert len(run.records) >= 36
    assert run.steps <= 12
    assert run.accepted >= 24


def test_an_end_within_the_guesses_is_the_end(engine: Engine) -> None:
    run = answer(engine, "Say", 8, **repeated(engine, " one two", 10))
    assert run.text == " one two" * 10
    assert run.records[-1].flags == Flag.EOS
    assert [record.flags for record in run.records[:-1]] == [0] * (len(run.records) - 1)


def test_a_limit_within_the_guesses_is_kept(engine: Engine) -> None:
    settings = repeated(engine, " one two", 20) | {"max_tokens": 13}
    run = answer(engine, "Say", 8, **settings)
    assert len(run.records) == 13
    assert run.records[-1].flags == Flag.LENGTH
    assert run.steps < 12
    # The last token was sampled and never fed.
    assert engine.context.seq_range(0) == (0, run.prompt_tokens + 13 - 2)


def test_a_stop_string_within_the_guesses_cuts_the_text(engine: Engine) -> None:
    settings = repeated(engine, " one two", 20) | {"stop": ["one two one two one two one"]}
    without = answer(engine, "Say", 0, **settings)
    run = answer(engine, "Say", 8, **settings)
    assert (run.text, run.records[-1].flags, run.records[-1].stop_index) == (" ", Flag.STOP, 0)
    assert len(run.records) == len(without.records)
    assert run.steps < without.steps


def test_rejected_guesses_leave_no_trace_in_memory(exact: Engine) -> None:
    # "The queen has" was followed by " a red hat" in the prompt; the answer must be another.
    settings = repeated(exact, " has six seven eight nine", 1) | {"top_logprobs": 5}
    without = answer(exact, REPEATS, 0, **settings)
    run = begin(exact, REPEATS, 0, **settings)
    outcome = exact.stepper.run([run.generator], (), [8])
    assert (outcome.drafted, len(outcome.records)) == ((8,), 1)
    assert exact.context.seq_range(0) == (0, run.prompt_tokens)
    run.records += outcome.records
    finish(exact, [run], [0])
    exact.context.free_generator(run.generator)
    assert [record[1:] for record in run.records] == [record[1:] for record in without.records]


def test_sequences_of_one_step_guess_each_for_itself(engine: Engine) -> None:
    words = [" one two", " three four five", " six"]
    runs = [
        begin(engine, "Say", seq, **repeated(engine, word, 9)) for seq, word in enumerate(words)
    ]
    finish(engine, runs, [8, 0, 3])
    assert [run.text for run in runs] == [word * 9 for word in words]
    assert [run.records[-1].flags for run in runs] == [Flag.EOS] * 3
    assert runs[0].accepted > 0
    assert (runs[1].drafted, runs[1].accepted) == (0, 0)
    assert 0 < runs[2].accepted <= runs[2].drafted
    for run in runs:
        engine.context.free_generator(run.generator)


def test_a_copied_sequence_guesses_from_what_was_copied(engine: Engine) -> None:
    tokens = engine.tokens(REPEATS)
    engine.context.clear()
    engine.step([], Prompt(0, 0, tokens[:-1], None))
    engine.context.seq_cp(0, 1)
    generator, _ = engine.begin(1, tokens, logit_bias=[[tokens[6], 100]], temperature=0)
    assert engine.stepper.run([generator], (), [4]).drafted == (0,)  # " red red" was not there
    engine.context.clear()
    engine.step([], Prompt(0, 0, tokens[:-1], None))
    engine.context.seq_cp(0, 1)
    has = tokens[2]
    other, record = engine.begin(1, tokens, logit_bias=[[has, 100]], temperature=0)
    assert record.token == has
    assert engine.stepper.run([other], (), [4]).drafted == (4,)  # "The queen has" was
    for one in (generator, other):
        engine.context.free_generator(one)


def test_what_a_sequence_no_longer_holds_is_not_guessed(engine: Engine) -> None:
    has = engine.tokens(REPEATS)[2]
    wish: dict[str, Any] = {"logit_bias": [[has, 100]], "temperature": 0}
    for forget in (lambda: engine.context.seq_rm(0), engine.context.clear):
        engine.context.clear()
        engine.step([], Prompt(0, 0, engine.tokens(REPEATS), None))
        forget()
        generator, record = engine.begin(0, engine.tokens("The queen"), **wish)
        assert record.token == has
        assert engine.stepper.run([generator], (), [4]).drafted == (0,)
        engine.context.free_generator(generator)


def test_a_step_that_is_full_only_for_its_guesses_goes_without(make_engine: MakeEngine) -> None:
    engine = make_engine(n_ctx=256, n_seq_max=2, **EXACT)
    settings = repeated(engine, " one two", 20)
    run = begin(engine, "Say", 0, **settings)
    while run.accepted < 4:
        outcome = engine.stepper.run([run.generator], (), [8])
        run.records += outcome.records
        run.steps += 1
    used = engine.context.seq_range(0)[1] + 1
    engine.step([], Prompt(1, 0, [5] * (256 - used - 1), None))
    outcome = engine.stepper.run([run.generator], (), [8])
    assert (outcome.rc, outcome.drafted, len(outcome.records)) == (0, (0,), 1)
    assert engine.stepper.run([run.generator], (), [8]).rc == 1  # now it is really full
    assert engine.context.seq_range(0) == (0, used)
    engine.context.seq_rm(1)
    finish(engine, [run], [8])
    assert run.accepted > 8


def test_guesses_fill_what_is_left_and_no_more(make_engine: MakeEngine) -> None:
    engine = make_engine(n_outputs_max=6, n_batch=16, flash_attn=True)
    runs = [begin(engine, "Say", seq, **repeated(engine, " one two", 20)) for seq in (0, 1)]
    ids = [run.generator for run in runs]
    steps = [engine.stepper.run(ids, (), [8, 8]) for _ in range(8)]
    assert max(sum(outcome.drafted) for outcome in steps) == 4
    # What was asked for comes first: of 16 rows 13 are a prompt's, 2 the generators' own.
    outcome = engine.stepper.run(ids, [Prompt(2, 0, [5] * 13, None)], [8, 8])
    assert outcome.drafted == (1, 0)


def test_a_full_context_ends_the_guessing(make_engine: MakeEngine) -> None:
    engine = make_engine(n_ctx=512, n_seq_max=2, kv_unified=False, **EXACT)
    run = begin(engine, "Say" + " one" * 244, 0, grammar='root ::= " one"*', temperature=0)
    while engine.context.seq_range(0)[1] < 255:
        outcome = engine.stepper.run([run.generator], (), [8])
        assert outcome.rc == 0
    with pytest.raises(NativeError, match="sequence 0 is full: 256 positions"):
        engine.stepper.run([run.generator], (), [8])


def test_numbers_of_guesses_that_make_no_sense_are_refused(engine: Engine) -> None:
    run = begin(engine, VARIED, 0)
    with pytest.raises(NativeError, match="n_draft: -1 for generator") as caught:
        engine.stepper.run([run.generator], (), [-1])
    assert caught.value.code == Code.ARGUMENT
    with pytest.raises(ValueError, match="2 drafts for 1 generators"):
        engine.stepper.run([run.generator], (), [1, 1])
    engine.context.free_generator(run.generator)


def test_without_flash_attention_forced_answers_are_the_same(make_engine: MakeEngine) -> None:
    engine = make_engine(n_outputs_max=12)
    settings = repeated(engine, " one two", 10) | {"top_logprobs": 0}
    without = answer(engine, "Say", 0, **settings)
    guessed = answer(engine, "Say", 8, **settings)
    assert [r[1:4] for r in guessed.records] == [r[1:4] for r in without.records]
    assert guessed.steps < without.steps
    for one, other in zip(guessed.records, without.records, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=0.5)


@pytest.fixture
def assisted(model: Model, make_engine: MakeEngine) -> Engine:
    """An engine whose model guesses for itself: nothing it wants most is ever guessed wrong."""
    engine = make_engine(n_batch=32, **EXACT)
    settings = {"n_ctx": 1024, "n_batch": 32, "n_seq_max": 4, "n_threads": 1, "flash_attn": True}
    require_exact(engine)
    engine.context.take_draft(Context(model, settings))
    return engine


def test_a_draft_model_guesses_where_the_text_does_not(assisted: Engine) -> None:
    settings = {"temperature": 0, "max_tokens": 20, "top_logprobs": 3}
    without = answer(assisted, VARIED, 0, **settings)
    guessed = answer(assisted, VARIED, 4, **settings)
    assert [record.token for record in guessed.records] == [r.token for r in without.records]
    assert guessed.drafted > 0
    assert guessed.accepted >= guessed.drafted // 2
    assert guessed.steps < without.steps


def test_a_draft_model_follows_what_happens_to_sequences(assisted: Engine) -> None:
    settings = {"temperature": 0, "max_tokens": 10}
    prompts = [VARIED, "The seven days of the week are Monday, Tuesday,", REPEATS]
    expected = [answer(assisted, prompt, 0, **settings) for prompt in prompts]
    runs = [begin(assisted, prompt, seq, **settings) for seq, prompt in enumerate(prompts)]
    finish(assisted, runs, [3, 3, 3])
    assisted.context.clear()
    again = begin(assisted, prompts[1], 0, **settings)  # another text in the first one's place
    finish(assisted, [again], [3])
    for run, want in zip([*runs, again], [*expected, expected[1]], strict=True):
        assert [record.token for record in run.records] == [r.token for r in want.records]
    assert again.accepted > 0


def test_a_draft_model_reads_a_long_prompt_over_several_steps(assisted: Engine) -> None:
    tokens = [token for token in range(1000, 1100) if token % 7]  # nothing in it repeats
    generator = assisted.context.new_generator({"temperature": 0, "seed": 1})
    assisted.context.bind(generator, 0, len(tokens))
    for at in range(0, len(tokens), 32):
        part = tokens[at : at + 32]
        last = generator if at + 32 >= len(tokens) else None
        records = assisted.step([], Prompt(0, at, part, last))
    assert len(records) == 1
    drafted = [assisted.stepper.run([generator], (), [2]).drafted[0] for _ in range(2)]
    assert drafted == [0, 0]  # 32 of 85 tokens a step
    assert assisted.context.seq_range(0) == (0, len(tokens) + 1)


def test_a_draft_model_with_another_vocabulary_is_refused(
    library: Library, make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    quantised, plain = tmp_path / "quantised.gguf", tmp_path / "plain.gguf"
    write_models(quantised, plain)
    with Model(library, plain) as other:
        small = {"n_ctx": 256, "n_batch": 32, "n_seq_max": 4}
        with Context(other, small) as draft:
            with pytest.raises(NativeError, match="the draft model's vocabulary is") as caught:
                engine.context.take_draft(draft)
            assert caught.value.code == Code.UNSUPPORTED
    narrow = Context(engine.model, {"n_ctx": 256, "n_batch": 32, "n_seq_max": 2})
    with narrow, pytest.raises(NativeError, match="2 sequences, the model has 4"):
        engine.context.take_draft(narrow)
    with pytest.raises(NativeError, match="another context"):
        engine.context.take_draft(engine.context)


def test_a_plan_with_drafts_tells_what_was_checked(engine: Engine) -> None:
    backend = LlamaBackend(engine.context, threads=1, threads_batch=1)
    prompt = tuple(engine.tokens("Say"))
    engine.context.clear()
    generator = engine.context.new_generator(repeated(engine, " one two", 6))
    bind = Bind(generator, 0, len(prompt), ())
    first = backend.run(Plan((bind,), (), (Prefill(0, 0, prompt, generator),)))
    sampled, drafted = list(first.sampled), 0
    assert first.drafted == ()
    while sampled[-1].stop is None:
        result = backend.run(Plan((), (generator,), (), drafts=(8,)))
        sampled += result.sampled
        drafted += result.drafted[0]
    assert "".join(one.text for one in sampled) == " one two" * 6
    assert drafted > 0
    backend.free(generator)
