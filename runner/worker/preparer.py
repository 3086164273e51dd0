"""A small pool that prepares requests off the engine thread, and outlives a template that hangs."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from runner.errors import Kind, RunnerError
from runner.wire.messages import Answered, Ask, Embed, Failed, Rank, RequestId, Submit
from runner.worker.prompts import Limit

R = TypeVar("R", bound=Submit | Embed | Rank)
P = TypeVar("P")  # what it becomes
RENDER_LIMIT_S = 2.0
LEAST_WAIT_S = 0.01  # a thread that is kept waiting does not come nearer to its limit
THREADS = 2
MAX_HUNG = 2  # threads lost in a template at one time: each burns a core

LOG = logging.getLogger(__name__)


class Abandoned(Exception):
    """The block took longer than its limit; somebody has acted on that already."""


def thread_clock() -> Callable[[], float]:
    """Return a clock of the calling thread's CPU seconds, for any thread to read while it lives.

    Where a system has no such clock, time passes there whoever has the CPU.
    """
    if sys.platform in ("win32", "darwin"):
        return time.monotonic
    return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))


@dataclass(frozen=True, slots=True)
class Guarded:
    """A block that runs, and when it is late by its own clock."""

    clock: Callable[[], float]
    until_s: float

    @property
    def left_s(self) -> float:
        """How long it may still run."""
        return self.until_s - self.clock()


class TimeLimit:
    """Calls ``on_late`` with the id of a block that runs too long: native code cannot be stopped.

    Time is the CPU's, so that a machine that is busy with other things fails nobody. One thread
    runs :meth:`watch`; it sleeps while no block runs.
    """

    def __init__(self, limit_s: float, *, on_late: Callable[[RequestId], None]) -> None:
        self._limit_s = limit_s
        self._on_late = on_late
        self._changed = threading.Condition()
        self._blocks: dict[RequestId, Guarded] = {}

    @contextmanager
    def block(self, id: RequestId) -> Iterator[None]:
        """Guard a block; it raises Abandoned at its end when it came too late."""
        clock = thread_clock()
        with self._changed:
            self._blocks[id] = Guarded(clock, clock() + self._limit_s)
            self._changed.notify()
        is_late = False
        try:
            yield
        finally:
            with self._changed:
                is_late = self._blocks.pop(id, None) is None
            if is_late:
                raise Abandoned

    def watch(self) -> None:
        """Watch for ever."""
        while True:
            self._on_late(self._wait_for_late())

    def _wait_for_late(self) -> RequestId:
        with self._changed:
            while True:
                if not self._blocks:
                    self._changed.wait()
                    continue
                # Inside the lock: a thread whose block is here lives, and so does its clock.
                left_s, id = min((block.left_s, id) for id, block in self._blocks.items())
                if left_s <= 0:
                    del self._blocks[id]
                    return id
                self._changed.wait(max(left_s, LEAST_WAIT_S))


class Preparer(Generic[R, P]):
    """Prepares requests, and answers questions, in order of arrival on a few threads.

    Every one ends in one call of ``deliver``, of ``tell`` (an answer) or of ``refuse``, unless
    :meth:`cancel` took it back; ``discard`` gets what was then prepared for nobody. ``give_up`` is
    called when too many threads hang.
    """

    def __init__(
        self,
        prepare: Callable[[R, float | None, Limit], P],
        *,
        answer: Callable[[Ask, Limit], Answered],
        deliver: Callable[[P], None],
        tell: Callable[[Answered], None],
        refuse: Callable[[Failed], None],
        discard: Callable[[P], None],
        give_up: Callable[[], None],
        limit_s: float = RENDER_LIMIT_S,
    ) -> None:
        self._prepare = prepare
        self._answer = answer
        self._tell = tell
        self._deliver = deliver
        self._refuse = refuse
        self._discard = discard
        self._give_up = give_up
        self._limit = TimeLimit(limit_s, on_late=self._replace)
        self._changed = threading.Condition()
        self._queue: deque[tuple[R | Ask, float | None]] = deque()
        self._open: set[RequestId] = set()  # neither delivered nor refused yet
        self._hung = 0

    def start(self) -> None:
        """Start the threads. They are daemons: the process ends without them."""
        _start(self._limit.watch, "render-watch")
        for _ in range(THREADS):
            _start(self._work, "prepare")

    def __len__(self) -> int:
        return len(self._open)

    def submit(self, submit: R | Ask) -> None:
        """Queue a request; its deadline counts from now."""
        deadline_s = None
        if not isinstance(submit, Ask) and submit.deadline_s is not None:
            deadline_s = time.monotonic() + submit.deadline_s
        with self._changed:
            self._open.add(submit.id)
            self._queue.append((submit, deadline_s))
            self._changed.notify()

    def cancel(self, id: RequestId) -> bool:
        """Take a submit back; False when it is not here (any more)."""
        with self._changed:
            is_here = id in self._open
            self._open.discard(id)
            return is_here

    def _work(self) -> None:
        try:
            while True:
                self._handle(*self._take())
        except Abandoned:  # another thread has this one's place
            with self._changed:
                self._hung -= 1

    def _take(self) -> tuple[R | Ask, float | None]:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue)
                submit, deadline_s = self._queue.popleft()
                if submit.id in self._open:
                    return submit, deadline_s

    def _handle(self, request: R | Ask, deadline_s: float | None) -> None:
        made: P | Answered
        try:
            if isinstance(request, Ask):
                made = self._answer(request, self._limit.block)
            else:
                made = self._prepare(request, deadline_s, self._limit.block)
        except Abandoned:
            raise
        except RunnerError as error:
            self._fail(request.id, error)
        except Exception:
            LOG.exception("request %d could not be prepared", request.id)
            message = "the engine could not prepare the request"
            self._fail(request.id, RunnerError(Kind.INTERNAL, message))
        else:
            self._hand_over(request.id, made)

    def _hand_over(self, id: RequestId, made: P | Answered) -> None:
        # Delivered under the lock: a cancel that comes after finds the request at the engine.
        with self._changed:
            if id in self._open:
                self._open.remove(id)
                self._tell(made) if isinstance(made, Answered) else self._deliver(made)
                return
        if not isinstance(made, Answered):
            self._discard(made)

    def _fail(self, id: RequestId, error: RunnerError) -> None:
        if self.cancel(id):
            self._refuse(
                Failed(id, error.kind.value, error.message, error.hint, error.param, error.details)
            )

    def _replace(self, id: RequestId) -> None:
        """Fail the request whose template hangs, and go on with another thread."""
        message = "the chat template does not come to an end with this conversation"
        self._fail(id, RunnerError(Kind.TEMPLATE_ERROR, message))
        with self._changed:
            self._hung += 1
            if self._hung <= MAX_HUNG:
                _start(self._work, "prepare")
                return
        self._give_up()


def _start(target: Callable[[], None], name: str) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()
