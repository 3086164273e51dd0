"""The right to use one loaded model, and the protocols of what stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

from runner.service.options import ModelSettings, completed
from runner.service.tally import ModelTally
from runner.supervise import Completion, Death
from runner.wire.messages import Ask, Beat, Load, Measured, Ready, Request, Submit, Tuned


class Engine(Protocol):
    """A loaded engine: :class:`runner.supervise.Worker`, or a fake in tests."""

    @property
    def ready(self) -> Ready:
        """What was loaded."""

    @property
    def beat(self) -> Beat | None:
        """The last numbers."""

    @property
    def pid(self) -> int:
        """Its process."""

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests."""

    def submit(self, request: Request) -> Completion:
        """Send a request."""

    on_tuning: Callable[[Measured | Tuned], None] | None

    def tune(self, listener: Callable[[Measured | Tuned], None]) -> Callable[[], None]:
        """Ask for a search for better settings; return what leaves it."""

    async def wait(self) -> Death:
        """Wait for its end."""

    async def stop(self, grace_s: float) -> Death:
        """Bring about its end."""


Spawn = Callable[[Load, Callable[[float], None]], Awaitable[Engine]]
"""Starts an engine: what to load, whom to tell the share loaded. Raises RunnerError."""


class Lease:
    """The right to use one loaded model: it is not evicted before :meth:`release`.

    Use as ``async with await engines.lease(name) as lease``.
    """

    def __init__(
        self,
        model_id: str,
        engine: Engine,
        *,
        settings: ModelSettings,
        tally: ModelTally,
        on_release: Callable[[Lease], None],
    ):
        """Of ``settings`` counts here what is for requests that leave it open."""
        self.model_id = model_id  # the stored model's digest, "sha256:…"
        self._engine = engine
        self._settings = settings
        self._tally = tally
        self._on_release = on_release
        self._completions: list[Completion] = []
        self._is_released = False

    @property
    def ready(self) -> Ready:
        """What was loaded, with the settings in force."""
        return self._engine.ready

    def submit(self, request: Request) -> Completion:
        """Send a request; its ``id`` is replaced by one of our own (write 0).

        Never raises and never waits: a dead worker, or a request too large for the pipe, is a
        completion whose only event is ``Failed``.
        """
        assert not self._is_released, "a lease is used after its release"
        if isinstance(request, Submit):
            request = completed(request, self._settings)
        completion = self._engine.submit(request)
        if not isinstance(request, Ask):  # which computes nothing
            completion.observe(self._tally.begin())
        self._completions.append(completion)
        return completion

    async def tune(self) -> AsyncGenerator[Measured | Tuned, None]:
        """Search for better settings: each measurement, and :class:`Tuned` at the end.

        It is made when the model has nothing else to do, and ended when the iterator is closed.
        """
        reports: asyncio.Queue[Measured | Tuned] = asyncio.Queue()
        leave = self._engine.tune(reports.put_nowait)
        try:
            while True:
                report = await reports.get()
                yield report
                if isinstance(report, Tuned):
                    return
        finally:
            leave()

    def release(self) -> None:
        """Give the model back and cancel what still runs on this lease. May be called twice."""
        if self._is_released:
            return
        self._is_released = True
        for completion in self._completions:
            completion.cancel()
        self._on_release(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
