"""The one object that moves models: built from a store and what the daemon may reach."""

from __future__ import annotations

from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.store import (
    Store,
    StoredModel,
    find_package_gguf,
    is_package,
    package_reference,
    stored_name,
)
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import IsCancelled, Listen


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of a pull."""

    model: StoredModel
    is_cached: bool  # nothing had to be moved


class TransferClient:
    """Moves models between the store and the places where they come from. Blocking.

    Every method may raise what its place raises; ``cancelled`` is asked often, and ends it with
    RunnerError(CANCELLED).
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_stored(self, source: str) -> bool:
        """Whether a model of that name is in the store, whole."""
        try:
            self._store.resolve(stored_name(source), partial=False)
        except RunnerError as error:
            if error.kind in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY, Kind.INVALID_REFERENCE):
                return False  # the last for names that only a hub understands
            raise
        return True

    def pull(
        self, source: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pulled:
        """Bring a model into the store: ``package:NAME``, or what is stored already."""
        if is_package(source):
            return self._add_package(source, listen, cancelled)
        try:
            return Pulled(self._store.resolve(source, partial=False), is_cached=True)
        except RunnerError as error:
            if error.kind is not Kind.MODEL_NOT_FOUND:
                raise
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{source} is not stored, and this version cannot pull from a registry",
                hint="add a file (runner package --gguf FILE NAME), or name a source package:NAME",
                param="from",
            ) from error

    def _add_package(self, source: str, listen: Listen, cancelled: IsCancelled) -> Pulled:
        reference = package_reference(source)
        if self.is_stored(source):
            return Pulled(self._store.resolve(str(reference)), is_cached=True)
        paths = find_package_gguf(source.strip())
        wanted = PackageRequest(gguf=paths)
        model = package(self._store, wanted, reference, listen=listen, cancelled=cancelled)
        return Pulled(model, is_cached=False)
