"""What is counted since the daemon began, for ``/metrics``: of each model, of pulls, of answers.

All of it changes in the event loop alone. Models are told apart by the name they are stored under,
never by what a client wrote, and those beyond :data:`MAX_MODELS` are counted together.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from time import monotonic

from runner.store import StoredModel
from runner.transfer.client import Pulled
from runner.wire.messages import Begun, Ended, Event, Failed, Piece, Pooled, Timings

MAX_MODELS = 64
OTHERS = "other"  # no reference is spelled so: one has a host

# Upper bounds in seconds; what is above the last is in +Inf alone.
WAIT_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
TOKEN_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUEST_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Unload(StrEnum):
    """Why a model that was loaded left the memory."""

    IDLE = "idle"  # its keep-alive was over
    ROOM = "room"  # others needed its place
    ASKED = "asked"  # by name
    SETTINGS = "settings"  # to be loaded anew with others
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"


class Histogram:
    """How often a value fell below each of some bounds, as Prometheus counts it."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # of each interval; the last is above all bounds
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value that was seen so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def buckets(self) -> list[tuple[float, int]]:
        """Return (upper bound, number of values up to it), the last bound infinite."""
        shown, below = [], 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            below += count
            shown.append((bound, below))
        return shown


class ModelTally:
    """The counts of one model, over all its stays in memory."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells monotonic seconds."""
        self._clock = clock
        self.requests: Counter[str] = Counter()  # by how they ended: llama-server's, or a Kind
        self.prompt_tokens = 0  # cached ones included
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.draft_tokens = 0  # guessed and checked
        self.accepted_tokens = 0
        self.tokens_per_s: float | None = None  # of the last answer of several tokens
        self.loads = 0
        self.load_failures: Counter[str] = Counter()  # by Kind
        self.unloads: Counter[str] = Counter()  # by Unload
        self.load_s = Histogram(WAIT_BOUNDS_S)
        self.model_wait_s = Histogram(WAIT_BOUNDS_S)  # for the model to be there
        self.queue_s = Histogram(WAIT_BOUNDS_S)  # in the engine, to the start of the prompt
        self.first_token_s = Histogram(WAIT_BOUNDS_S)
        self.inter_token_s = Histogram(TOKEN_BOUNDS_S)
        self.request_s = Histogram(REQUEST_BOUNDS_S)

    def begin(self) -> Course:
        """Begin to count a request that is sent to the engine now."""
        return Course(self, self._clock)


class Course:
    """One request on its way through the engine: called with each of its events."""

    def __init__(self, tally: ModelTally, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._clock = clock
        self._sent_s = clock()
        self._first_s = 0.0  # from there to the first token
        self._told_s: float | None = None  # when the last token came

    def __call__(self, event: Event) -> None:
        """Count an event as it arrives."""
        now_s = self._clock()
        match event:
            case Piece():
                self._told(event.tokens, now_s)
            case Begun():
                self._tally.prompt_tokens += event.prompt_tokens
                self._tally.cached_tokens += event.cached_tokens
            case Ended():
                self._tally.draft_tokens += event.timings.draft_n
                self._tally.accepted_tokens += event.timings.draft_n_accepted
                self._timed(event.timings)
                self._over(event.reason, now_s)
            case Failed():
                self._over(event.kind, now_s)
            case Pooled():
                self._tally.prompt_tokens += sum(event.tokens)
                self._over("pooled", now_s)

    def _told(self, tokens: int, now_s: float) -> None:
        if not tokens:
            return  # text that was held back: its tokens were counted before
        self._tally.completion_tokens += tokens
        if self._told_s is None:
            self._first_s = now_s - self._sent_s
            self._tally.first_token_s.add(self._first_s)
        else:
            self._tally.inter_token_s.add((now_s - self._told_s) / tokens, tokens)
        self._told_s = now_s

    def _timed(self, timings: Timings) -> None:
        """Count what of the time to the first token was not spent on the prompt."""
        if timings.predicted_n > 1 and timings.predicted_ms > 0:
            self._tally.tokens_per_s = timings.predicted_n / timings.predicted_ms * 1000
        if self._told_s is not None:
            self._tally.queue_s.add(max(0.0, self._first_s - timings.prompt_ms / 1000))

    def _over(self, how: str, now_s: float) -> None:
        self._tally.requests[how] += 1
        self._tally.request_s.add(now_s - self._sent_s)


class Tally:
    """All counts of one daemon."""

    def __init__(self) -> None:
        self.models: dict[str, ModelTally] = {}  # by label
        self.pulls: Counter[str] = Counter()  # by outcome: pulled, cached, failed
        self.pulled_bytes = 0  # over the line
        self.answers: Counter[int] = Counter()  # by HTTP status

    def pulled(self, result: Pulled | None) -> None:
        """Count a pull that is over; None: it failed, or nobody waited for it any more."""
        if result is None:
            self.pulls["failed"] += 1
        else:
            self.pulls["cached" if result.is_cached else "pulled"] += 1
            self.pulled_bytes += result.received_bytes

    def label(self, tags: Sequence[str], id: str) -> str:
        """Return what a stored model is called in ``/metrics``."""
        name = tags[0] if tags else id
        return name if name in self.models or len(self.models) < MAX_MODELS else OTHERS

    def of(self, model: StoredModel) -> ModelTally:
        """Return the counts of a model."""
        return self.models.setdefault(self.label(model.tags, str(model.id)), ModelTally())
