"""Which connection fetches which blocks of a blob. Pure; the caller holds a lock around it.

Connections take runs of blocks near the front, so that the hash, which goes from front to back,
is never far behind. At the end, when every run is taken, one that is idle halves the longest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MISSING, TAKEN, DONE = range(3)
MIN_HALF_BLOCKS = 4  # less is not worth another request


@dataclass(slots=True, eq=False)
class Claim:
    """Blocks that one connection fetches in order: from ``next`` to before ``end``."""

    next: int
    end: int

    @property
    def remaining(self) -> int:
        """Number of blocks that are not fetched yet."""
        return self.end - self.next


class Claims:
    """What is done, taken and missing of a blob of ``count`` blocks."""

    def __init__(self, count: int, done: Iterable[int] = ()) -> None:
        self._states = bytearray(count)
        self._claims: list[Claim] = []
        for index in done:
            self._states[index] = DONE

    @property
    def done_count(self) -> int:
        """Number of blocks that are done."""
        return self._states.count(DONE)

    def is_done(self, index: int) -> bool:
        """Say whether a block is done."""
        return self._states[index] == DONE

    def take(self, most: int | None) -> Claim | None:
        """Take the first missing run, at most ``most`` blocks; else half of the longest claim."""
        start = self._states.find(MISSING)
        if start < 0:
            return self._halve()
        claim = Claim(start, start + self._missing_from(start, most))
        self._mark(claim.next, claim.end, TAKEN)
        self._claims.append(claim)
        return claim

    def prolong(self, claim: Claim, most: int | None) -> bool:
        """Let a claim that is at its end go on into the blocks behind; False: they are not free."""
        more = self._missing_from(claim.end, most)
        self._mark(claim.end, claim.end + more, TAKEN)
        claim.end += more
        return more > 0

    def settle(self, claim: Claim) -> int:
        """Note that the next block of a claim is done; return its index."""
        index = claim.next
        self._states[index] = DONE
        claim.next += 1
        return index

    def release(self, claim: Claim) -> None:
        """Give back what a claim has not fetched."""
        self._mark(claim.next, claim.end, MISSING)
        claim.end = claim.next
        self._claims.remove(claim)

    def shorten(self, most: int) -> None:
        """Give back what each claim has beyond its next ``most`` blocks."""
        for claim in self._claims:
            end = min(claim.end, claim.next + most)
            self._mark(end, claim.end, MISSING)
            claim.end = end

    def reopen(self, index: int) -> None:
        """Make a block that was done missing: its bytes are not what they should be."""
        self._states[index] = MISSING

    def _halve(self) -> Claim | None:
        longest = max(self._claims, key=lambda claim: claim.remaining, default=None)
        if longest is None or longest.remaining < 2 * MIN_HALF_BLOCKS:
            return None
        claim = Claim((longest.next + longest.end) // 2, longest.end)
        longest.end = claim.next
        self._claims.append(claim)
        return claim

    def _missing_from(self, start: int, most: int | None) -> int:
        """Count the missing blocks that follow each other from ``start`` on."""
        run = self._states[start : None if most is None else start + most]
        return len(run) - len(run.lstrip(bytes([MISSING])))

    def _mark(self, start: int, end: int, state: int) -> None:
        self._states[start:end] = bytes([state]) * (end - start)
