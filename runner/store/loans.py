"""Blobs on loan: hard links that share their bytes with a file of the user.

A link costs no space, but whoever writes into the file writes into the blob. So its modification
time is recorded when it is hashed, and compared at every load; only when it differs is the blob
hashed again. (The time of last status change cannot serve: making a bundle's link changes it.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from runner.oci import Digest
from runner.store.layout import Layout, replace_file


@dataclass(frozen=True, slots=True)
class Loan:
    """What is remembered of a linked blob."""

    mtime_ns: int
    source: str  # path of the user's file, for the error message


def read_loan(layout: Layout, digest: Digest) -> Loan | None:
    """Return the record of a blob; None when the blob is all ours.

    A damaged record counts as a changed file: the blob is then hashed again.
    """
    try:
        value = json.loads(layout.loan(digest).read_bytes())
        return Loan(int(value["mtime_ns"]), str(value["source"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return Loan(-1, "a file of yours")


def write_loan(layout: Layout, digest: Digest, *, mtime_ns: int, source: Path | str) -> None:
    """Remember a linked blob; done before the blob gets its name."""
    value = {"mtime_ns": mtime_ns, "source": str(source)}
    replace_file(layout, layout.loan(digest), json.dumps(value).encode())


def drop_loan(layout: Layout, digest: Digest) -> None:
    """Forget a blob that is no longer linked."""
    layout.loan(digest).unlink(missing_ok=True)
