"""How many guessed tokens each stream may have checked behind its own.

The backend guesses, checks the guesses as further rows of the same step, and keeps what its sampler
would have chosen anyway: the text is the same whatever is decided here, only time is at stake.

A step of n streams takes D(n), and m guessed rows add X(m) to it; both are measured (:mod:`pace`).
With q the share of a stream's guesses that were right, k of them give q + q^2 + .. + q^k tokens.
They pay while these tokens would take longer without guesses, D(n)/n each, than the stream's part
of X. All streams that guess get the same k: with one KV stream each, llama.cpp computes the rows
of several in one pass only where each has as many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from runner.engine.backend import GeneratorId, Plan, StepResult
from runner.engine.limits import Capacity, Policy
from runner.engine.pace import Pace
from runner.engine.sequence import Sequence

GAIN = 1.1  # what guesses must give for what they cost
REVIEW_STEPS = 8  # steps a decision stands while the same streams run
LONG = 1 << 30  # tokens
HOPE = 2  # most guesses while none of any stream was right lately: wrong ones cost all the same
TRIAL_STEPS = 256  # steps without a guess after which one is made to measure its cost again


class Speculation:
    """Decides on guesses from what they cost and how often they were right."""

    def __init__(self, policy: Policy, capacity: Capacity, pace: Pace) -> None:
        self._most = policy.draft_tokens if capacity.can_guess else 0
        self._context_size = capacity.context_size
        self._pace = pace
        self._decode: tuple[GeneratorId, ...] = ()  # the streams of the latest decision
        self._drafts: tuple[int, ...] = ()  # the decision
        self._rows = 0  # and its sum
        self._steps_left = 0
        self._steps_idle = 0
        self._known = 1  # guesses a stream: up to twice as many as were tried may be tried next
        self._trials = 0

    def drafts(
        self,
        decode: tuple[GeneratorId, ...],
        decoding: Mapping[GeneratorId, Sequence],
        *,
        spare_rows: int,
    ) -> tuple[int, ...]:
        """Say for each of ``decode`` how many guesses may be checked; empty for none at all."""
        if not self._most or not decode:
            return ()
        self._steps_left -= 1
        self._steps_idle += 1
        if self._steps_left < 0 or decode is not self._decode:
            self._decode = decode
            self._review({generator: decoding[generator] for generator in decode})
        return self._drafts if 0 < self._rows <= spare_rows else ()

    def account(
        self, plan: Plan, result: StepResult, decoding: Mapping[GeneratorId, Sequence]
    ) -> int:
        """Learn from the guesses of a step; return how many were right."""
        sampled = Counter(one.generator for one in result.sampled)
        right = 0
        for generator, drafted in zip(plan.decode, result.drafted, strict=True):
            if drafted:
                accepted = sampled[generator] - 1
                right += accepted
                sequence = decoding[generator]
                sequence.drafted += drafted
                sequence.accepted += accepted
                self.settle(sequence, drafted, accepted)
        return right

    def settle(self, sequence: Sequence, drafted: int, accepted: int) -> None:
        """Learn how many of a stream's guesses were right."""
        self._steps_idle = 0
        self._known = max(self._known, drafted)
        sequence.guessing.learn(drafted, accepted, sequence.generated)
        if accepted < drafted:
            self._steps_left = 0  # it may not pay any more

    def _review(self, decoding: Mapping[GeneratorId, Sequence]) -> None:
        """Decide anew, for no more steps than nobody can come to the end of a text in."""
        self._steps_left = REVIEW_STEPS
        chosen = self._choose(decoding)
        if not chosen and self._steps_idle >= TRIAL_STEPS:
            self._steps_idle = self._steps_left = 0
            self._trials += 1
            sizes = list(self._sizes())
            chosen = dict.fromkeys(decoding, sizes[self._trials % len(sizes)])
        drafts = []
        for generator, sequence in decoding.items():
            k = chosen.get(generator, 0)
            if k:
                room = min(self._context_size - sequence.computed, sequence.growth(LONG)) - 1
                k = max(0, min(k, room))
                self._steps_left = min(self._steps_left, room // (k + 1) - 1)
            drafts.append(k)
        self._drafts, self._rows = tuple(drafts), sum(drafts)

    def _choose(self, decoding: Mapping[GeneratorId, Sequence]) -> dict[GeneratorId, int]:
        """Find who guesses how much, so that tokens come fastest."""
        shares = {g: s.guessing.share(s.generated) for g, s in decoding.items()}
        alone_s = self._pace.decode_s(len(shares))
        token_s = alone_s / len(shares)
        best: dict[GeneratorId, int] = {}
        least_s = token_s / GAIN
        is_hope = not any(sequence.guessing.is_proven for sequence in decoding.values())
        for k in self._sizes():
            if is_hope and k > HOPE:
                break
            own_s = self._pace.guess_s(k * len(shares)) / len(shares)
            gains = {g: gain for g, q in shares.items() if (gain := _gain(q, k)) * token_s > own_s}
            if gains:
                step_s = alone_s + self._pace.guess_s(k * len(gains))
                tokens = len(shares) + sum(gains.values())
                if step_s < least_s * tokens:
                    least_s = step_s / tokens
                    best = dict.fromkeys(gains, k)
        return best

    def _sizes(self) -> Iterator[int]:
        k, most = 1, min(self._most, 2 * self._known)
        while k < most:
            yield k
            k *= 2
        yield most


def _gain(share: float, k: int) -> float:
    """Tokens that ``k`` guesses give on average: each counts if those before it were right."""
    return float(k) if share >= 1 else share * (1 - share**k) / (1 - share)
