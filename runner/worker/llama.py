"""The real backend: plans carried out by llama.cpp through the native library."""

from __future__ import annotations

import time

from runner.binding import Code, Context, Flag, NativeError, Prompt, Stepper
from runner.engine.backend import (
    Bind,
    Copy,
    GeneratorId,
    MemoryOp,
    Outcome,
    Plan,
    Sampled,
    StepResult,
    Stop,
    Trim,
)

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
    """Runs plans on one context. The engine thread owns it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_unified = context.info.kv_unified
        self._stepper = Stepper(context, max_top_logprobs=MAX_TOP_LOGPROBS)

    def run(self, plan: Plan) -> StepResult:
        """Carry out a plan; see :class:`runner.engine.Backend`."""
        began_s = time.perf_counter()
        try:
            for operation in plan.memory:
                self._operate(operation)
            prompts = [Prompt(p.slot, p.start, p.tokens, p.generator) for p in plan.prefill]
            step = self._stepper.run(plan.decode, prompts)
        except NativeError as error:
            return StepResult(Outcome.FAILED, (), time.perf_counter() - began_s, error.message)
        outcome = OUTCOMES.get(step.rc, Outcome.FAILED)
        sampled = tuple(
            Sampled(
                record.generator,
                record.token,
                record.text,
                STOPS[record.flags],
                record.stop_index if record.flags == Flag.STOP else None,
                record.logprob,
                record.top,
            )
            for record in step.records
        )
        duration_s = (step.decode_us + step.sample_us) / 1e6
        return StepResult(outcome, sampled, duration_s, f"llama.cpp answered {step.rc}")

    def free(self, generator: GeneratorId) -> None:
        """Give a generator back."""
        self._context.free_generator(generator)

    def abort(self) -> None:
        """Make the running step end early. Any thread."""
        self._context.abort()

    def _operate(self, operation: MemoryOp) -> None:
        match operation:
            case Trim(slot, length):
                self._trim(slot, length)
            case Copy(source, target, length) if self._is_unified:
                self._context.seq_cp(source, target, 0, length)
            case Copy(source, target, length):
                self._context.seq_cp(source, target)  # a stream is copied as a whole
                self._trim(target, length)
            case Bind(generator, slot, n_past, tail):
                self._context.bind(generator, slot, n_past, tail)

    def _trim(self, slot: int, length: int) -> None:
        if not self._context.seq_rm(slot, length):
            raise NativeError(Code.STATE, f"sequence {slot} cannot be cut back to {length} tokens")
