"""How many threads to use beside whatever else the machine is doing. Pure.

The threads of a graph wait for each other at every node, so the slowest core sets the pace of all.
On two cores, one of them busy with something else, two threads computed a hundredth of what one
did: each wait lasted until the system gave the other thread its turn.
"""

from __future__ import annotations

from typing import NamedTuple

SPARE = 0.5  # of a core that others may use before a thread is given up for them


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
        self._last: CpuTime | None = None

    def observe(self, now: CpuTime) -> int:
        """Return how many threads to use until the next observation, a second or so later."""
        last, self._last = self._last, now
        if last is None or now.at_s <= last.at_s:
            return self._allowed
        others = (now.busy_s - last.busy_s - (now.own_s - last.own_s)) / (now.at_s - last.at_s)
        before = self._allowed
        self._allowed = max(1, min(self._most, int(self._cpus - others + SPARE)))
        return min(before, self._allowed)  # a core is taken back when it was free twice in a row
