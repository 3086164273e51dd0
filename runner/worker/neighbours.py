"""How many threads to use beside whatever else the machine is doing. Pure.

The threads of a graph wait for each other at every node, so the slowest core sets the pace of all.
On two cores, one of them busy with something else, two threads computed a hundredth of what one
did: each wait lasted until the system gave the other thread its turn.
"""

from __future__ import annotations

from typing import NamedTuple

SPARE = 0.5  # of a core that others may use before a thread is given up for them
LEAST_S = 0.1  # between two observations: the system counts CPU time in hundredths of a second


class CpuTime(NamedTuple):
    """CPU seconds spent up to a moment: on the CPUs we may use by anybody, and by this process."""

    at_s: float
    busy_s: float
    own_s: float


class Neighbours:
    """Sheds threads as soon as others want the cores, and takes them back when they have left."""

    def __init__(self, *, cpus: int, most: int) -> None:
        """``cpus`` this process may run on; ``most`` threads on an idle machine."""
        self._cpus = cpus
        self._most = most
        self._allowed = most  # by the last observation
        self._given = most
        self._last: CpuTime | None = None

    def observe(self, now: CpuTime) -> int:
        """Return how many threads to use until the next observation.

        Four a second shed a thread within half of one, and take it back within another half.
        """
        last = self._last
        if last is not None and now.at_s - last.at_s < LEAST_S:
            return self._given
        self._last = now
        if last is None:
            return self._given
        others = cores_of_others(last, now)
        before = self._allowed
        self._allowed = max(1, min(self._most, int(self._cpus - others + SPARE)))
        self._given = min(before, self._allowed)  # a core is taken back when free twice in a row
        return self._given


def cores_of_others(before: CpuTime, after: CpuTime) -> float:
    """Count the cores that others kept busy between two moments, on average."""
    others_s = after.busy_s - before.busy_s - (after.own_s - before.own_s)
    return max(0.0, others_s) / max(1e-3, after.at_s - before.at_s)
