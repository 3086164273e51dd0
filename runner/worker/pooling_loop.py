"""The engine's loop of a model that pools: take what came in, fill a pass, compute, tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runner.binding import Code, NativeError
from runner.errors import Kind
from runner.wire.messages import (
    Beat,
    Cancel,
    Event,
    Failed,
    Message,
    Pooled,
    RequestId,
    Stop,
    Tune,
    Tuned,
)
from runner.worker.loop import ABORT_DELAY_S, STOP_POLL_S, Inbox
from runner.worker.pooling import Job, Packer, Texts, finish

UNLOADED = "the model was unloaded before the answer was complete"


class Passes(Protocol):
    """The part of ``binding.Embedder`` that is used here."""

    def embed(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Compute texts in one pass."""

    def set_threads(self, threads: int) -> None:
        """Compute with so many threads from the next pass on."""

    def abort(self) -> None:
        """Make the running pass end."""


class Pool:
    """An embedder whose ``threads`` may be set by any thread: the next pass has so many at most."""

    def __init__(self, embedder: Passes, *, threads: int, width: int) -> None:
        self.threads = self._threads = threads
        self.width = width
        self.abort = embedder.abort
        self._embedder = embedder

    def embed(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Compute texts in one pass."""
        if self.threads != self._threads:
            self._embedder.set_threads(self.threads)
            self._threads = self.threads
        return self._embedder.embed(texts)


class PoolingLoop:
    """Owns the embedder. One thread runs it."""

    def __init__(
        self,
        pool: Pool,
        packer: Packer,
        inbox: Inbox,
        *,
        emit: Callable[[list[Event]], None],
        send: Callable[[Message], None],
        is_preparing: Callable[[], bool],
        max_jobs: int,
    ) -> None:
        """``is_preparing`` tells of requests on their way here; over ``max_jobs`` are refused."""
        self._max_jobs = max_jobs
        self._pool = pool
        self._packer = packer
        self._inbox = inbox
        self._emit = emit
        self._send = send
        self._is_preparing = is_preparing
        self._jobs: dict[RequestId, Job] = {}
        self._stop_s: float | None = None  # when to stop, finished or not
        self._pass_began_s = 0.0  # 0: none is running
        self._tokens = self._passes = 0  # totals
        self.is_busy = False
        self.stirred = threading.Event()  # set when work comes to an idle engine

    def run(self) -> None:
        """Serve until a ``Stop`` has been obeyed."""
        while True:
            for item in self._inbox.take(self._patience_s()):
                match item:
                    case Texts():
                        self._open(item)
                    case Cancel():
                        self._fail(item.id, Kind.CANCELLED, "the request was cancelled")
                    case Tune(stop=False):
                        self._send(Tuned(problem="a model that makes no text is not tuned"))
                    case Stop():
                        self._stop_s = time.monotonic() + item.grace_s
            self._drop_late(time.monotonic())
            if self._jobs:
                self._pass()
            self.is_busy = bool(self._jobs)
            if not self.is_busy and self._stop_s is not None and self._may_end(self._stop_s):
                return

    def stop(self, stop: Stop) -> None:
        """Finish what runs within the grace, then end :meth:`run`. Any thread."""
        self._inbox.put(stop)
        timer = threading.Timer(stop.grace_s + ABORT_DELAY_S, self._pool.abort)
        timer.daemon = True
        timer.start()

    def beat(self, *, cells_total: int, resident_bytes: int, threads: int) -> Beat:
        """Describe the engine's state. Any thread; the numbers may be of two moments."""
        began_s = self._pass_began_s
        return Beat(
            step_running_s=time.monotonic() - began_s if began_s else 0.0,
            running=len(self._jobs),
            waiting=0,
            cells_used=0,
            cells_total=cells_total,
            prompt_tokens=self._tokens,
            cached_tokens=0,
            completion_tokens=0,
            steps=self._passes,
            resident_bytes=resident_bytes,
            threads=threads,
        )

    def _patience_s(self) -> float | None:
        if self._jobs:
            return 0.0
        return None if self._stop_s is None else STOP_POLL_S

    def _may_end(self, stop_s: float) -> bool:
        return not self._is_preparing() or time.monotonic() >= stop_s

    def _open(self, texts: Texts) -> None:
        if len(self._jobs) >= self._max_jobs:
            message = f"{self._max_jobs} requests are waiting for this model already"
            hint = "try again in a moment"
            self._emit([Failed(texts.id, Kind.BUSY.value, message, hint)])
            return
        rows = np.empty((len(texts.texts), self._pool.width), np.float32)
        job = self._jobs[texts.id] = Job(texts, rows)
        self._packer.add(job)
        if not self.is_busy:
            self.is_busy = True
            self.stirred.set()

    def _drop_late(self, now_s: float) -> None:
        if self._stop_s is not None and now_s >= self._stop_s:
            for id in list(self._jobs):
                self._fail(id, Kind.UNAVAILABLE, UNLOADED)
        for id, job in list(self._jobs.items()):
            deadline_s = job.request.deadline_s
            if deadline_s is not None and now_s >= deadline_s:
                self._fail(id, Kind.TIMEOUT, "the request's deadline passed")

    def _pass(self) -> None:
        taken = self._packer.next()
        texts = [job.request.texts[index] for job, index in taken]
        self._pass_began_s = time.monotonic()
        try:
            rows = self._pool.embed(texts)
            if len(texts) > 1 and not np.isfinite(rows).all():
                # NaN spreads within a pass: alone, each text answers for itself.
                rows = np.vstack([self._pool.embed([text]) for text in texts])
        except NativeError as error:
            kind, message = Kind.INTERNAL, f"llama.cpp could not compute: {error.message}"
            if error.code is Code.CANCELLED:
                kind, message = Kind.UNAVAILABLE, UNLOADED
            for id in {job.request.id for job, _ in taken}:
                self._fail(id, kind, message)
            return
        finally:
            self._pass_began_s = 0.0
        self._passes += 1
        self._tokens += sum(map(len, texts))
        for (job, index), row in zip(taken, rows, strict=True):
            self._settle(job, index, row)

    def _settle(self, job: Job, index: int, row: NDArray[np.float32]) -> None:
        id = job.request.id
        if id not in self._jobs:
            return  # another of its texts has failed in this pass
        if not np.isfinite(row).all():
            self._fail(
                id, Kind.INTERNAL, f"the model gave no number for text {index}: NaN or infinity"
            )
            return
        job.rows[index] = row
        job.done += 1
        if job.is_done:
            del self._jobs[id]
            result = finish(job)
            tokens = tuple(map(len, job.request.texts))
            values = result.astype("<f4", copy=False).tobytes()
            self._emit([Pooled(id, result.shape[1], values, tokens)])

    def _fail(self, id: RequestId, kind: Kind, message: str) -> None:
        job = self._jobs.pop(id, None)
        if job is not None:
            self._packer.remove(job)
            self._emit([Failed(id, kind.value, message)])
