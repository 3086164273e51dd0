"""How many prompt rows a step may hold, learned from how long steps took.

A step of n decode rows and p prompt rows takes ``D(n) + X(p)``; both are learned (:mod:`cost`).
With one KV stream a slot that is what happens: llama.cpp's ``split_equal`` gives the decode rows
and each prompt passes of their own. In unified KV they share one, and X is what the prompt adds.

The choice of p moves latency, not work: streams wait ``D + X(p)`` for their next token, and a
prompt takes its length over p of such steps. So:

- Where the target gap leaves time beside D, prompts get all of it.
- Where it leaves little (D alone is near the target, or over it), they still get three fifths of
  the time, and up to four fifths when they are many beside few streams. A smaller share holds
  newcomers up for a gain that streams hardly notice, and keeps places idle that could decode.
- Work suffers in one way: rows of small pieces cost more, as a pass has a fixed cost and kernels
  have blocks of rows. So a piece may go over its time until its rows cost no more than ``WASTE``
  times the cheapest known ones.
- A size that is still about right stays: llama.cpp computes a graph of an equal shape again
  without building it.
"""

from __future__ import annotations

from math import inf

from runner.engine.backend import Copy, Plan, StepResult
from runner.engine.cost import Cost
from runner.engine.limits import Policy

FIRST_ROW_S = 0.01  # until the first measurement: a large model must not begin with a whole batch
ROW_BLOCK = 32  # matrix kernels work in blocks of rows: a partly filled block costs a whole one
SMALL = (8, 16)  # pieces below a block, for models whose every row takes a tenth of the target
SHARES = (1.5, 4.0)  # prompt time over decode time where the target cannot be met: least, most
WASTE = 1.15
LEAST_OF_MEAN = (
    1 / 16
)  # of a step's mean row: a prompt row is never free, however fast the step was
PATIENCE = 0.25  # of a step: so long copies may take in it, whatever the target
KEPT = (0.7, 1.2)  # of the best size: it stays as it is


class Pace:
    """Keeps the time of a step near ``target_gap_s`` while streams run, else under ``max_step_s``.

    The bound without streams is there for cancels and newcomers, which wait for the step's end.
    """

    def __init__(self, policy: Policy, *, batch_size: int, is_mixed: bool) -> None:
        """``is_mixed``: decode and prompt rows are computed in one pass (unified KV)."""
        self._policy = policy
        self._batch_size = batch_size
        self._is_mixed = is_mixed
        self._prompt_s = Cost(first_row_s=FIRST_ROW_S)  # what prompt rows add to a step
        self._last = (0, 0)  # decode and prompt rows of the latest choice
        self.decode_s = Cost(first_row_s=0.0)  # a step that holds decode rows alone
        self.guess_s = Cost(first_row_s=0.0)  # what guessed rows add to such a step

    def learn(self, plan: Plan, result: StepResult) -> None:
        """Learn from a step that was computed."""
        if plan.memory and any(isinstance(operation, Copy) for operation in plan.memory):
            return  # its time tells of the copy, not of rows
        prompt_rows = sum(len(part.tokens) for part in plan.prefill) if plan.prefill else 0
        guessed_rows = sum(result.drafted) if result.drafted else 0
        self.observe(len(plan.decode), prompt_rows, result.duration_s, guessed_rows=guessed_rows)

    def observe(
        self, decode_rows: int, prompt_rows: int, duration_s: float, *, guessed_rows: int = 0
    ) -> None:
        """Learn from a step; of one that holds both kinds of rows, what is not known yet."""
        if not prompt_rows and not guessed_rows:
            self.decode_s.observe(decode_rows, duration_s)
        elif guessed_rows:
            self.guess_s.observe(guessed_rows, duration_s - self.decode_s(decode_rows))
        elif not decode_rows or self.decode_s.is_known:
            mean_row_s = duration_s / (decode_rows + prompt_rows)
            least_s = LEAST_OF_MEAN * mean_row_s * prompt_rows
            added_s = duration_s - self.decode_s(decode_rows)
            self._prompt_s.observe(prompt_rows, max(added_s, least_s))
        else:
            self.decode_s.observe(decode_rows, duration_s - self._prompt_s(prompt_rows))

    @property
    def row_s(self) -> float:
        """What one prompt row adds to a step of many."""
        return self._prompt_s.best_row_s

    def patience_s(self, decode_rows: int) -> float:
        """Say how long a step may be held up before it computes.

        Who waits longer than the target for each token does not mind a little more.
        """
        if not decode_rows:
            return inf
        decode_s = self.decode_s(decode_rows)
        return max(self._policy.target_gap_s - decode_s, PATIENCE * decode_s)

    def prompt_rows(self, decode_rows: int, *, prompts: int = 1) -> int:
        """Say how many rows of some prompts the next step may hold beside ``decode_rows``."""
        spare_s = self._spare_s(decode_rows, prompts)
        sizes = self._sizes(decode_rows)
        at = _last_within(sizes, self._prompt_s, spare_s)
        dear_s = WASTE * self._prompt_s.best_row_s
        while at + 1 < len(sizes) and dear_s * sizes[at] < self._prompt_s(sizes[at]) <= 2 * spare_s:
            at += 1
        last_decode, last = self._last
        low, high = KEPT
        if last_decode != decode_rows or not low * sizes[at] <= last <= high * sizes[at]:
            self._last = (decode_rows, sizes[at])
        return self._last[1]

    def _spare_s(self, decode_rows: int, prompts: int) -> float:
        """Time that a step has for prompt rows."""
        policy = self._policy
        if not decode_rows:
            return policy.max_step_s
        decode_s = self.decode_s(decode_rows)
        least, most = SHARES
        share = min(max(least, 2 * prompts / decode_rows), most)
        fair_s = min(share * decode_s, max(policy.max_step_s - decode_s, decode_s))
        return max(policy.target_gap_s - decode_s, fair_s)

    def _sizes(self, decode_rows: int) -> list[int]:
        """Row counts to choose from, ascending: small ones, whole blocks, all the batch has."""
        most = self._batch_size - decode_rows
        shift = decode_rows % ROW_BLOCK if self._is_mixed else 0
        blocks = range(ROW_BLOCK - shift, most, ROW_BLOCK)
        small = (rows for rows in SMALL if rows < min(most, ROW_BLOCK - shift))
        return [*small, *blocks, most]


def _last_within(sizes: list[int], cost: Cost, limit_s: float) -> int:
    """Index of the largest size within the limit, or 0; costs ascend, so halving finds it."""
    low, high = 0, len(sizes)
    while high - low > 1:
        middle = (low + high) // 2
        if cost(sizes[middle]) <= limit_s:
            low = middle
        else:
            high = middle
    return low
