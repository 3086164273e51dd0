"""How many connections a blob gets: one, then twice as many while that makes it faster. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.store import BLOCK_BYTES

WORTH = 1.25  # a doubling that gains less has met another limit: the line, the disk, this machine


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of one download."""

    block_bytes: int = BLOCK_BYTES
    run_blocks: int = 32  # of a connection among several: a second or so of a fast line
    most_connections: int = 8
    trial_s: float = 0.5  # how long a number of connections is measured
    patience: int = 4  # tries in a row that bring nothing, of a download that has not begun
    patience_s: float = 300.0  # without a byte, of one that has: networks come back
    pause_s: float = 0.5  # before the second try; doubled for each further one
    longest_pause_s: float = 15.0

    def pause_after_s(self, idle: int) -> float:
        """Return how long to wait after so many tries in a row that brought nothing."""
        return min(self.pause_s * 2.0**idle, self.longest_pause_s)


DEFAULT_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Ramp:
    """What is known of the line."""

    connections: int = 1
    rate: float = 0.0  # bytes/s of half as many connections
    is_settled: bool = False

    def settle(self, rate: float) -> Ramp:
        """Take the rate (bytes/s) measured with this many connections; say how to go on."""
        if self.is_settled:
            return self
        if rate < self.rate * WORTH:
            return replace(self, is_settled=True)
        return Ramp(self.connections * 2, rate)


def connections(ramp: Ramp, pace: Pace, *, missing_blocks: int) -> int:
    """Return how many connections there should be now: few for what is small or nearly done."""
    by_size = missing_blocks // pace.run_blocks
    return max(1, min(ramp.connections, pace.most_connections, by_size))
