"""What to measure for better settings, and what to make of it. Pure.

A search goes stage by stage, each from the best so far, and not through the whole product: flash
attention and the layout of KV matter most and nearly alone; the prompt chunk is a refinement. The
number of threads is tried within the first measurement, for it needs no memory of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

from msgspec import structs

from runner.wire.messages import EngineSettings, EngineWishes, Rates, TunedSettings
from runner.worker.settings import BYTES_PER_ELEMENT, QUANTISED, Machine, Traits, streams_fit
from runner.worker.settings import threads as rule_threads

# What an hour of use consists of. Most tokens are one person's answer behind some history; several
# at a time are next. Prompts count least: what conversations repeat comes from the prefix cache.
WEIGHTS = Rates(one=0.2, one_deep=0.35, many=0.25, prompt=0.2)
CLEARLY = 1.03  # better by less may be noise: then the simpler thing, what was there, stays
WORTH_RELOADING = 1.1  # a gain for which cached prefixes are given up

MOST_ROWS = 8
SHORT = 16  # tokens of the short prompt
EACH = 128  # of each of many prompts: in unified KV they have to be computed, not copied
DEPTH = 600  # of the long prompt: a conversation of some turns
STEPS = 6  # timed a point; the median counts
TRIAL_STEPS = 3  # of one count of threads, twice
PROMPT_S = 5.0  # of computing prompts for one candidate; slow models get shorter ones
LEAST_DEPTH = 64
PAD = 256  # llama.cpp rounds KV sizes up to this
LEAST_UBATCH = 128
MEMORY_SHARE = 4  # a quarter of what is free, for the memory to measure in

Layout = Literal["unified", "streams"]


@dataclass(frozen=True, slots=True)
class Space:
    """What may differ from the settings in force: what nobody has wished, and what memory holds."""

    flash_attention: bool
    kv_layout: bool
    ubatch_size: bool
    threads: tuple[int, ...]  # to be tried, the ones in force among them; empty: they are wished

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to choose."""
        return not (self.flash_attention or self.kv_layout or self.ubatch_size or self.threads)


@dataclass(frozen=True, slots=True)
class Shape:
    """How much is computed for one candidate."""

    rows: int  # answers together
    each: int  # tokens before each of them
    depth: int  # tokens before the answer of one
    thread_counts: int  # to be tried

    @property
    def room(self) -> int:
        """Tokens that the longest sequence holds in the end: no sequence is ever cut back."""
        answers = 3 * (STEPS + 1) + 2 * self._trial_tokens
        return -(-(self.depth + answers) // PAD) * PAD

    def cells(self, layout: Layout) -> int:
        """KV cells of all sequences."""
        if layout == "streams":
            return self.rows * self.room
        each = self.each + STEPS + 1 + self._trial_tokens
        return self.room + -(-self.rows * each // PAD) * PAD

    @property
    def _trial_tokens(self) -> int:
        return ROUNDS * self.thread_counts * (TRIAL_STEPS + 1)


ROUNDS = 2  # counts of threads are tried in turn, A B A B: what drifts hits all of them


class ThreadTrial(NamedTuple):
    """Seconds of a step with some number of threads."""

    one_s: float
    many_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """A candidate's measurement; ``threads`` was tried with the first one alone."""

    rates: Rates
    threads: Mapping[int, ThreadTrial]


class Choice(NamedTuple):
    """What a search came to."""

    settings: TunedSettings
    gain: float  # of its score over that of the settings it began with


Search = Generator[TunedSettings, Result | None, Choice]


def space(wishes: EngineWishes, settings: EngineSettings, model: Traits, machine: Machine) -> Space:
    """Say what is open: every wish is fixed, and so is what the memory or the model rules out."""
    other_layout_fits = settings.kv_layout == "streams" or streams_fit(settings, model, machine)
    are_threads_wished = wishes.threads is not None or wishes.threads_batch is not None
    return Space(
        flash_attention=wishes.flash_attention is None and settings.kv_type not in QUANTISED,
        kv_layout=wishes.kv_layout is None
        and settings.parallel > 1
        and not model.has_state
        and settings.full_window  # one buffer for all would cost the memory that it saves
        and other_layout_fits,
        ubatch_size=wishes.ubatch_size is None and settings.ubatch_size > LEAST_UBATCH,
        threads=() if are_threads_wished else thread_counts(machine, settings),
    )


def thread_counts(machine: Machine, settings: EngineSettings) -> tuple[int, ...]:
    """List counts worth trying: the rule's, half of them, one less, and one a logical core."""
    rule = rule_threads(machine)
    quota = machine.cpus if machine.quota_cpus is None else int(machine.quota_cpus)
    counts = {settings.threads, settings.threads_batch, rule, -(-rule // 2), rule - 1}
    counts.add(max(rule, min(machine.cpus, quota)))
    counts.discard(0)
    return tuple(sorted(counts)) if len(counts) > 1 else ()


def shape(
    settings: EngineSettings, space: Space, model: Traits, machine: Machine, *, row_s: float
) -> Shape | None:
    """Fit the measurement into time and memory; None when there is no memory for any.

    ``row_s`` is what a row of a prompt takes about; ``machine`` is as it was before the load.
    """
    cell_bytes = model.cell_elements * BYTES_PER_ELEMENT[settings.kv_type]
    free_bytes = machine.available_bytes
    if machine.device_free_bytes is not None and settings.gpu_layers != 0:
        free_bytes = machine.device_free_bytes
    free_bytes -= model.size_bytes + int(settings.total_cells * cell_bytes)
    in_time = int(PROMPT_S / row_s) // 2  # half of it for the many, where they are not copied
    depth = max(LEAST_DEPTH, min(DEPTH, in_time))
    depth = min(depth, settings.context_size)
    each = max(1, min(EACH, depth // 2))
    rows = min(settings.parallel, MOST_ROWS)
    while rows:
        made = Shape(rows, min(each, max(SHORT * 2, in_time // rows)), depth, len(space.threads))
        if made.cells("streams") * cell_bytes <= free_bytes / MEMORY_SHARE:
            return made
        rows //= 2
    return None


def search(base: TunedSettings, space: Space) -> Search:
    """Yield what to measure and take its result, None for what was clearly slower; return the best.

    The first to be measured is ``base``, and the last as well where something else seems better:
    the machine may have been slower in the beginning for reasons of its own.
    """
    result = yield base
    if result is None:
        return Choice(base, 1.0)
    began = score(result.rates)
    best, rates = first, first_rates = _with_threads(base, result)
    for stage in _STAGES:
        for candidate in stage(best, space):
            result = yield candidate
            if result is None or score(result.rates) < CLEARLY * score(rates):
                break
            best, rates = candidate, result.rates
    if best != first:
        result = yield first
        if result is not None and score(rates) < CLEARLY * score(result.rates):
            best, rates = first, first_rates
        elif result is not None:
            began *= max(1.0, score(result.rates) / score(first_rates))
    return Choice(best, score(rates) / began)


def score(rates: Rates) -> float:
    """Weigh rates to one number: a geometric mean, for a half here is not made good by much there.

    Only ratios of scores mean something.
    """
    total = 1.0
    for name in rates.__struct_fields__:
        total *= getattr(rates, name) ** getattr(WEIGHTS, name)
    return total


def tuned_of(settings: EngineSettings) -> TunedSettings:
    """Take from settings what a search may change."""
    return TunedSettings(
        flash_attention=settings.flash_attention,
        kv_layout=settings.kv_layout,
        ubatch_size=settings.ubatch_size,
        threads=settings.threads,
        threads_batch=settings.threads_batch,
    )


def middle(durations_s: list[float]) -> float:
    """Return the median, at least a microsecond."""
    return max(1e-6, median(durations_s))


def _with_threads(base: TunedSettings, result: Result) -> tuple[TunedSettings, Rates]:
    """Choose the threads; scale the rates to what they were with them."""
    trials = result.threads
    if not trials:
        return base, result.rates
    one_s = {count: trial.one_s for count, trial in trials.items()}
    many_s = {count: trial.many_s for count, trial in trials.items()}
    one, many = _fastest(one_s, base.threads), _fastest(many_s, base.threads_batch)
    one_gain, many_gain = (
        one_s[base.threads] / one_s[one],
        many_s[base.threads_batch] / many_s[many],
    )
    rates = Rates(
        one=result.rates.one * one_gain,
        one_deep=result.rates.one_deep * one_gain,
        many=result.rates.many * many_gain,
        prompt=result.rates.prompt * many_gain,
    )
    return structs.replace(base, threads=one, threads_batch=many), rates


def _fastest(seconds: Mapping[int, float], current: int) -> int:
    """Choose a count of threads: the current one unless another is clearly faster."""
    best = min(seconds, key=lambda count: seconds[count])
    return best if seconds[best] * CLEARLY < seconds[current] else current


def _flash_attention(best: TunedSettings, space: Space) -> Iterator[TunedSettings]:
    if space.flash_attention:
        yield structs.replace(best, flash_attention=not best.flash_attention)


def _kv_layout(best: TunedSettings, space: Space) -> Iterator[TunedSettings]:
    other: Layout = "unified" if best.kv_layout == "streams" else "streams"
    if space.kv_layout:
        yield structs.replace(best, kv_layout=other)


def _ubatch_size(best: TunedSettings, space: Space) -> Iterator[TunedSettings]:
    size = best.ubatch_size
    while space.ubatch_size and size > LEAST_UBATCH:
        size //= 2
        yield structs.replace(best, ubatch_size=size)


_STAGES = (_flash_attention, _kv_layout, _ubatch_size)
