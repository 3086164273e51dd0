"""Long blocking work that clients watch: shared by those who want the same, bounded in number.

A job is over when its work is, or when nobody watches it any more.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.transfer.progress import Event, IsCancelled, LayerProgress, Listen, Note, Planned

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

THREADS = 32  # started when needed; small jobs do not wait for a place
MAX_NOTES = 64

LOG = logging.getLogger(__name__)


class Work(Protocol[T_co]):
    """Something that takes long; it is called in a thread."""

    def __call__(self, *, listen: Listen, cancelled: IsCancelled) -> T_co:
        """Do it; raise RunnerError(CANCELLED) soon after ``cancelled`` turns true."""


class Board:
    """The latest state of a transfer: a layer's new state replaces its old one."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self._planned: Planned | None = None
        self._layers: dict[Digest, LayerProgress] = {}

    def put(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Note():
                self._notes.append(event)
            case Planned():
                self._planned = event
                self._layers |= {layer.digest: layer for layer in event.layers}
            case LayerProgress():
                self._layers[event.digest] = event

    def events(self) -> list[Event]:
        """Tell all of it: notes, then the plan, then where each layer is."""
        planned = [] if self._planned is None else [self._planned]
        return [*self._notes, *planned, *self._layers.values()]


class Watch(Generic[T]):
    """One client's view of a job, from what happened before it came on."""

    def __init__(self, job: _Job[T]) -> None:
        self._job = job
        self._news = Board()
        self._has_news = asyncio.Event()
        for event in job.board.events():
            self.tell(event)

    async def more(self) -> list[Event]:
        """Wait for news; only the latest state of each layer is told. Empty: the job is over."""
        await self._has_news.wait()
        news, self._news = self._news.events(), Board()
        if not self._job.task.done():
            self._has_news.clear()
        return news

    async def pause(self, seconds: float) -> None:
        """Let news gather for a time, or until the job is over."""
        await asyncio.wait([self._job.task], timeout=seconds)

    async def result(self) -> T:
        """Wait for the job's end, and return or raise what came of it."""
        task = self._job.task
        await asyncio.wait([task])
        if task.cancelled():  # it had not begun, and while we watch only a stop does that
            raise _shutting_down()
        return task.result()

    def tell(self, event: Event) -> None:
        """Add to the news; called in the event loop."""
        self._news.put(event)
        self._has_news.set()

    def wake(self) -> None:
        """Let the client see that the job is over."""
        self._has_news.set()


class Jobs:
    """Runs jobs in threads of its own."""

    def __init__(self, *, max_running: int) -> None:
        """``max_running`` bounds the jobs that take a place; others wait, and say so."""
        self._max_running = max_running
        self._places = asyncio.Semaphore(max_running)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
        self._shared: dict[Hashable, _Job[Any]] = {}  # that a newcomer may join
        self._all: set[_Job[Any]] = set()
        self._is_stopping = False

    @asynccontextmanager
    async def watch(
        self,
        work: Work[T],
        what: str,
        *,
        key: Hashable = None,
        takes_place: bool = True,
        on_end: Callable[[T | None], None] = lambda result: None,
    ) -> AsyncIterator[Watch[T]]:
        """Start ``work``, or join a job of the same ``key``; None: it is shared with nobody.

        ``what`` is the log's word for it: ``pull of ai/smollm2``. ``on_end`` is called once a job,
        with its result, or None when it failed or was stopped.

        Leaving the context ends a job that nobody else watches: ``work`` is told to stop. Work of
        the same key that is asked for meanwhile begins when that has come to rest. Raises
        RunnerError(UNAVAILABLE) when the daemon is being stopped.
        """
        if self._is_stopping:
            raise _shutting_down()
        job: _Job[T] | None = None if key is None else self._shared.get(key)
        if job is None or job.is_cancelled:
            job = self._begin(work, what, key, after=job, takes_place=takes_place)
            job.on_end = on_end
        watch = Watch(job)
        job.watches.add(watch)
        try:
            yield watch
        finally:
            job.watches.discard(watch)
            if not job.watches and not job.task.done():
                LOG.info("%s: nobody waits for it any more; what has arrived is kept", what)
                job.cancel()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what is short and told to nobody else in one of the threads."""
        bound = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, bound)

    def stop(self) -> None:
        """Have every job stop; its watchers are told why."""
        self._is_stopping = True
        for job in self._all:
            job.cancel()

    async def close(self) -> None:
        """Stop, and return when the last thread has."""
        self.stop()
        if self._all:
            await asyncio.wait([job.task for job in self._all])
        await asyncio.to_thread(self._threads.shutdown)

    def _begin(
        self, work: Work[T], what: str, key: Hashable, *, after: _Job[T] | None, takes_place: bool
    ) -> _Job[T]:
        job = _Job[T]()
        place = self._places if takes_place else asyncio.Semaphore()
        job.task = asyncio.create_task(self._perform(job, work, place, after))
        job.task.add_done_callback(lambda _: self._settle(job, what, key))
        self._all.add(job)
        if key is not None:
            self._shared[key] = job
        return job

    async def _perform(
        self, job: _Job[T], work: Work[T], place: asyncio.Semaphore, after: _Job[T] | None
    ) -> T:
        try:
            if after is not None:
                await asyncio.wait([after.task])
            if place.locked():
                job.hear(Note(f"Waiting for one of {self._max_running} running transfers to end"))
            async with place:
                job.is_started = True
                bound = partial(work, listen=job.listen, cancelled=job.is_told_to_stop)
                return await asyncio.get_running_loop().run_in_executor(self._threads, bound)
        except RunnerError as error:
            if self._is_stopping and error.kind is Kind.CANCELLED:
                raise _shutting_down() from None
            raise
        except Exception as error:
            LOG.exception("a transfer failed")
            raise RunnerError(
                Kind.INTERNAL, f"the transfer failed: {error}", hint="see: python -m runner logs"
            ) from error

    def _settle(self, job: _Job[Any], what: str, key: Hashable) -> None:
        self._all.discard(job)
        if self._shared.get(key) is job:
            del self._shared[key]
        error = None if job.task.cancelled() else job.task.exception()
        if job.is_cancelled:
            LOG.info("%s: stopped", what)
        elif error is not None:
            LOG.warning("%s: %s", what, error)
        else:
            LOG.info("%s: done", what)
        is_done = error is None and not job.is_cancelled
        job.on_end(job.task.result() if is_done else None)
        for watch in job.watches:
            watch.wake()


class _Job(Generic[T]):
    """Work in a thread, what it has told, and who watches."""

    task: asyncio.Task[T]

    def __init__(self) -> None:
        self.board = Board()
        self.watches: set[Watch[T]] = set()
        self.on_end: Callable[[T | None], None] = lambda result: None
        self.is_started = False
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._arrived: deque[Event] = deque()
        self._is_waking = False

    @property
    def is_cancelled(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def is_told_to_stop(self) -> bool:
        """Answer the work, in its thread."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Have the work stop, at its next look; or never begin."""
        self._stop.set()
        if not self.is_started:
            self.task.cancel()

    def listen(self, event: Event) -> None:
        """Take an event from the work's threads, and wake the loop once for many."""
        self._arrived.append(event)
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._is_waking = False  # first: what arrives from here on wakes the loop again
        while self._arrived:
            self.hear(self._arrived.popleft())

    def hear(self, event: Event) -> None:
        """Remember an event and tell the watchers; called in the event loop."""
        self.board.put(event)
        for watch in self.watches:
            watch.tell(event)


def _shutting_down() -> RunnerError:
    return RunnerError(
        Kind.UNAVAILABLE,
        "the server is shutting down",
        hint="what has arrived is kept: the same command goes on from there",
    )
