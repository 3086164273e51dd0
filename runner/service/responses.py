"""Responses that later requests name: one file each, for a while, up to a bound.

A file is whole or absent whatever dies. It belongs to the key that the response was made with: to
others it is as if it were not there. What was not used longest goes first.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import Kind, RunnerError
from runner.store.layout import write_whole

FORMAT = 1
MAX_CHAIN = 4096  # responses that go on from one another
MAX_CHAIN_BYTES = 64 * 1024 * 1024  # of their files: no context holds it
SCRATCH_S = 3600.0  # age from which a temporary file is a crash's
SWEEP_S = 86400.0  # what is too old goes within a day, though no other bound is reached

LOG = logging.getLogger(__name__)

Item = dict[str, Any]


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    id: str
    owner: str  # names the key that made it; empty: none was asked for
    previous: str | None  # id of the response that it goes on from
    input: tuple[Item, ...]  # what it was asked beside what came before
    response: dict[str, Any]  # as it was told
    format: int = FORMAT

    @property
    def output(self) -> list[Item]:
        """What it answered."""
        output: list[Item] = self.response["output"]
        return output


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept."""

    count: int = 10_000
    size_bytes: int = 1024 * 1024 * 1024
    age_s: float = 30 * 86400.0  # since the last use


class ResponseStore:
    """Keeps responses in ``folder``, which is made when there is one to keep."""

    def __init__(
        self, folder: Path, bounds: Bounds | None = None, *, now_s: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._bounds = bounds or Bounds()
        self._now_s = now_s
        self._writing: dict[str, tuple[StoredResponse, asyncio.Task[None]]] = {}
        # Of the files, as the last sweep found them; what was written since is added.
        self._room = threading.Lock()
        self._count = self._size_bytes = 0
        self._swept_s = -math.inf  # so that the first file makes room

    def keep(self, stored: StoredResponse) -> None:
        """Keep a response: it can be recalled from now on, and is on disk a little later.

        A disk that does not take it is logged: the answer is made, and its client is told it.
        """
        task = asyncio.create_task(asyncio.to_thread(self._write, stored))
        self._writing[stored.id] = (stored, task)
        task.add_done_callback(lambda _: self._writing.pop(stored.id))

    async def recall(self, id: str, owner: str) -> StoredResponse:
        """Return a response; raise NOT_FOUND where ``owner`` has none of this id."""
        if id in self._writing and (stored := self._writing[id][0]).owner == owner:
            return stored
        return await asyncio.to_thread(self._read, id, owner)

    async def chain(self, id: str, owner: str) -> list[StoredResponse]:
        """Return the responses that led to this one, and it, in their order.

        Raises NOT_FOUND where one of them is missing, INVALID_REQUEST where they are too many.
        """
        writing = {name: stored for name, (stored, _) in self._writing.items()}
        return await asyncio.to_thread(self._read_chain, id, owner, writing)

    async def size_bytes(self, id: str) -> int:
        """Return how long a response is on disk; 0 for one that is not there yet, or any more."""
        return await asyncio.to_thread(self._size_of, id)

    async def forget(self, id: str, owner: str) -> None:
        """Delete a response; raise NOT_FOUND where ``owner`` has none of this id."""
        await self.recall(id, owner)
        if id in self._writing:
            await asyncio.wait([self._writing[id][1]])  # who leaves does not end the writing
        await asyncio.to_thread(self._path(id).unlink, missing_ok=True)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*(task for _, task in self._writing.values()))

    def _path(self, id: str) -> Path:
        """Return the file of a response; raise NOT_FOUND for what cannot be an id of ours."""
        if not _ID.fullmatch(id):
            raise _missing(id)
        return self._folder / f"{id}.json"

    # ---- on threads ------------------------------------------------------------------------------

    def _read(self, id: str, owner: str) -> StoredResponse:
        path = self._path(id)
        try:
            with path.open("rb") as file:
                is_old = os.fstat(file.fileno()).st_mtime < self._now_s() - self._bounds.age_s
                stored = msgspec.json.decode(file.read(), type=StoredResponse)
            if is_old or (stored.format, stored.id, stored.owner) != (FORMAT, id, owner):
                raise _missing(id)
        except FileNotFoundError:
            raise _missing(id) from None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            LOG.warning("%s cannot be used: %s", path, error)
            raise _missing(id) from None
        with suppress(OSError):  # deleted since, or of a disk that is only read
            self._touch(path)
        return stored

    def _read_chain(
        self, id: str, owner: str, writing: dict[str, StoredResponse]
    ) -> list[StoredResponse]:
        chain: list[StoredResponse] = []
        size_bytes = 0
        wanted: str | None = id
        while wanted is not None:
            if len(chain) == MAX_CHAIN or size_bytes > MAX_CHAIN_BYTES:
                raise RunnerError(
                    Kind.INVALID_REQUEST,
                    f"the conversation before {id} is too long to go on from: at most {MAX_CHAIN} "
                    f"responses of {MAX_CHAIN_BYTES} bytes together",
                    hint="begin anew, with what still matters of it in input",
                    param="previous_response_id",
                )
            stored = writing.get(wanted)
            if stored is None or stored.owner != owner:
                stored = self._read(wanted, owner)
                size_bytes += self._size_of(wanted)
            chain.append(stored)
            wanted = stored.previous
        return chain[::-1]

    def _touch(self, path: Path) -> None:
        """Note that a response was used."""
        now_s = self._now_s()
        os.utime(path, (now_s, now_s))

    def _size_of(self, id: str) -> int:
        try:
            return self._path(id).stat().st_size
        except OSError:
            return 0  # deleted since

    def _write(self, stored: StoredResponse) -> None:
        try:
            data = msgspec.json.encode(stored)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path(stored.id)
            with self._room:  # no sweep finds a file whose time of use is not noted yet
                write_whole(path, data)
                self._touch(path)
                self._make_room(len(data))
        except OSError as error:
            LOG.warning("the response %s is not kept: %s", stored.id, error)

    def _make_room(self, added_bytes: int) -> None:
        """Sweep when a bound is reached, to a tenth below, so that the next file need not."""
        self._count += 1
        self._size_bytes += added_bytes
        is_full = self._count > self._bounds.count or self._size_bytes > self._bounds.size_bytes
        if is_full or self._now_s() - self._swept_s > SWEEP_S:
            self._sweep()

    def _sweep(self) -> None:
        files = sorted(self._files(), key=lambda found: found[0], reverse=True)
        self._swept_s = self._now_s()
        oldest_s = self._swept_s - self._bounds.age_s
        self._count = self._size_bytes = 0
        for used_s, size_bytes, path in files:
            has_room = (
                self._count < self._bounds.count * 0.9
                and self._size_bytes + size_bytes <= self._bounds.size_bytes * 0.9
            )
            # The newest stays whatever the bounds are: its client was just told its id.
            if used_s >= oldest_s and (has_room or not self._count):
                self._count += 1
                self._size_bytes += size_bytes
            else:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """List the responses: when each was used, its size, its file. Delete a crash's rests."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name, _, suffix = entry.name.partition(".")
                if not _ID.fullmatch(name):
                    continue  # not of ours
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # its client deleted it, or its writing ended
                if suffix == "json":
                    yield facts.st_mtime, facts.st_size, Path(entry.path)
                elif facts.st_mtime < self._now_s() - SCRATCH_S:
                    Path(entry.path).unlink(missing_ok=True)


_ID = re.compile(r"resp_[0-9a-f]{32}")


def _missing(id: str) -> RunnerError:
    return RunnerError(
        Kind.NOT_FOUND,
        f"no response {id[:80]!r} is kept here",
        hint="one is kept unless store is false, for 30 days after its last use",
    )
