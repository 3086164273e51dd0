"""What serves requests once a model is loaded: the parts that ``host`` puts together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from runner.wire.messages import Beat, Request, Stop
from runner.worker.encoding import Encoding
from runner.worker.machine import cpu_time
from runner.worker.neighbours import Neighbours
from runner.worker.parsing import Parsing
from runner.worker.preparer import Preparer
from runner.worker.tuner import Tuner


class Loop(Protocol):
    """What the engine thread runs."""

    @property
    def is_busy(self) -> bool:
        """Whether a request has come, and is not known to have ended."""

    @property
    def stirred(self) -> threading.Event:
        """Set when work comes to an idle engine."""

    def run(self) -> None:
        """Serve until a ``Stop`` has been obeyed."""

    def stop(self, stop: Stop) -> None:
        """Finish what runs within the grace, then end :meth:`run`. Any thread."""

    def beat(self, *, cells_total: int, resident_bytes: int, threads: int) -> Beat:
        """Describe the engine's state. Any thread."""


class Threaded(Protocol):
    """What computes, with so many threads."""

    threads: int


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that serve requests once the model is loaded."""

    loop: Loop
    takes: tuple[type[Request], ...]  # what this kind of model can do
    backend: Threaded
    neighbours: Neighbours | None  # None: the number of threads was asked for
    preparer: Preparer[Any, Any]
    tuner: Tuner | None
    max_preparing: int
    total_cells: int
    keep_prefixes: Callable[[], None] | None  # for the next load; None: nobody wants that
    parsing: Parsing | None = None
    encoding: Encoding | None = None


def adapt_threads(engine: Engine) -> None:
    """Leave the cores that others use to them."""
    if engine.neighbours is not None and (now := cpu_time()) is not None:
        engine.backend.threads = engine.neighbours.observe(now)
