"""Pins: the layers that a transfer has fetched are kept while it is not finished, for the next try.

A pin is a file that lists digests. Its transfer deletes it when a model names them; when it fails,
or its process dies, the pin stays, and the layers with it, until a sweep finds it too old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from runner.errors import RunnerError
from runner.oci import Digest
from runner.store.claims import claimed
from runner.store.layout import Layout, replace_file


@contextmanager
def pinned(layout: Layout, digests: Iterable[Digest]) -> Iterator[None]:
    """Keep blobs, present or to come, from deletion for the body, and after its failure too."""
    text = "".join(f"{digest}\n" for digest in sorted(set(digests))).encode()
    path = layout.pin(hashlib.sha256(text).hexdigest())
    with claimed(layout):
        replace_file(layout, path, text)
        yield
        path.unlink(missing_ok=True)


def pinned_digests(layout: Layout, *, since_s: float = 0.0) -> set[Digest]:
    """Return what is pinned, by pins made at ``since_s`` (seconds since 1970) or later."""
    found = set()
    for path in layout.partials.glob("*.pin"):
        try:
            if path.stat().st_ctime >= since_s:
                found |= {Digest.parse(line) for line in path.read_text("ascii").split()}
        except (FileNotFoundError, UnicodeDecodeError, RunnerError):
            continue  # finished since, or damaged: what it kept can be fetched again
    return found
