"""What a model that pools decides without a thread: passes, and the last touch. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runner.wire.messages import RequestId

MAX_RESULT_BYTES = 48 * 1024 * 1024  # of one request: what a frame takes, with room
LARGEST = 32760.0  # of a vector by norm 0, as llama-server has it


@dataclass(frozen=True, slots=True)
class Texts:
    """A request, tokenised: each text fits a pass."""

    id: RequestId
    texts: tuple[tuple[int, ...], ...]
    dimensions: int | None
    norm: int
    deadline_s: float | None  # on the monotonic clock


@dataclass(slots=True, eq=False)
class Job:
    """A request under way; a row of results for each text."""

    request: Texts
    rows: NDArray[np.float32]
    begun: int = 0  # texts that were put into a pass
    done: int = 0

    @property
    def is_done(self) -> bool:
        """Whether every text has its row."""
        return self.done == len(self.request.texts)


@dataclass(slots=True)
class Packer:
    """Packs the texts of all that wait into passes, in turn: a long list delays nobody's short one.

    ``rows`` tokens are aimed at: more make no pass faster, and each token is compared with all
    others of its pass. A longer text has a pass of its own.
    """

    rows: int
    texts: int
    _waiting: deque[Job] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, job: Job) -> None:
        """Let a job take part."""
        self._waiting.append(job)

    def remove(self, job: Job) -> None:
        """Forget a job, if it is here."""
        if job in self._waiting:
            self._waiting.remove(job)

    def next(self) -> list[tuple[Job, int]]:
        """Take the texts of the next pass: jobs and indices into their texts; none is left out."""
        taken: list[tuple[Job, int]] = []
        left = self.rows
        while self._waiting and len(taken) < self.texts:
            job = self._waiting[0]
            length = len(job.request.texts[job.begun])
            if taken and length > left:
                break  # it is first in the next pass
            self._waiting.popleft()
            taken.append((job, job.begun))
            left -= length
            job.begun += 1
            if job.begun < len(job.request.texts):
                self._waiting.append(job)
        return taken


def finish(job: Job) -> NDArray[np.float32]:
    """Cut the rows to the dimensions asked for, and give each the norm asked for."""
    request = job.request
    rows = job.rows if request.dimensions is None else job.rows[:, : request.dimensions]
    if request.norm < 0:
        return np.ascontiguousarray(rows)
    sizes = np.abs(rows.astype(np.float64))
    if request.norm == 0:
        lengths = sizes.max(axis=1, keepdims=True) / LARGEST
    else:
        largest = sizes.max(axis=1, keepdims=True)  # out of the sum, that no power overflows
        scaled = np.divide(sizes, largest, out=np.zeros_like(sizes), where=largest > 0)
        lengths = largest * (scaled**request.norm).sum(axis=1, keepdims=True) ** (1 / request.norm)
    whole: NDArray[np.float64] = rows.astype(np.float64)
    np.divide(whole, lengths, out=whole, where=lengths > 0)  # all zeros stay so
    return whole.astype(np.float32)
