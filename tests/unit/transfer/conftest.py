from __future__ import annotations

import hashlib

from runner.oci import Descriptor, Digest
from runner.store import Store
from tests.unit.store.conftest import add, layout, root, store, write_model

__all__ = [
    "BLOCK_BYTES",
    "add",
    "content",
    "descriptor",
    "layout",
    "partials",
    "root",
    "store",
    "stored",
    "write_model",
]

BLOCK_BYTES = 4096


def descriptor(data: bytes) -> Descriptor:
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    return Descriptor("application/octet-stream", digest, len(data))


def content(size: int) -> bytes:
    """Bytes in which no two blocks are alike."""
    return b"".join(index.to_bytes(4, "big") for index in range(size // 4 + 1))[:size]


def stored(store: Store, data: bytes) -> bytes | None:
    path = store.path / "blobs/sha256" / hashlib.sha256(data).hexdigest()
    return path.read_bytes() if path.exists() else None


def partials(store: Store) -> list[str]:
    return sorted(path.suffix for path in (store.path / "partials").iterdir())
