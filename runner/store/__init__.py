"""The model store on disk. Knows no network and loads no model."""

from __future__ import annotations

from runner.store.models import Bundle, Removal, StoredModel
from runner.store.packages import find_package_gguf, is_package, package_reference, stored_name
from runner.store.store import Store

__all__ = [
    "Bundle",
    "Removal",
    "Store",
    "StoredModel",
    "find_package_gguf",
    "is_package",
    "package_reference",
    "stored_name",
]
