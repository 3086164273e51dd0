"""Stores of others that are only read: a folder on a server, or another user's, behind our own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from runner.errors import Kind, RunnerError
from runner.store.models import StoredModel

log = logging.getLogger(__name__)


class Readable(Protocol):
    """What is asked of a store that is only read."""

    def list(self) -> list[StoredModel]:
        """List its models."""

    def resolve(self, text: str, *, partial: bool) -> StoredModel:
        """Find a model."""


S = TypeVar("S", bound=Readable)


class SharedStores(Generic[S]):
    """Opened when they are there. One whose disk is away is told of once, and tried again."""

    def __init__(self, paths: Sequence[Path], open_store: Callable[[Path], S]) -> None:
        self._paths = paths
        self._open = open_store
        self._opened: dict[Path, S] = {}
        self._missed: set[Path] = set()

    def list(self) -> Iterator[tuple[Path, StoredModel]]:
        """Yield all models, and which store has each."""
        for path, store in self.available():
            try:
                models = store.list()
            except RunnerError as error:
                self._miss(path, error)
                continue
            yield from ((path, model) for model in models)

    def resolve(self, text: str, *, partial: bool) -> tuple[Path, StoredModel] | None:
        """Find a model in the first store that has it. One that is damaged there is passed over."""
        for path, store in self.available():
            try:
                return path, store.resolve(text, partial=partial)
            except RunnerError as error:
                if error.kind is Kind.INVALID_REFERENCE:
                    raise
                if error.kind is not Kind.MODEL_NOT_FOUND:
                    self._miss(path, error)
        return None

    def get(self, path: Path) -> S:
        """Return a store that :meth:`list` or :meth:`resolve` named."""
        return self._opened[path]

    def available(self) -> Iterator[tuple[Path, S]]:
        """Yield the stores that are there."""
        for path in self._paths:
            try:
                if path not in self._opened:
                    self._opened[path] = self._open(path)
            except RunnerError as error:
                self._miss(path, error)
                continue
            self._missed.discard(path)
            yield path, self._opened[path]

    def _miss(self, path: Path, error: RunnerError) -> None:
        if path not in self._missed:
            self._missed.add(path)
            log.warning("the shared store at %s is passed over: %s", path, error)
