"""The engine's loop: take what came in, plan, compute, settle, tell. One thread runs it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from runner.engine import Backend, Ended, Failed, Scheduler
from runner.engine.backend import GeneratorId
from runner.engine.events import SequenceId
from runner.errors import Kind
from runner.wire.messages import Beat, Cancel, Event, Stop, Tune
from runner.worker.parsing import Parser
from runner.worker.pooling import Texts
from runner.worker.prompts import Prepared
from runner.worker.saved import SavedText
from runner.worker.translate import Translator

Item = Prepared | Texts | Cancel | Tune | Stop  # one loop gets the first, another the second
STOP_POLL_S = 0.05
ABORT_DELAY_S = 0.01  # behind the grace: no step begins after it

Emit = Callable[[list[Event]], None]


class AbortableBackend(Backend, Protocol):
    """A backend whose running step another thread can end."""

    def abort(self) -> None:
        """Make the running step end early."""
        ...


class Pastime(Protocol):
    """What an idle engine does, in slices of one native step."""

    def patience_s(self) -> float | None:
        """How long to be idle before :meth:`work`; None: there is nothing to do."""

    def work(self) -> None:
        """Do a slice."""

    def leave(self) -> None:
        """Drop what was begun: there is real work."""

    def obey(self, message: Tune) -> None:
        """Begin or give up what somebody asks for."""


class Inbox:
    """What other threads have for the engine. Costs nothing to look at while it is empty."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._arrived = threading.Condition()

    def put(self, item: Item) -> None:
        """Add an item and wake the engine."""
        with self._arrived:
            self._items.append(item)
            self._arrived.notify()

    def take(self, wait_s: float | None) -> list[Item]:
        """Return what is there; wait up to ``wait_s`` seconds (None: for ever) for the first."""
        if not self._items and wait_s == 0:
            return []
        with self._arrived:
            self._arrived.wait_for(lambda: self._items, wait_s)
            items = list(self._items)
            self._items.clear()
            return items


class EngineLoop:
    """Owns the scheduler and, through the backend, the context."""

    def __init__(
        self,
        scheduler: Scheduler,
        backend: AbortableBackend,
        inbox: Inbox,
        *,
        translator: Translator,
        emit: Emit,
        is_preparing: Callable[[], bool],
        open_parser: Callable[[SequenceId, Parser], None],
        stock: Callable[[SavedText], None] = lambda text: None,
        pastime: Pastime | None = None,
    ) -> None:
        """``stock`` takes the text that a request brings along.

        ``emit`` takes a step's events, of which those of an id that was given to ``open_parser``
        are parsed; ``is_preparing`` tells of requests on their way here.
        """
        self._scheduler = scheduler
        self._backend = backend
        self._inbox = inbox
        self._translator = translator
        self._emit = emit
        self._is_preparing = is_preparing
        self._open_parser = open_parser
        self._stock = stock
        self._pastime = pastime
        self._generators: dict[SequenceId, GeneratorId | None] = {}  # of open ids
        self._stop_s: float | None = None  # when to stop, finished or not
        self._step_began_s = 0.0  # 0: no step is running
        self.is_busy = False  # a request has come, and is not known to have ended
        self.stirred = threading.Event()  # set when work comes to an idle engine

    def run(self) -> None:
        """Serve until a ``Stop`` has been obeyed."""
        while True:
            items = self._inbox.take(self._patience_s())
            for item in items:
                self._handle(item)
            if self._stop_s is not None and time.monotonic() >= self._stop_s:
                self._cancel_all()
            self.is_busy = self._step()
            self._tell()
            if not self.is_busy and self._stop_s is not None and self._may_end(self._stop_s):
                return
            if self._pastime is not None and not (self.is_busy or items):
                self._while_idle(self._pastime)

    def stop(self, stop: Stop) -> None:
        """Finish what runs within the grace, then end :meth:`run`. Any thread."""
        self._inbox.put(stop)
        timer = threading.Timer(stop.grace_s + ABORT_DELAY_S, self._backend.abort)
        timer.daemon = True
        timer.start()

    def beat(self, *, cells_total: int, resident_bytes: int, threads: int) -> Beat:
        """Describe the engine's state. Any thread; the numbers may be of two moments."""
        scheduler, totals = self._scheduler, self._scheduler.totals
        began_s = self._step_began_s
        return Beat(
            step_running_s=time.monotonic() - began_s if began_s else 0.0,
            running=scheduler.running,
            waiting=scheduler.waiting,
            cells_used=scheduler.cells_used,
            cells_total=cells_total,
            prompt_tokens=totals.prompt_tokens,
            cached_tokens=totals.cached_tokens,
            completion_tokens=totals.completion_tokens,
            steps=totals.steps,
            resident_bytes=resident_bytes,
            threads=threads,
            draft_tokens=totals.drafted,
            accepted_tokens=totals.accepted,
            prefix_ram_bytes=scheduler.prefixes.shelf.bytes,
        )

    def _patience_s(self) -> float | None:
        if self.is_busy:
            return 0.0
        if self._stop_s is not None:
            return STOP_POLL_S
        return None if self._pastime is None else self._pastime.patience_s()

    def _while_idle(self, pastime: Pastime) -> None:
        if self._stop_s is not None or self._is_preparing():
            pastime.leave()
        else:
            pastime.work()

    def _handle(self, item: Item) -> None:
        if self._pastime is not None:
            self._pastime.leave()
        match item:
            case Prepared(request, stops, parser, stored, _):
                if stored is not None:
                    self._stock(stored)
                self._generators[request.id] = request.generator
                self._translator.open(request.id, stops)
                if parser is not None:
                    self._open_parser(request.id, parser)
                self._scheduler.submit(request)
                if not self.is_busy:
                    self.is_busy = True
                    self.stirred.set()
            case Cancel():
                self._scheduler.cancel(item.id)
            case Tune():
                if self._pastime is not None:
                    self._pastime.obey(item)
            case Stop():
                self._stop_s = time.monotonic() + item.grace_s

    def _step(self) -> bool:
        """Compute one step; False when there is nothing to do."""
        began_s = time.monotonic()
        plan = self._scheduler.plan(began_s)
        if plan is None:
            return False
        self._step_began_s = began_s
        result = self._backend.run(plan)
        self._step_began_s = 0.0
        self._scheduler.settle(plan, result, time.monotonic())
        return True

    def _tell(self) -> None:
        events = self._scheduler.take_events()
        if not events:
            return
        for event in events:
            if isinstance(event, Ended | Failed):
                generator = self._generators.pop(event.id)
                if generator is not None:
                    self._backend.free(generator)
        translate = self._translator.translate
        self._emit([translate(event) for event in events])

    def _cancel_all(self) -> None:
        message = "the model was unloaded before the answer was complete"
        for id in list(self._generators):
            self._scheduler.cancel(id, kind=Kind.UNAVAILABLE, message=message)

    def _may_end(self, stop_s: float) -> bool:
        return not self._is_preparing() or time.monotonic() >= stop_s
