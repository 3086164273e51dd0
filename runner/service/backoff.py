"""When a model that keeps failing may be tried again. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.service.residency import ModelKey

STABLE_S = 60.0  # a worker that lived this long did not fail "in a row"
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class _Failures:
    """Failures in a row of one model's engine."""

    count: int
    retry_at_s: float  # monotonic
    cause: RunnerError  # the last one's


class Backoff:
    """Holds back the loads of models that fail again and again. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures: dict[ModelKey, _Failures] = {}

    def note(self, key: ModelKey, cause: RunnerError, *, up_s: float, now_s: float) -> None:
        """Count a failure of an engine that was up for ``up_s`` seconds (0 when it never loaded).

        The first may be tried again at once: one crash is no loop, and the next request shall be
        answered. Then the wait doubles from one second. A file that is at fault is not counted: it
        is refused again as fast as it was this time.
        """
        if cause.row.status < 500:
            return
        earlier = self._failures.get(key)
        count = 1 if earlier is None or up_s >= STABLE_S else earlier.count + 1
        wait_s = 0.0 if count == 1 else min(LONGEST_S, 2.0 ** (count - 2))
        self._failures[key] = _Failures(count, now_s + wait_s, cause)

    def refusal(self, key: ModelKey, *, name: str, now_s: float) -> RunnerError | None:
        """Build the error for a request that comes too early, or None."""
        failures = self._failures.get(key)
        if failures is None or now_s >= failures.retry_at_s:
            return None
        cause = failures.cause
        return RunnerError(
            Kind.UNAVAILABLE,
            f"the engine of {name} failed {failures.count} times in a row; the last time: "
            f"{cause.message}",
            hint=cause.hint,
            details=cause.details,
            retry_after_s=math.ceil(failures.retry_at_s - now_s),
        )
