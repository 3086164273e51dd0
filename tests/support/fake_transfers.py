"""The blocking client of transfers as a script: no store, no network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.errors import Kind, RunnerError
from runner.store import StoredModel
from runner.transfer.client import Pulled
from runner.transfer.progress import Event, IsCancelled, Listen, Note
from tests.support.fake_engine import stored

HANG = "hang"  # as a step: tells nothing more until it is told to stop

Step = Event | str | RunnerError


@dataclass
class FakeTransferClient:
    """Plays the steps of a name: events, :data:`HANG`, or an error. Otherwise it works at once.

    ``go_on`` is waited for before the last word, so that a test may look at what came before.
    """

    scripts: dict[str, Sequence[Step]] = field(default_factory=dict)
    stored: dict[str, StoredModel] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.go_on.set()

    def is_stored(self, source: str) -> bool:
        return source in self.stored

    def pull(
        self, source: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pulled:
        self.asked.append(("pull", source, bearer_token))
        if source in self.stored:
            return Pulled(self.stored[source], is_cached=True)
        self._play(source, listen, cancelled)
        return Pulled(stored("a"), is_cached=False)

    def _play(self, name: str, listen: Listen, cancelled: IsCancelled) -> None:
        for step in self.scripts.get(name, ()):
            if isinstance(step, RunnerError):
                self.go_on.wait(5)
                raise step
            if step == HANG:
                listen(Note("hanging"))
                while not cancelled():
                    threading.Event().wait(0.005)
                self.cancelled.append(name)
                raise RunnerError(Kind.CANCELLED, "told to stop")
            assert not isinstance(step, str)
            listen(step)
        self.go_on.wait(5)
