"""What the product does, free of HTTP: which models there are, and which are loaded."""

from __future__ import annotations

from runner.service.catalogue import DEFAULT_MODEL, Catalogue
from runner.service.engines import EngineLimits, Engines
from runner.service.jobs import Watch
from runner.service.lease import Lease
from runner.service.memory import available_bytes
from runner.service.residency import Phase
from runner.service.resident import ModelSettings, RunningModel
from runner.service.transfers import Pulled, Transfers
from runner.service.tuning import Record, Tuning
from runner.service.upkeep import Upkeep
from runner.store import Checkup, Pruned, PruneWish, Removal, Usage
from runner.transfer.progress import Event as TransferEvent
from runner.transfer.progress import LayerProgress, Note, Planned

__all__ = [
    "DEFAULT_MODEL",
    "Catalogue",
    "Checkup",
    "EngineLimits",
    "Engines",
    "LayerProgress",
    "Lease",
    "ModelSettings",
    "Note",
    "Phase",
    "Planned",
    "Pulled",
    "PruneWish",
    "Pruned",
    "Record",
    "Removal",
    "RunningModel",
    "TransferEvent",
    "Transfers",
    "Tuning",
    "Watch",
    "Upkeep",
    "Usage",
    "available_bytes",
]
