"""What every backend does, the fake one and llama.cpp, in both KV layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from runner.binding import Context, Model
from runner.engine import Backend, Capacity, Plan, StepResult
from runner.engine.backend import (
    Bind,
    Copy,
    Drop,
    MemoryOp,
    Outcome,
    Prefill,
    Restore,
    Sampled,
    Save,
    Stop,
    Trim,
)
from runner.engine.fake import FakeBackend
from runner.worker.llama import LlamaBackend
from tests.support.embedded import find_model, open_library

TEXT = "Once upon a time, in a small village by the sea, there lived a girl named"
OTHER = "The seven days of the week are Monday, Tuesday, Wednesday,"
SLOTS, CONTEXT, BATCH = 4, 256, 512


@dataclass(frozen=True)
class Subject:
    """One backend under test, with two prompts in its tokens. Slot 3 is for expected answers."""

    backend: Backend
    new_generator: Callable[..., int]  # (max_tokens=, stop=)
    prompt: tuple[int, ...]
    other: tuple[int, ...]

    def step(
        self,
        *memory: MemoryOp,
        decode: tuple[int, ...] = (),
        prefill: tuple[Prefill, ...] = (),
        drafts: tuple[int, ...] = (),
    ) -> tuple[Sampled, ...]:
        result = self.backend.run(Plan(memory, decode, prefill, drafts))
        assert result.outcome is Outcome.OK, result
        assert result.duration_s > 0
        return result.sampled

    def fill(self, slot: int, tokens: tuple[int, ...]) -> None:
        """Compute tokens into an empty slot, sampling nothing."""
        assert self.step(prefill=(Prefill(slot, 0, tokens, None),)) == ()

    def answer(
        self,
        slot: int,
        prompt: tuple[int, ...],
        *memory: MemoryOp,
        start: int = 0,
        tokens: int = 8,
        stop: tuple[str, ...] = (),
    ) -> list[Sampled]:
        """Everything sampled after a prompt of which ``start`` tokens are in the slot."""
        generator = self.new_generator(max_tokens=tokens, stop=stop)
        bind = Bind(generator, slot, len(prompt), prompt)
        rows = Prefill(slot, start, prompt[start:], generator)
        answer = list(self.step(*memory, bind, prefill=(rows,)))
        while answer[-1].stop is None:
            answer += self.step(decode=(generator,))
        self.backend.free(generator)
        return answer

    def expected(self, prompt: tuple[int, ...], *, tokens: int = 8) -> list[int]:
        return ids(self.answer(3, prompt, tokens=tokens))


def ids(answer: list[Sampled]) -> list[int]:
    return [sampled.token for sampled in answer]


def text(answer: list[Sampled]) -> str:
    return "".join(sampled.text for sampled in answer)


def make_fake(*, shares_cells: bool) -> Subject:
    cells = 2 * CONTEXT if shares_cells else SLOTS * CONTEXT
    backend = FakeBackend(
        Capacity(SLOTS, SLOTS, cells, CONTEXT, BATCH, shares_cells, token_bytes=1, score_rows=BATCH)
    )
    prompt, other = tuple(range(10, 28)), tuple(range(100, 114))
    return Subject(backend, backend.new_generator, prompt, other)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(open_library(), find_model()) as model:
        yield model


def make_context(model: Model, *, shares_cells: bool) -> Context:
    settings = {
        "n_ctx": (2 if shares_cells else SLOTS) * CONTEXT,
        "n_batch": BATCH,
        "n_seq_max": SLOTS,
        "n_threads": 1,
        "kv_unified": shares_cells,
    }
    return Context(model, settings)


def llama_subject(model: Model, context: Context) -> Subject:
    def new_generator(*, max_tokens: int | None = None, stop: tuple[str, ...] = ()) -> int:
        limit = -1 if max_tokens is None else max_tokens
        return context.new_generator({"temperature": 0, "max_tokens": limit, "stop": stop})

    def tokens(text: str) -> tuple[int, ...]:
        return tuple(model.tokenize(text, add_special=True, parse_special=True))

    backend = LlamaBackend(context, threads=1, threads_batch=1)
    return Subject(backend, new_generator, tokens(TEXT), tokens(OTHER))


llama = [pytest.mark.native, pytest.mark.model]


UNIFIED = [pytest.param("fake-unified"), pytest.param("llama-unified", marks=llama)]
STREAMS = [pytest.param("fake-streams"), pytest.param("llama-streams", marks=llama)]

in_one_buffer = pytest.mark.parametrize("subject", UNIFIED, indirect=True)  # streams share room


@pytest.fixture(params=[*UNIFIED, *STREAMS])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    kind, layout = request.param.split("-")
    if kind == "fake":
        yield make_fake(shares_cells=layout == "unified")
        return
    model = request.getfixturevalue("model")
    with make_context(model, shares_cells=layout == "unified") as context:
        yield llama_subject(model, context)


def test_a_prompt_may_be_computed_in_pieces(subject: Subject) -> None:
    prompt = subject.prompt
    subject.fill(0, prompt[:5])
    subject.step(prefill=(Prefill(0, 5, prompt[5:9], None),))
    assert ids(subject.answer(0, prompt, start=9)) == subject.expected(prompt)


def test_scores_of_a_prompt_are_told_in_order_beside_whatever_else_a_step_does(
    subject: Subject,
) -> None:
    stream = subject.new_generator(max_tokens=8)
    first = subject.new_generator(max_tokens=8)
    prompt, other = subject.prompt, subject.other
    bind = Bind(stream, 0, len(other), ())
    subject.step(bind, prefill=(Prefill(0, 0, other, stream),))
    # The first step scores two of three rows beside a stream, the second the last before its end.
    rows = Prefill(1, 0, prompt[:3], None, None, (prompt[1], -1, prompt[3]), 2)
    one = subject.backend.run(Plan((), (stream,), (rows,)))
    assert [sampled.generator for sampled in one.sampled] == [stream]
    assert [score.token for score in one.scores] == [prompt[1], prompt[3]]
    assert [len(score.top) for score in one.scores] == [2, 2]
    last = (*[-1] * (len(prompt) - 5), prompt[-1], -1)
    rows = Prefill(1, 3, prompt[3:], first, None, last, 1)
    two = subject.backend.run(Plan((Bind(first, 1, len(prompt), prompt),), (), (rows,)))
    (score,) = two.scores
    assert score.token == prompt[-1]
    assert score.logprob <= score.top[0][1]
    assert [sampled.token for sampled in two.sampled] == subject.expected(prompt, tokens=1)


def test_streams_in_one_step_do_not_mix(subject: Subject) -> None:
    prompts = (subject.prompt, subject.other)
    generators = tuple(subject.new_generator(max_tokens=8) for _ in prompts)
    binds = [Bind(g, slot, len(prompts[slot]), ()) for slot, g in enumerate(generators)]
    parts = [Prefill(slot, 0, prompts[slot], g) for slot, g in enumerate(generators)]
    sampled = subject.step(*binds, prefill=tuple(parts))
    answers = [[one] for one in sampled]
    for _ in range(7):
        for answer, one in zip(answers, subject.step(decode=generators), strict=True):
            answer.append(one)
    assert [answer[0].generator for answer in answers] == list(generators)
    assert ids(answers[0]) == subject.expected(subject.prompt)
    assert answers[1][-1].stop is Stop.LENGTH


def test_decode_rows_come_first_whatever_the_generators_are_called(subject: Subject) -> None:
    late = subject.new_generator(max_tokens=8)
    early = subject.new_generator(max_tokens=8)
    bind = Bind(early, 0, len(subject.prompt), ())
    subject.step(bind, prefill=(Prefill(0, 0, subject.prompt, early),))
    sampled = subject.step(
        Bind(late, 1, len(subject.other), ()),
        decode=(early,),
        prefill=(Prefill(1, 0, subject.other, late),),
    )
    assert [one.generator for one in sampled] == [early, late]


def test_a_copied_prefix_goes_on_like_a_computed_one(subject: Subject) -> None:
    prompt = subject.prompt
    subject.fill(0, prompt)
    expected = subject.expected(prompt)
    for slot, length in ((1, len(prompt) - 1), (2, 4)):
        answer = subject.answer(slot, prompt, Copy(0, slot, length), start=length)
        assert ids(answer) == expected


def test_a_copy_leaves_its_source_as_it_was(subject: Subject) -> None:
    prompt = subject.prompt
    subject.fill(0, prompt[:-1])
    subject.answer(1, prompt[:6] + subject.other, Copy(0, 1, 6), start=6)
    answer = subject.answer(0, prompt, start=len(prompt) - 1)
    assert ids(answer) == subject.expected(prompt)


def test_a_trimmed_slot_goes_on_from_where_it_was_cut(subject: Subject) -> None:
    prompt = subject.prompt
    subject.fill(0, prompt[:6] + subject.other)
    assert ids(subject.answer(0, prompt, Trim(0, 6), start=6)) == subject.expected(prompt)


def test_an_emptied_slot_begins_anew(subject: Subject) -> None:
    subject.fill(0, subject.other)
    answer = subject.answer(0, subject.prompt, Trim(0, 0))
    assert ids(answer) == subject.expected(subject.prompt)


def test_a_saved_text_goes_on_like_a_computed_one_in_whole_or_in_part(subject: Subject) -> None:
    prompt = subject.prompt
    subject.fill(0, prompt)
    expected = subject.expected(prompt)
    subject.answer(0, subject.other, Save(0, 7, prompt), Trim(0, 0))
    for slot, length in ((0, len(prompt) - 1), (1, 4), (2, len(prompt) - 1)):
        answer = subject.answer(slot, prompt, Trim(slot, 0), Restore(7, slot, length), start=length)
        assert ids(answer) == expected


def test_a_result_tells_of_the_copies(subject: Subject) -> None:
    subject.fill(0, subject.prompt)
    row = Prefill(1, 0, (5,), None)
    result = subject.backend.run(Plan((Save(0, 3, subject.prompt),), (), (row,)))
    assert result.saved == (3,)
    assert result.copied_bytes > 0
    assert result.copy_s > 0
    restore = Restore(3, 2, len(subject.prompt))
    result = subject.backend.run(Plan((restore,), (), (Prefill(1, 1, (5,), None),)))
    assert result.saved == ()
    assert result.copied_bytes > 0
    result = subject.backend.run(Plan((Drop(3), Drop(4)), (), (Prefill(1, 2, (5,), None),)))
    assert (result.outcome, result.saved, result.copied_bytes) == (Outcome.OK, (), 0)


def test_a_slot_that_gets_no_content_is_named_and_empty_and_the_others_have_theirs(
    subject: Subject,
) -> None:
    prompt, length = subject.prompt, len(subject.prompt)
    subject.fill(0, prompt)
    operations = (Restore(99, 1, 5), Copy(1, 3, 5), Copy(0, 2, length - 1))
    result = subject.backend.run(Plan(operations, (), (Prefill(1, 5, (5,), None),)))
    assert (result.outcome, result.lost, result.sampled) == (Outcome.LOST, (1, 3), ())
    expected = subject.expected(prompt)
    assert ids(subject.answer(1, prompt)) == expected
    assert ids(subject.answer(2, prompt, start=length - 1)) == expected


def test_operations_are_done_in_their_order(subject: Subject) -> None:
    prompt = subject.prompt
    subject.fill(0, prompt)
    subject.fill(1, subject.other)
    operations = (Trim(1, 0), Copy(0, 1, 8), Trim(0, 0), Copy(1, 0, 7))
    assert ids(subject.answer(0, prompt, *operations, start=7)) == subject.expected(prompt)


def test_a_generator_goes_on_in_another_slot_after_its_tokens_are_computed_again(
    subject: Subject,
) -> None:
    prompt = subject.prompt
    generator = subject.new_generator(max_tokens=8)
    answer = list(
        subject.step(
            Bind(generator, 0, len(prompt), prompt), prefill=(Prefill(0, 0, prompt, generator),)
        )
    )
    for _ in range(3):
        answer += subject.step(decode=(generator,))
    known = prompt + tuple(ids(answer[:-1]))  # the last one is pending: it is fed by decoding
    subject.step(
        Trim(0, 0), Bind(generator, 1, len(known), ()), prefill=(Prefill(1, 0, known, None),)
    )
    while answer[-1].stop is None:
        answer += subject.step(decode=(generator,))
    assert ids(answer) == subject.expected(prompt)


@in_one_buffer
def test_full_memory_computes_nothing_and_can_go_on(subject: Subject) -> None:
    prompt = subject.prompt
    filling = (prompt * 20)[: CONTEXT - 1]
    subject.fill(0, filling)
    subject.fill(1, filling)
    part = Prefill(2, 0, prompt, None)
    result = subject.backend.run(Plan((), (), (part,)))
    assert (result.outcome, result.sampled) == (Outcome.FULL, ())
    assert ids(subject.answer(2, prompt, Trim(0, 0))) == subject.expected(prompt)


@in_one_buffer
def test_a_shared_prefix_takes_no_cells(subject: Subject) -> None:
    filling = (subject.prompt * 20)[: CONTEXT - 10]
    subject.fill(0, filling)
    for slot in (1, 2, 3):
        subject.step(
            Copy(0, slot, len(filling)),
            prefill=(Prefill(slot, len(filling), subject.other[:9], None),),
        )


def test_the_last_token_allowed_says_so(subject: Subject) -> None:
    answer = subject.answer(0, subject.prompt, tokens=3)
    assert [sampled.stop for sampled in answer] == [None, None, Stop.LENGTH]


def test_a_stop_string_is_named_and_not_shown(subject: Subject) -> None:
    whole = text(subject.answer(0, subject.prompt, tokens=8))
    word = whole[5:8]
    answer = subject.answer(1, subject.prompt, tokens=8, stop=("@@@", word))
    assert text(answer) == whole[: whole.index(word)]
    assert (answer[-1].stop, answer[-1].stop_index) == (Stop.STOP, 1)


def test_guesses_change_nothing_that_is_sampled(subject: Subject) -> None:
    prompts = (subject.prompt * 2, subject.other)
    expected = [subject.answer(3, prompt, Trim(3, 0), tokens=12) for prompt in prompts]
    generators = tuple(subject.new_generator(max_tokens=12) for _ in prompts)
    answers: dict[int, list[Sampled]] = {generator: [] for generator in generators}
    for slot, (generator, prompt) in enumerate(zip(generators, prompts, strict=True)):
        bind = Bind(generator, slot, len(prompt), prompt)
        answers[generator] += subject.step(bind, prefill=(Prefill(slot, 0, prompt, generator),))
    while decode := tuple(g for g, answer in answers.items() if answer[-1].stop is None):
        for one in subject.step(decode=decode, drafts=(4, 0)[: len(decode)]):
            answers[one.generator].append(one)
    assert [(ids(answer), text(answer)) for answer in answers.values()] == [
        (ids(answer), text(answer)) for answer in expected
    ]
    assert all(answer[-1].stop is not None for answer in answers.values())


def refused(subject: Subject, *memory: MemoryOp, **rows: tuple[object, ...]) -> bool:
    """Whether a plan is refused: the fake raises, a real context says so."""
    try:
        result: StepResult = subject.backend.run(
            Plan(memory, **{"decode": (), "prefill": ()} | rows)
        )
    except (ValueError, KeyError):
        return True
    return result.outcome is Outcome.FAILED or bool(result.lost)


def test_what_cannot_be_true_is_refused(subject: Subject) -> None:
    generator = subject.new_generator(max_tokens=8)
    length = len(subject.prompt)
    subject.fill(0, subject.prompt)
    assert refused(subject)
    assert refused(subject, prefill=(Prefill(0, length + 1, (5,), None),))
    assert refused(subject, prefill=(Prefill(0, length - 1, (5,), None),))
    assert refused(subject, prefill=(Prefill(1, 1, (5,), None),))
    assert refused(subject, Bind(generator, 0, length, ()), decode=(generator,))
    assert refused(subject, Copy(0, 1, 3), Copy(0, 1, 3), prefill=(Prefill(1, 3, (5,), None),))
    row = Prefill(1, 0, (5,), None)
    assert refused(subject, Save(0, 1, subject.prompt), Restore(1, 0, length), prefill=(row,))
    assert refused(subject, Drop(1), Restore(1, 2, length), prefill=(row,))
    subject.backend.free(generator)
    assert refused(subject, Bind(generator, 0, length, ()))
