"""The real backend: plans carried out by llama.cpp through the native library."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

from runner.binding import Code, Context, Flag, MediaRows, NativeError, Prompt, Record, Stepper
from runner.engine.backend import (
    Adapters,
    Bind,
    Copy,
    Drop,
    GeneratorId,
    MemoryOp,
    Outcome,
    Plan,
    Prefill,
    Restore,
    Sampled,
    Save,
    Score,
    SlotId,
    StepResult,
    Stop,
    Trim,
)
from runner.worker.media import Encoded
from runner.worker.saved import SavedTexts

LOG = logging.getLogger(__name__)

MAX_TOP_LOGPROBS = 20

STOPS: dict[int, Stop | None] = {
    0: None,
    Flag.EOS: Stop.EOS,
    Flag.STOP: Stop.STOP,
    Flag.LENGTH: Stop.LENGTH,
    Flag.GRAMMAR: Stop.GRAMMAR,
}
OUTCOMES = {0: Outcome.OK, 1: Outcome.FULL, 2: Outcome.ABORTED}


class LlamaBackend:
    """Runs plans on one context. The engine thread owns it.

    ``threads`` may be set by any thread: the next step is computed with so many at most.
    ``saved`` are the texts that lost their slot.
    """

    def __init__(
        self,
        context: Context,
        *,
        threads: int,
        threads_batch: int,
        adapters: tuple[float, ...] = (),
    ) -> None:
        """``threads`` for a step of one row and ``threads_batch`` as the context was made with.

        ``adapters`` are the scales of the model as it is loaded.
        """
        self.threads = self._threads = max(threads, threads_batch)
        self._most = (threads, threads_batch)
        self._context = context
        self._usual = adapters
        self._adapters: Adapters = None  # in use
        if adapters:
            context.use_adapters(adapters)
        self._shares_parts = context.info.kv_unified and context.info.seq_rm == "part"
        self.saved = SavedTexts(context)
        self._stepper = Stepper(context, max_top_logprobs=MAX_TOP_LOGPROBS)

    def run(self, plan: Plan) -> StepResult:
        """Carry out a plan; see :class:`runner.engine.Backend`."""
        return self.saved.report(self._run(plan))

    def _run(self, plan: Plan) -> StepResult:
        try:
            if self.threads != self._threads:
                self._use_threads(self.threads)
            if plan.adapters != self._adapters:
                self._use_adapters(plan.adapters)
            lost = self._operate_all(plan.memory)
            if lost:
                return StepResult(Outcome.LOST, (), 0.0, lost=lost)
            prompts = [
                Prompt(
                    p.slot,
                    p.start,
                    p.tokens,
                    p.generator,
                    _rows(p) if p.span else None,
                    p.scored,
                    p.top,
                )
                for p in plan.prefill
            ]
            step = self._stepper.run(plan.decode, prompts, plan.drafts)
        except NativeError as error:
            return StepResult(Outcome.FAILED, (), 0.0, error.message)
        duration_s = (step.decode_us + step.sample_us) / 1e6
        if step.rc:
            outcome = OUTCOMES.get(step.rc, Outcome.FAILED)
            return StepResult(outcome, (), duration_s, f"llama.cpp answered {step.rc}")
        records, scores = step.records, tuple[Score, ...]()
        if any(part.scored for part in plan.prefill):
            scores = tuple(_score(record) for record in records if record.generator < 0)
            records = [record for record in records if record.generator >= 0]
        sampled = [
            # The rule first: most tokens neither end their stream nor have log-probabilities.
            Sampled(record.generator, record.token, record.text)
            if not record.flags and record.logprob is None
            else _sampled(record)
            for record in records
        ]
        return StepResult(
            Outcome.OK, tuple(sampled), duration_s, drafted=step.drafted, scores=scores
        )

    def free(self, generator: GeneratorId) -> None:
        """Give a generator back."""
        self._context.free_generator(generator)

    def abort(self) -> None:
        """Make the running step end early. Any thread."""
        self._context.abort()

    def _use_threads(self, threads: int) -> None:
        single, batch = self._most
        self._context.set_threads(min(single, threads), min(batch, threads))
        self._threads = threads

    def _use_adapters(self, adapters: Adapters) -> None:
        self._context.use_adapters(self._usual if adapters is None else adapters)
        self._adapters = adapters

    def _operate_all(self, operations: Iterable[MemoryOp]) -> tuple[SlotId, ...]:
        """Carry out memory operations; return the slots that could not be given their content.

        Raises NativeError for what has nothing to do with content.
        """
        lost: dict[SlotId, None] = {}
        for operation in operations:
            try:
                if isinstance(operation, Copy) and operation.source in lost:
                    raise NativeError(Code.STATE, f"slot {operation.source} was lost")
                self._operate(operation)
            except NativeError as error:
                if not isinstance(operation, Trim | Copy | Restore):
                    raise
                slot = operation.target if isinstance(operation, Copy) else operation.slot
                LOG.warning("a cached prefix is computed again: %s", error.message)
                self._context.seq_rm(slot)
                lost[slot] = None
        return tuple(lost)

    def _operate(self, operation: MemoryOp) -> None:
        match operation:
            case Trim(slot, length):
                self._trim(slot, length)
            case Copy(source, target, length) if self._shares_parts:
                self._context.seq_cp(source, target, 0, length)
            case Copy(source, target, length):
                self._context.seq_cp(source, target)  # streams and states: as a whole
                self._trim(target, length)
            case Bind(generator, slot, n_past, tail):
                self._context.bind(generator, slot, n_past, tail)
            case Save(slot, key, tokens):
                self.saved.save(slot, key, tokens)
            case Restore(key, slot, length):
                self.saved.restore(key, slot, length)
            case Drop(key):
                self.saved.drop(key)

    def _trim(self, slot: int, length: int) -> None:
        if not self._context.seq_rm(slot, length):
            raise NativeError(Code.STATE, f"sequence {slot} cannot be cut back to {length} tokens")


def _rows(part: Prefill) -> MediaRows:
    span = part.span
    assert span is not None and isinstance(span.content, Encoded), "rows were never encoded"
    first, content = part.start - span.start, span.content
    numbers = content.numbers[first : first + len(part.tokens)]
    return MediaRows(numbers, span.is_whole, first, span.length, content.columns)


def _score(record: Record) -> Score:
    # A model that computes no numbers finds nothing likely.
    logprob = -math.inf if record.logprob is None else record.logprob
    return Score(record.token, logprob, record.top)


def _sampled(record: Record) -> Sampled:
    stop = STOPS[record.flags]
    stop_index = record.stop_index if stop is Stop.STOP else None
    return Sampled(
        record.generator, record.token, record.text, stop, stop_index, record.logprob, record.top
    )
