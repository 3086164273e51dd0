"""What rows cost: seconds as a function of their number, learned from the steps that were run."""

from __future__ import annotations

from bisect import bisect_left

WEIGHT = 0.125  # of the newest surprise, once for its own number of rows and once for all
MOST_SURPRISE = 2.0  # a step that took longer was held up: it is believed no more than this
MEMORY = 128  # observations; what was not seen among the last so many is forgotten
EXACT = 32  # numbers of rows kept apart; more are taken for the nearest multiple of it
LEAST_S = 1e-7


class Cost:
    """Seconds for so many rows: a point for each number of rows that was run, lines between.

    No formula is assumed: kernels with blocks of rows, kernels with a path of their own for one row
    and the fixed cost of a pass over the weights all show as they are. A factor common to all
    points takes half of every surprise, so that a busy neighbour or a longer context is believed
    for the other points too before they are run again. Beyond the known points cost is taken to be
    in proportion to rows.
    """

    def __init__(self, *, first_row_s: float) -> None:
        """``first_row_s`` is believed until the first observation."""
        self._first_row_s = first_row_s
        self._rows: list[int] = []  # of the points, ascending
        self._points: dict[int, float] = {}  # seconds, to be multiplied by the factor
        self._seen: dict[int, int] = {}  # when each point was last observed
        self._factor = 1.0
        self._observations = 0
        self._best_row_s: float | None = first_row_s  # None: to be found again

    def observe(self, rows: int, seconds: float) -> None:
        """Learn that ``rows`` (at least one) took ``seconds``."""
        point = rows if rows <= EXACT else round(rows / EXACT) * EXACT
        seconds = max(seconds, LEAST_S) * point / rows
        self._observations += 1
        self._best_row_s = None
        self._seen[point] = self._observations
        known = self._points.get(point)
        if known is None:
            self._rows.insert(bisect_left(self._rows, point), point)
            self._points[point] = seconds / self._factor
        else:
            ratio = seconds / (known * self._factor)
            change = 1 + WEIGHT * (min(max(ratio, 1 / MOST_SURPRISE), MOST_SURPRISE) - 1)
            self._points[point] = known * change
            self._factor *= change
        if not self._observations % MEMORY:
            self._forget()

    def __call__(self, rows: int) -> float:
        """Seconds that ``rows`` will take."""
        if not self._rows:
            return rows * self._first_row_s
        at = bisect_left(self._rows, rows)
        low = self._rows[at - 1] if at else 0
        low_s = self._points[low] if at else 0.0
        if at == len(self._rows):
            return rows / low * low_s * self._factor
        high = self._rows[at]
        high_s = self._points[high]
        share = (rows - low) / (high - low)
        return (low_s + share * (high_s - low_s)) * self._factor

    @property
    def best_row_s(self) -> float:
        """Seconds for a row in the company in which it is cheapest, as far as is known."""
        if self._best_row_s is None:  # asked at every step, also where nothing was learned since
            least_s = min(seconds / rows for rows, seconds in self._points.items())
            self._best_row_s = least_s * self._factor
        return self._best_row_s

    def _forget(self) -> None:
        """Drop what is old: a dear point would never be tried again, so never be corrected.

        The number of rows at which a row is cheapest is something to aim at, however old.
        """
        best = min(self._rows, key=lambda rows: self._points[rows] / rows)
        for rows in self._rows:
            if rows != best and self._observations - self._seen[rows] >= MEMORY:
                del self._points[rows], self._seen[rows]
        self._rows = sorted(self._points)

    @property
    def is_known(self) -> bool:
        """Whether anything was observed."""
        return bool(self._rows)
