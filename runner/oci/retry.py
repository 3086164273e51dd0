"""When to ask again, and after how long. Pure: the clock and the dice are given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

# Timeout, too early, too many, and what a gateway says when the server behind it is away.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to wait for a server. ``attempts`` counts the first one."""

    attempts: int = 5
    first_delay_s: float = 0.5
    max_delay_s: float = 20.0
    max_retry_after_s: float = 120.0  # a server that wants more is told of at once

    def delay_s(
        self, attempt: int, *, dice: float, retry_after_s: float | None = None
    ) -> float | None:
        """Return how long to wait after the failed ``attempt``, counted from 1; None: give up.

        The delay doubles with each attempt; ``dice`` in 0..1 takes up to half of it away, so that
        clients who failed together do not come back together. A server's own wish is honoured, or,
        when it is too long to wait for, ends the attempts.
        """
        if attempt >= self.attempts:
            return None
        if retry_after_s is not None:
            return retry_after_s if retry_after_s <= self.max_retry_after_s else None
        delay_s = min(self.first_delay_s * 2.0 ** (attempt - 1), self.max_delay_s)
        return delay_s * (1 - dice / 2)


def parse_retry_after(text: str | None, *, now_s: float) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110 section 10.2.3); None where it says nothing."""
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII):
        return float(text)
    try:
        moment = parsedate_to_datetime(text[:64])
        return max(0.0, moment.timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return None
