"""The model store on disk. Knows no network and loads no model."""

from __future__ import annotations

from runner.store.check import Checkup, Damage, Remedy
from runner.store.models import Bundle, Removal, StoredModel
from runner.store.packages import find_package_gguf, is_package, package_reference, stored_name
from runner.store.partial import BLOCK_BYTES, Partial
from runner.store.place import find_store, remember_store
from runner.store.prune import Pruned, PruneWish
from runner.store.source import Measured
from runner.store.store import Store
from runner.store.usage import Usage

__all__ = [
    "BLOCK_BYTES",
    "Bundle",
    "Checkup",
    "Damage",
    "PruneWish",
    "Pruned",
    "Remedy",
    "Measured",
    "Partial",
    "Removal",
    "Store",
    "StoredModel",
    "Usage",
    "find_package_gguf",
    "find_store",
    "is_package",
    "package_reference",
    "remember_store",
    "stored_name",
]
