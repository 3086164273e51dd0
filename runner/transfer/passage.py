"""Bytes that pass through our hands: told as they go, and stopped when nobody wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.errors import Kind, RunnerError
from runner.store.source import Measured
from runner.transfer.progress import IsCancelled, LayerProgress, Listen


def follow(
    blob: Measured,
    pieces: Iterable[bytes],
    *,
    listen: Listen,
    cancelled: IsCancelled,
    doing: str,
) -> Iterator[bytes]:
    """Pass a blob's bytes on, and tell after each piece how far it is.

    Raises RunnerError(CANCELLED) before a piece that is not wanted any more.
    """
    done_bytes = 0
    for piece in pieces:
        check_cancelled(cancelled, doing)
        yield piece
        done_bytes += len(piece)
        listen(LayerProgress(blob.digest, blob.size_bytes, done_bytes))


def check_cancelled(cancelled: IsCancelled, doing: str) -> None:
    """Raise RunnerError(CANCELLED) when a transfer is to stop."""
    if cancelled():
        raise RunnerError(
            Kind.CANCELLED,
            f"{doing} was given up",
            hint="the same command goes on from there: what has arrived is kept",
        )
