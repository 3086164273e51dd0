"""Puts models into stores, for tests of what comes after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.oci import Reference
from runner.store import Store, StoredModel
from runner.transfer.package import PackageRequest, package


def add_gguf(store: Store, paths: Sequence[Path], name: Reference, **wanted: Any) -> StoredModel:
    """Package GGUF files; ``wanted`` are further members of the request."""
    return package(store, PackageRequest(gguf=paths, **wanted), name)
