"""One batch in, one token out for each generator: positions, prefixes, preemption, limits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from runner.binding import Code, Flag, NativeError, Prompt, Template

from .driver import PROMPT, Engine, collect

pytestmark = [pytest.mark.native, pytest.mark.model]
MakeEngine = Callable[..., Engine]
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}


def test_a_prompt_in_chunks_gives_the_same_greedy_answer(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = engine.tokens(PROMPT)
    whole = engine.complete(tokens, **GREEDY)
    generator = engine.context.new_generator(GREEDY)
    engine.context.bind(generator, 1, len(tokens), tokens)
    assert engine.step([], Prompt(1, 0, tokens[:3], None)) == []
    assert engine.step([], Prompt(1, 3, tokens[3:4], None)) == []
    (record,) = engine.step([], Prompt(1, 4, tokens[4:], generator))
    assert engine.go_on(generator, record).tokens == whole.tokens


def test_a_running_stream_and_a_new_prompt_share_a_step(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = engine.tokens(PROMPT)
    alone = engine.complete(tokens, **GREEDY)
    engine.context.clear()
    first, record = engine.begin(0, tokens, **GREEDY)
    second = engine.context.new_generator(GREEDY)
    engine.context.bind(second, 1, len(tokens), tokens)
    both = engine.step([first], Prompt(1, 0, tokens, second))
    assert [record.generator for record in both] == [first, second]
    assert [record.token, both[0].token] == alone.tokens[:2]
    assert both[1].token == alone.tokens[0]


def test_streams_may_come_in_any_order(make_engine: MakeEngine) -> None:
    engine = make_engine(kv_unified=False)
    prompts = [engine.tokens(text) for text in (PROMPT, "The sky is", "It was a dark", "Ten")]
    alone = {seq: engine.complete(prompts[seq], **GREEDY).tokens for seq in (3, 0, 1)}
    for seq in range(4):
        engine.context.seq_rm(seq)
    begun = {seq: engine.begin(seq, prompts[seq], **GREEDY) for seq in (3, 0)}
    tokens = {generator: [record.token] for generator, record in begun.values()}
    late = engine.context.new_generator(GREEDY)
    engine.context.bind(late, 1, len(prompts[1]), ())
    records = engine.step(list(tokens), Prompt(1, 0, prompts[1], late))
    assert [record.generator for record in records] == [*tokens, late]
    tokens[late] = []
    while records:
        for record in records:
            tokens[record.generator].append(record.token)
        live = [record.generator for record in records if not record.flags]
        records = engine.step(live[::-1]) if live else []
    assert list(tokens.values()) == list(alone.values())


@pytest.mark.parametrize("unified", [True, False], ids=["unified", "streams"])
def test_a_copied_prefix_gives_the_same_greedy_answer(
    make_engine: MakeEngine, unified: bool
) -> None:
    engine = make_engine(kv_unified=unified)
    tokens = engine.tokens(PROMPT)
    other = engine.tokens("Once upon a time there was a frog")
    shared = next(i for i, pair in enumerate(zip(tokens, other)) if pair[0] != pair[1])  # noqa: B905
    fresh = engine.complete(other, seq=2, **GREEDY)
    engine.complete(tokens, seq=0, **GREEDY)
    if unified:
        engine.context.seq_cp(0, 1, 0, shared)
    else:
        engine.context.seq_cp(0, 1)
        assert engine.context.seq_rm(1, shared)
    assert engine.context.seq_range(1) == (0, shared - 1)
    generator, record = engine.begin(1, other, **GREEDY)
    assert engine.go_on(generator, record).tokens == fresh.tokens


@pytest.mark.parametrize("with_pending", [False, True], ids=["decode", "last_row"])
def test_a_preempted_generator_goes_on_where_it_was(
    make_engine: MakeEngine, with_pending: bool
) -> None:
    # Without flash attention a row's last bits depend on the number of rows beside it.
    engine = make_engine(flash_attn=True)
    tokens = engine.tokens(PROMPT)
    settings = {"temperature": 0, "repeat_penalty": 1.3, "max_tokens": 12}
    whole = engine.complete(tokens, **settings)
    engine.context.seq_rm(0)
    generator, record = engine.begin(0, tokens, **settings)
    records = [record, *engine.step([generator]), *engine.step([generator])]
    engine.context.seq_rm(0)

    known = tokens + [record.token for record in records[:-1]]  # the last token is still pending
    engine.context.bind(generator, 3, len(known))
    if with_pending:
        pending = records[-1].token
        records += engine.step([], Prompt(3, 0, [*known, pending], generator))
    else:
        engine.step([], Prompt(3, 0, known, None))
        records += engine.step([generator])
    answer = engine.go_on(generator, records.pop())
    assert [*(r.token for r in records), *answer.tokens] == whole.tokens
    assert collect(records).text + answer.text == whole.text


def test_seeds_are_reproducible_and_differ(shared: Engine) -> None:
    first, again, other = (shared.complete(seed=seed, max_tokens=10).tokens for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_full_memory_leaves_everything_as_it_was(make_engine: MakeEngine) -> None:
    engine = make_engine(n_ctx=256, n_seq_max=2)
    long = (engine.tokens(PROMPT) * 30)[:140]
    generator, record = engine.begin(0, long, **GREEDY)
    outcome = engine.stepper.run([generator], [Prompt(1, 0, long, None)])
    assert (outcome.rc, outcome.records) == (1, [])
    assert engine.context.seq_range(0) == (0, 139)
    assert engine.context.seq_range(1) == (-1, -1)
    assert len(engine.go_on(generator, record).tokens) == GREEDY["max_tokens"]


def test_an_abort_ends_the_running_step_and_takes_its_rows_back(make_engine: MakeEngine) -> None:
    engine = make_engine(n_ubatch=32)
    long = (engine.tokens(PROMPT) * 60)[:500]
    timer = threading.Timer(0.1, engine.context.abort)
    engine.context.library.drain_log()
    timer.start()
    outcome = engine.stepper.run([], [Prompt(0, 0, long, None)])
    timer.join()
    assert outcome.rc == 2
    assert "error" not in {line["level"] for line in engine.context.library.drain_log()}
    assert engine.context.seq_range(0) == (-1, -1)
    assert engine.complete(**GREEDY).text


def test_max_tokens_ends_with_a_flag_and_the_generator_is_over(shared: Engine) -> None:
    generator, record = shared.begin(7, shared.tokens("a"), max_tokens=2, temperature=0)
    answer = shared.go_on(generator, record)
    assert len(answer.tokens) == 2
    assert answer.last.flags == Flag.LENGTH
    with pytest.raises(NativeError, match="has ended"):
        shared.step([generator])
    with pytest.raises(NativeError, match="has ended"):
        shared.context.bind(generator, 7, 1)
    shared.context.seq_rm(7)


def test_threads_can_be_changed_between_steps(make_engine: MakeEngine) -> None:
    engine = make_engine()
    before = engine.complete("a", max_tokens=2, temperature=0)
    for threads in ((1, 2), (2, 1), (1, 1)):
        engine.context.set_threads(*threads)
        assert engine.complete("a", max_tokens=2, temperature=0).tokens == before.tokens


def test_other_threads_prepare_requests_while_steps_run(
    make_engine: MakeEngine, template: Template
) -> None:
    engine = make_engine()
    alone = engine.complete(**GREEDY)
    faults: list[BaseException] = []
    is_over = threading.Event()

    def prepare(number: int) -> None:
        try:
            while not is_over.is_set():
                template.apply({"messages": [{"role": "user", "content": f"Hello {number}"}]})
                engine.tokens("Some text to tokenise " * 20)
                schema = f'{{"const": "{number}"}}'
                engine.context.free_generator(engine.context.new_generator({"json_schema": schema}))
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=prepare, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert engine.complete(**GREEDY).tokens == alone.tokens
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert faults == []


def refusals(engine: Engine) -> dict[str, tuple[Callable[[], Any], Code, str]]:
    context, stepper = engine.context, engine.stepper
    bound, _ = engine.begin(1, [5, 6])
    unbound, unfed = context.new_generator({}), context.new_generator({})
    context.bind(unfed, 2, 2)

    def prompt(seq: int, start: int, tokens: list[int], generator: int | None = None) -> Any:
        return lambda: stepper.run([], [Prompt(seq, start, tokens, generator)])

    return {
        "nothing": (lambda: stepper.run([]), Code.ARGUMENT, "1 to"),
        "token": (prompt(0, 0, [10**6]), Code.ARGUMENT, "outside the vocabulary"),
        "negative token": (prompt(0, 0, [-1]), Code.ARGUMENT, "outside the vocabulary"),
        "sequence": (prompt(4, 0, [5]), Code.ARGUMENT, "sequence 4 is outside"),
        "gap": (prompt(0, 3, [5]), Code.ARGUMENT, "must go on at position 0, got 3"),
        "again": (prompt(1, 1, [5]), Code.ARGUMENT, "must go on at position 2, got 1"),
        "unknown": (lambda: stepper.run([99]), Code.ARGUMENT, "does not exist"),
        "unbound": (prompt(0, 0, [5], unbound), Code.STATE, "bound to sequence -1"),
        "no token yet": (lambda: stepper.run([unfed]), Code.STATE, "no token to feed"),
        "wrong place": (prompt(2, 0, [5], unfed), Code.ARGUMENT, "samples at position 1"),
        "wrong pending": (prompt(1, 2, [5], bound), Code.ARGUMENT, "samples at position 2"),
        "twice": (lambda: stepper.run([bound, bound]), Code.ARGUMENT, "must go on at|twice"),
        "too many rows": (
            lambda: stepper.run([bound], [Prompt(0, 0, [5] * 512, None)]),
            Code.ARGUMENT,
            "1 generators and 512 rows: a step has 1 to 512 rows",
        ),
        "copy to full": (lambda: context.seq_cp(0, 1), Code.STATE, "not empty"),
        "copy to self": (lambda: context.seq_cp(1, 1), Code.ARGUMENT, "both"),
        "range": (lambda: context.seq_range(-1), Code.ARGUMENT, "outside 0..3"),
        "bind place": (lambda: context.bind(unfed, 2, 0), Code.ARGUMENT, "n_past"),
        "bind tail": (lambda: context.bind(unbound, 2, 1, [10**7]), Code.ARGUMENT, "tail"),
        "free twice": (lambda: context.free_generator(77), Code.ARGUMENT, "does not exist"),
        "threads": (lambda: context.set_threads(0, 1), Code.ARGUMENT, "threads"),
    }


def test_what_llama_cpp_would_abort_on_is_refused_by_name(make_engine: MakeEngine) -> None:
    engine = make_engine()
    for name, (call, code, message) in refusals(engine).items():
        with pytest.raises(NativeError, match=message) as caught:
            call()
        assert caught.value.code == code, name


def test_part_of_a_stream_is_not_copied(make_engine: MakeEngine) -> None:
    engine = make_engine(kv_unified=False)
    engine.begin(0, [5, 6, 7])
    with pytest.raises(NativeError, match="whole sequences only"):
        engine.context.seq_cp(0, 1, 0, 2)


def test_a_full_sequence_is_refused_before_the_model_runs(make_engine: MakeEngine) -> None:
    engine = make_engine(n_ctx=512, n_seq_max=2, kv_unified=False)
    assert engine.context.info.n_ctx_seq == 256
    with pytest.raises(NativeError, match="sequence 0 is full: 256 positions") as caught:
        engine.step([], Prompt(0, 0, [5] * 257, None))
    assert caught.value.code == Code.STATE


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_seq_max": 257}, "n_seq_max"),
        ({"n_seq_max": 8, "n_outputs_max": 4}, "at least n_seq_max"),
        ({"type_k": "q3"}, "unknown type"),
        ({"n_threads": 0}, "n_threads"),
        ({"n_ctx": "many"}, '"n_ctx" must be an integer'),
        ({"type_v": "q8_0"}, "cannot make a context: .*V cache"),
    ],
)
def test_a_context_that_cannot_be_is_refused(
    make_engine: MakeEngine, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(NativeError, match=message):
        make_engine(**settings)
