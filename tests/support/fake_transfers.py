"""The blocking client of transfers as a script: no store, no network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from runner.errors import Kind, RunnerError
from runner.oci import Digest, ModelConfig
from runner.store import StoredModel
from runner.transfer.archive import Layout
from runner.transfer.client import Diagnosis, Pulled, Pushed, RemoteModel
from runner.transfer.package import PackageRequest
from runner.transfer.progress import Event, IsCancelled, Listen, Note
from runner.transfer.search import SearchResult
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
    content: bytes = b"archive"
    blobs: set[Digest] = field(default_factory=set)
    found: SearchResult = field(default_factory=lambda: SearchResult(()))
    diagnoses: list[Diagnosis] = field(default_factory=list)
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

    def push(
        self, name: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pushed:
        self.asked.append(("push", name, bearer_token))
        self._play(name, listen, cancelled)
        return Pushed(Digest.of(name.encode()))

    def package(
        self, wanted: PackageRequest, name: str, *, listen: Listen, cancelled: IsCancelled
    ) -> StoredModel:
        self.asked.append(("package", wanted, name))
        self._play(name, listen, cancelled)
        return stored("a")

    def search(self, term: str, *, limit: int, source: str | None) -> SearchResult:
        self.asked.append(("search", term, limit, source))
        return self.found

    def inspect(self, name: str, *, listen: Listen, cancelled: IsCancelled) -> RemoteModel:
        self.asked.append(("inspect", name))
        if name == "missing":
            raise RunnerError(Kind.MODEL_NOT_FOUND, "the registry has no missing")
        return RemoteModel(Digest.of(b"r"), ModelConfig(architecture="llama"), 1000)

    def diagnose(self, name: str | None) -> list[Diagnosis]:
        self.asked.append(("diagnose", name))
        return self.diagnoses

    def log_in(self, host: str, username: str, password: str) -> str:
        self.asked.append(("log_in", host, username, password))
        if password != "right":
            raise RunnerError(Kind.REGISTRY_DENIED, "it refused the login")
        return "/home/ada/.docker/config.json"

    def log_out(self, host: str) -> bool:
        self.asked.append(("log_out", host))
        return host == "known"

    def add_blob(self, digest: Digest, source: IO[bytes], *, cancelled: IsCancelled) -> None:
        content = b""
        while piece := source.read(100_000):
            content += piece
        if not digest.matches(content):
            raise RunnerError(Kind.INVALID_REQUEST, f"expected {digest}")
        self.blobs.add(digest)

    def has_blob(self, digest: Digest) -> bool:
        return digest in self.blobs

    def save(
        self,
        name: str,
        target: IO[bytes],
        *,
        layout: Layout,
        listen: Listen,
        cancelled: IsCancelled,
    ) -> None:
        """Write ``content``, and then play the script."""
        self.asked.append(("save", name, layout))
        target.write(self.content)
        target.flush()
        self._play(name, listen, cancelled)

    def load(
        self, source: IO[bytes], *, listen: Listen, cancelled: IsCancelled
    ) -> list[StoredModel]:
        """Read ``content`` to its end, unless it is a lie from the start."""
        if source.read(3) == b"bad":
            raise RunnerError(Kind.INVALID_MODEL, "that is no archive")
        count = 3
        while piece := source.read(100_000):
            count += len(piece)
        self.asked.append(("load", count))
        return [stored("a")]

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
