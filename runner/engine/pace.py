"""How many prompt rows a step may hold, learned from how long steps took."""

from __future__ import annotations

from runner.engine.limits import Policy

WEIGHT = 0.25  # of the newest measurement: follows a change within a dozen steps, shrugs off one
FIRST_ROW_S = 0.01  # until the first measurement: a large model must not begin with a whole batch
LEAST_ROW_S = 1e-7
ROW_BLOCK = 32  # matrix kernels work in blocks of rows: a partly filled block costs a whole one
MIN_ROWS = 16  # a prompt goes on even where one row is slow


class Pace:
    """Keeps the time of a step near ``target_gap_s`` while streams run, else under ``max_step_s``.

    The bound without streams is there for cancels and newcomers, which wait for the step's end.
    """

    def __init__(self, policy: Policy, *, batch_size: int) -> None:
        self._policy = policy
        self._batch_size = batch_size
        self._decode_s = 0.0  # a step that holds decode rows alone
        self._row_s = 0.0  # what one prompt row adds; 0: not measured yet

    def observe(self, decode_rows: int, prompt_rows: int, duration_s: float) -> None:
        """Learn from a step."""
        if not prompt_rows:
            self._decode_s = _blend(self._decode_s or duration_s, duration_s)
        elif prompt_rows >= MIN_ROWS:  # fewer rows tell of the fixed cost, not of rows
            spent_s = duration_s - (self._decode_s if decode_rows else 0.0)
            row_s = max(spent_s / prompt_rows, LEAST_ROW_S)
            self._row_s = _blend(self._row_s or row_s, row_s)

    def prompt_rows(self, decode_rows: int) -> int:
        """Say how many prompt rows the next step may hold beside ``decode_rows``."""
        policy, most = self._policy, self._batch_size - decode_rows
        spare_s = policy.target_gap_s - self._decode_s if decode_rows else policy.max_step_s
        rows = min(most, int(spare_s / (self._row_s or FIRST_ROW_S)))
        whole_blocks = (decode_rows + rows) // ROW_BLOCK * ROW_BLOCK - decode_rows
        if rows < most and whole_blocks >= MIN_ROWS:
            rows = whole_blocks
        return min(most, max(MIN_ROWS, rows))


def _blend(old: float, new: float) -> float:
    return old + WEIGHT * (new - old)
