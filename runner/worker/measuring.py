"""Measures settings: small contexts of its own over the loaded model, whose weights they share.

Decides nothing: ``tuning`` says what is measured. Every generator here yields between two native
steps, so that whoever drives it may turn to something else; closing it frees its context.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from msgspec import structs

from runner.binding import Context, Model, Prompt, Stepper
from runner.wire.messages import EngineSettings, Rates, TunedSettings
from runner.worker.settings import context_options
from runner.worker.tuning import (
    ROUNDS,
    SHORT,
    STEPS,
    TRIAL_STEPS,
    Result,
    Shape,
    ThreadTrial,
    middle,
)

PROBE_ROWS = 64
GREEDY = {"temperature": 0.0, "ignore_eos": True, "max_tokens": -1}


class InterruptedStep(Exception):
    """A step did not come to its end: aborted, or refused by a memory that is full."""


class Bench:
    """A loaded model to measure on. The engine thread uses it; any thread may :meth:`abort`."""

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        """``settings`` in force: what is not tuned is as there."""
        self._model = model
        self._settings = settings
        self._vocabulary = int(model.info()["n_vocab"])
        self._context: Context | None = None
        self._lock = threading.Lock()  # a context is not freed while it is aborted

    def abort(self) -> None:
        """Make a running step end early. Any thread."""
        with self._lock:
            if self._context is not None:
                self._context.abort()

    def probe(self, settings: TunedSettings) -> Generator[None, None, float]:
        """Return about how many seconds a row of a prompt takes."""
        shape = Shape(rows=1, each=0, depth=PROBE_ROWS, thread_counts=0)
        with self._scene(settings, shape) as scene:
            yield
            return (yield from scene.extend(0, PROBE_ROWS)) / PROBE_ROWS

    def measure(
        self,
        settings: TunedSettings,
        shape: Shape,
        *,
        threads: Sequence[int] = (),
        limit_s: float | None = None,
    ) -> Generator[None, None, Result | None]:
        """Measure one candidate; None when its steps take longer than ``limit_s`` in all.

        ``threads`` are counts to be tried as well. Raises InterruptedStep, NativeError.
        """
        with self._scene(settings, shape) as scene:
            yield
            points = _points(scene, shape, is_unified=settings.kv_layout == "unified")
            rates = None
            while rates is None:
                try:
                    next(points)
                except StopIteration as end:
                    rates = end.value
                if limit_s is not None and scene.spent_s > limit_s:
                    return None
                yield
            trials = {}
            if threads:
                trials = yield from _try_threads(scene, shape, threads)
            return Result(rates, trials)

    @contextmanager
    def _scene(self, settings: TunedSettings, shape: Shape) -> Iterator[Scene]:
        wanted = structs.replace(
            self._settings,
            **structs.asdict(settings),
            total_cells=shape.cells(settings.kv_layout),
            parallel=shape.rows,
            slots=shape.rows,
            draft_tokens=0,
        )
        context = Context(self._model, context_options(wanted))
        self._context = context
        try:
            yield Scene(context, self._vocabulary)
        finally:
            with self._lock:
                self._context = None
            context.close()


class Scene:
    """Sequences in one context. Their text is noise: no matrix product depends on the values."""

    def __init__(self, context: Context, vocabulary: int) -> None:
        self.spent_s = 0.0  # in steps
        self._context = context
        self._stepper = Stepper(context)
        self._chunk = context.info.n_batch
        self._vocabulary = vocabulary
        self._lengths: dict[int, int] = {}  # tokens of each sequence

    def extend(self, seq: int, length: int) -> Generator[None, None, float]:
        """Compute a prompt's rows until the sequence has ``length`` tokens; return the seconds."""
        spent_s = self.spent_s
        while (start := self.length(seq)) < length:
            end = min(length, start + self._chunk)
            self._run((), [Prompt(seq, start, self._tokens(start, end), None)])
            self._lengths[seq] = end
            yield
        return self.spent_s - spent_s

    def length(self, seq: int) -> int:
        """Count the tokens of a sequence."""
        return self._lengths.get(seq, 0)

    def copy(self, seq: int) -> None:
        """Make a sequence hold what sequence 0 does: its stream as a whole."""
        self._context.seq_cp(0, seq)
        self._lengths[seq] = self._lengths[0]

    def answer(self, seqs: Sequence[int], *, steps: int = STEPS) -> Generator[None, None, float]:
        """Generate with all of ``seqs`` together; return the median seconds of a step."""
        generators = [self._context.new_generator(GREEDY) for _ in seqs]
        try:
            rows = [self._begin(*pair) for pair in zip(seqs, generators, strict=True)]
            self._run((), rows)  # untimed: the first step of a new shape builds its graph
            yield
            durations_s = []
            for _ in range(steps):
                durations_s.append(self._run(generators, []))
                yield
        finally:
            for generator in generators:
                self._context.free_generator(generator)
        for seq in seqs:
            self._lengths[seq] += steps + 1
        return middle(durations_s)

    def use_threads(self, count: int) -> None:
        """Compute the next steps with so many threads."""
        self._context.set_threads(count, count)

    def _begin(self, seq: int, generator: int) -> Prompt:
        at = self._lengths[seq]
        self._context.bind(generator, seq, at + 1)
        return Prompt(seq, at, self._tokens(at, at + 1), generator)

    def _run(self, generators: Sequence[int], rows: Sequence[Prompt]) -> float:
        step = self._stepper.run(generators, rows)
        if step.rc:
            raise InterruptedStep(f"llama.cpp answered {step.rc}")
        duration_s = (step.decode_us + step.sample_us) / 1e6
        self.spent_s += duration_s
        return duration_s

    def _tokens(self, start: int, end: int) -> list[int]:
        # A large prime's multiples go all over the vocabulary, so that experts are used evenly.
        return [at * 7_368_787 % self._vocabulary for at in range(start, end)]


def _points(scene: Scene, shape: Shape, *, is_unified: bool) -> Generator[None, None, Rates]:
    """Measure the four rates while the sequences grow."""
    others = range(1, shape.rows)
    yield from scene.extend(0, min(SHORT, shape.depth))
    one_s = yield from scene.answer([0])
    yield from scene.extend(0, shape.each)
    for seq in others:
        if is_unified:  # cells of its own, as the answers of different people have
            yield from scene.extend(seq, shape.each)
        else:
            scene.copy(seq)
            yield
    many_s = yield from scene.answer(range(shape.rows))
    length = scene.length(0)
    prompt_s = yield from scene.extend(0, max(shape.depth, length + 1))
    prompt_rows = scene.length(0) - length
    deep_s = yield from scene.answer([0])
    return Rates(
        one=1 / one_s,
        one_deep=1 / deep_s,
        many=shape.rows / many_s,
        prompt=prompt_rows / prompt_s,
    )


def _try_threads(
    scene: Scene, shape: Shape, counts: Sequence[int]
) -> Generator[None, None, dict[int, ThreadTrial]]:
    """Time steps of one row and of many with each count of threads, in turn."""
    one_s: dict[int, list[float]] = {count: [] for count in counts}
    many_s: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count in counts:
            scene.use_threads(count)
            one = yield from scene.answer([0], steps=TRIAL_STEPS)
            many = yield from scene.answer(range(shape.rows), steps=TRIAL_STEPS)
            one_s[count].append(one)
            many_s[count].append(many)
    return {count: ThreadTrial(middle(one_s[count]), middle(many_s[count])) for count in counts}
