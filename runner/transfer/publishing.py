"""A model's name comes last, and only when all of its blobs are there."""

from __future__ import annotations

from collections.abc import Callable

from runner.errors import Kind, RunnerError
from runner.oci import Manifest, Reference
from runner.store import Store, StoredModel

MAX_ATTEMPTS = 3  # while others delete blobs that the model shares


def publish(
    store: Store, name: Reference | None, bring: Callable[[], Manifest], *, what: str
) -> StoredModel:
    """Have ``bring`` put all blobs into the store, and list the model that it returns.

    It is called again when a blob that it found there is deleted before the model is listed; the
    caller holds a claim or a pin on the others. ``what`` names the model in errors. Raises
    RunnerError: STORE when that happens again and again, those of :meth:`Store.publish`, and what
    ``bring`` raises.
    """
    for _ in range(MAX_ATTEMPTS):
        model = store.publish(bring(), name)
        if model is not None:
            return model
    raise RunnerError(
        Kind.STORE,
        f"blobs of {what} were deleted while it was added",
        hint="try again when nobody removes models",
    )


def find_stored(store: Store, text: str) -> StoredModel | None:
    """Return a model that is stored whole; a damaged one is brought anew, which repairs it."""
    try:
        return store.resolve(text, partial=False)
    except RunnerError as error:
        if error.kind not in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY):
            raise
        return None
