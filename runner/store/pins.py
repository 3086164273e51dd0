"""Pins: the layers that a transfer has fetched are kept while it is not finished, for the next try.

A pin is a file that lists digests. Its transfer deletes it when a model names them; when it fails,
or its process dies, the pin stays, and the layers with it, until a sweep finds it too old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.errors import RunnerError
from runner.oci import Digest
from runner.store.claims import claimed
from runner.store.faults import storage_errors
from runner.store.layout import Layout, replace_file


@contextmanager
def pinned(layout: Layout, digests: Iterable[Digest]) -> Iterator[None]:
    """Keep blobs, present or to come, from deletion for the body, and after its failure too."""
    text = "".join(f"{digest}\n" for digest in sorted(set(digests))).encode()
    path = layout.pin(hashlib.sha256(text).hexdigest())
    with claimed(layout):
        with storage_errors("keeping what arrives", layout.root):
            replace_file(layout, path, text)
        yield
        path.unlink(missing_ok=True)


class Pin(NamedTuple):
    """A transfer that is not finished, or was killed."""

    path: Path
    digests: frozenset[Digest]
    begun_s: float  # since 1970


def read_pins(layout: Layout) -> list[Pin]:
    """Return the pins there are."""
    found = []
    for path in layout.partials.glob("*.pin"):
        try:
            begun_s = path.stat().st_ctime
            digests = [Digest.parse(line) for line in path.read_text("ascii").split()]
        except FileNotFoundError:
            continue  # its transfer finished just now
        except (UnicodeDecodeError, RunnerError):
            digests = []  # damaged: what it kept can be fetched again
        found.append(Pin(path, frozenset(digests), begun_s))
    return found


def pinned_digests(
    layout: Layout, *, needed: Set[Digest], claim_s: float = float("inf")
) -> set[Digest]:
    """Return what pins keep beyond what models need.

    A pin of which all is needed, older than the oldest claim, is left over from a transfer that
    was killed when it was done.
    """
    pins = read_pins(layout)
    alive = [pin for pin in pins if not pin.digests <= needed or pin.begun_s >= claim_s]
    return {digest for pin in alive for digest in pin.digests}
