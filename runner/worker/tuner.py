"""What an idle engine does: finds better settings, a step at a time, and lets go for any request.

Runs on the engine thread but for :meth:`Tuner.interrupt`. A candidate that was interrupted is
measured anew the next time; those before it keep their results.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from runner.binding import NativeError
from runner.wire.messages import (
    EngineSettings,
    Load,
    Measured,
    Message,
    Tune,
    Tuned,
    TunedSettings,
)
from runner.worker.loading import Loaded
from runner.worker.machine import cpu_time
from runner.worker.measuring import Bench, InterruptedStep
from runner.worker.neighbours import SPARE, CpuTime, cores_of_others
from runner.worker.tuning import (
    Choice,
    Result,
    Search,
    Shape,
    Space,
    search,
    shape,
    space,
    tuned_of,
)

ASKED_IDLE_S = 0.2  # a person waits for the result
DISTURBED_S = 60.0  # of idleness before the next try, when others use the processor
MAX_TRIES = 20  # of a candidate; then the machine is too busy for it until the next load
SEARCH_S = 30.0  # of measuring; what was not tried by then stays as it is
SLOWER = 2.0  # a candidate is given up when it takes so many times the first one's time

LOG = logging.getLogger(__name__)


class Measuring(Protocol):
    """A model to measure on: :class:`runner.worker.measuring.Bench`, or a fake in tests."""

    def probe(self, settings: TunedSettings) -> Generator[None, None, float]:
        """Return about how many seconds a row of a prompt takes."""

    def measure(
        self,
        settings: TunedSettings,
        shape: Shape,
        *,
        threads: Sequence[int] = (),
        limit_s: float | None = None,
    ) -> Generator[None, None, Result | None]:
        """Measure one candidate."""

    def abort(self) -> None:
        """End a running step."""


class Tuner:
    """One search at a time: unasked after some idleness, or because somebody asked."""

    _work: Generator[None, None, Any] | None  # the candidate that is being measured
    _search: Search | None
    _shape: Shape | None
    _limit_s: float | None  # known from the first candidate on
    _before: CpuTime | None

    def __init__(
        self,
        bench: Measuring,
        settings: EngineSettings,
        space: Space,
        *,
        fit: Callable[[float], Shape | None],
        send: Callable[[Message], None],
        after_s: float | None,
        cpu_time: Callable[[], CpuTime | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``fit`` makes a shape of the seconds a row takes; ``after_s`` of idleness: unasked."""
        self._bench = bench
        self._base = tuned_of(settings)
        self._space = space
        self._fit = fit
        self._send = send
        self._cpu_time = cpu_time
        self._clock = clock
        self._after_s = None if space.is_empty else after_s  # None: not unasked, or not any more
        self._is_asked = False
        self._forget()

    def interrupt(self) -> None:
        """Make room for a request: a running step ends early. Any thread."""
        self._bench.abort()

    def patience_s(self) -> float | None:
        """How long to be idle before :meth:`work`; None: there is nothing to do."""
        if self._work is not None:
            return 0.0
        return ASKED_IDLE_S if self._is_asked else self._after_s

    def obey(self, message: Tune) -> None:
        """Begin or give up what somebody asks for."""
        self.leave()
        self._is_asked = not message.stop
        self._forget()

    def leave(self) -> None:
        """Drop what is being measured: there are requests."""
        if self._work is not None:
            self._work.close()
            self._work = None

    def work(self) -> None:
        """Compute one step."""
        if self.patience_s() is None:
            return
        began_s = self._clock()
        try:
            if self._work is None:
                self._work = self._begin()
            next(self._work)
        except StopIteration as end:
            self._work = None
            self._spent_s += self._clock() - began_s
            self._settle(end.value)
        except InterruptedStep:
            self.leave()
        except NativeError as error:
            self._finish(Tuned(problem=f"the model could not be measured: {error.message}"))
        else:
            self._spent_s += self._clock() - began_s

    def _forget(self) -> None:
        """Make ready for a new search."""
        self._work = self._search = self._shape = self._limit_s = self._before = None
        self._candidate = self._base
        self._tries = 0
        self._spent_s = self._began_s = 0.0  # of work: in all, and before this candidate
        self._is_disturbed = False

    def _begin(self) -> Generator[None, None, Any]:
        """Begin a candidate; before the first, see how fast the model is."""
        self._tries += 1
        if self._space.is_empty or self._tries > MAX_TRIES:
            return _impossible(self._space)
        self._before, self._began_s = self._cpu_time(), self._spent_s
        if self._shape is None:
            return self._bench.probe(self._base)
        threads = self._space.threads if self._limit_s is None else ()
        return self._bench.measure(
            self._candidate, self._shape, threads=threads, limit_s=self._limit_s
        )

    def _settle(self, result: Any) -> None:
        if isinstance(result, Tuned):
            self._finish(result)
        elif self._shape is None:
            self._start_search(result)
        elif not self._others_compute():
            self._note(result)
        elif self._is_asked:  # then a result of a busy machine is told, and not kept
            self._is_disturbed = True
            self._note(result)
        else:
            self._after_s = DISTURBED_S

    def _start_search(self, row_s: float) -> None:
        self._shape = self._fit(row_s)
        if self._shape is None:
            self._finish(Tuned(problem="there is no memory free to measure in"))
            return
        self._search = search(self._base, self._space)
        self._candidate, self._tries = next(self._search), 0

    def _note(self, result: Result | None) -> None:
        """Take a measurement and go on to the next candidate."""
        assert self._search is not None and self._shape is not None, "nothing was begun"
        if self._limit_s is None:
            self._limit_s = SLOWER * (self._spent_s - self._began_s)
        if result is not None:
            rows, depth = self._shape.rows, self._shape.depth
            measured = Measured(
                settings=self._candidate, rates=result.rates, rows=rows, depth=depth
            )
            self._send(measured)
        try:
            self._candidate, self._tries = self._search.send(self._believable(result)), 0
            while self._spent_s > SEARCH_S:
                self._candidate = self._search.send(None)
        except StopIteration as end:
            choice: Choice = end.value
            tuned = Tuned(
                settings=choice.settings,
                gain=choice.gain,
                duration_s=self._spent_s,
                is_disturbed=self._is_disturbed,
            )
            self._finish(tuned)

    def _believable(self, result: Result | None) -> Result | None:
        """Leave out what others' work distorts most: fewer threads always seem better beside it."""
        if result is None or not self._is_disturbed:
            return result
        return replace(result, threads={})

    def _others_compute(self) -> bool:
        """Whether somebody else used the processor while a candidate was measured."""
        now = self._cpu_time()
        if self._before is None or now is None:
            return False
        return cores_of_others(self._before, now) > SPARE

    def _finish(self, tuned: Tuned) -> None:
        self._is_asked = False
        if self._after_s is not None:
            self._after_s = DISTURBED_S if tuned.is_disturbed else None
        self._forget()
        LOG.info("tuned: %s", tuned)
        self._send(tuned)


def make_tuner(loaded: Loaded, message: Load, *, send: Callable[[Message], None]) -> Tuner:
    """Make the tuner of a model that was just loaded."""
    settings, model, machine = loaded.ready.settings, loaded.traits, loaded.machine
    room = space(message.wishes, settings, model, machine)
    return Tuner(
        Bench(loaded.model, settings),
        settings,
        room,
        fit=lambda row_s: shape(settings, room, model, machine, row_s=row_s),
        send=send,
        after_s=message.tune_after_s,
        cpu_time=cpu_time,
    )


def _impossible(space: Space) -> Generator[None, None, Tuned]:
    """Say why nothing can be measured."""
    yield
    if space.is_empty:
        return Tuned(problem="there is nothing to choose: the settings were given")
    return Tuned(problem="requests came in between too often")
