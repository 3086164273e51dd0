"""What the product does, free of HTTP: which models there are, and which are loaded."""

from __future__ import annotations

from runner.service.aliases import Aliases
from runner.service.catalogue import DEFAULT_MODEL, Catalogue
from runner.service.configured import Configured
from runner.service.configuring import Configuring, Setting
from runner.service.engines import Engines
from runner.service.jobs import Watch
from runner.service.lease import Lease
from runner.service.memory import available_bytes
from runner.service.options import ModelSettings, Options
from runner.service.residency import Phase
from runner.service.resident import RunningModel
from runner.service.responses import ResponseStore, StoredResponse
from runner.service.room import EngineLimits
from runner.service.tally import Histogram, ModelTally, Tally
from runner.service.transfers import Transfers
from runner.service.tuning import Record, Tuning
from runner.service.upkeep import Upkeep
from runner.store import Checkup, Pruned, PruneWish, Removal, StoredModel, Usage
from runner.transfer.archive import Layout
from runner.transfer.client import Diagnosis, Pulled
from runner.transfer.fit import Fit
from runner.transfer.foreign import Foreign, Program, choose
from runner.transfer.layers import Format
from runner.transfer.package import PackageRequest
from runner.transfer.progress import Event as TransferEvent
from runner.transfer.progress import LayerProgress, Note, Planned
from runner.transfer.search import Found, SearchResult

__all__ = [
    "Fit",
    "Format",
    "Found",
    "PackageRequest",
    "SearchResult",
    "DEFAULT_MODEL",
    "Aliases",
    "Catalogue",
    "Checkup",
    "Configured",
    "Configuring",
    "Setting",
    "Options",
    "Diagnosis",
    "EngineLimits",
    "Engines",
    "LayerProgress",
    "Foreign",
    "Histogram",
    "ModelTally",
    "Tally",
    "Layout",
    "Lease",
    "ModelSettings",
    "Note",
    "Phase",
    "Planned",
    "Pulled",
    "Program",
    "PruneWish",
    "Pruned",
    "Record",
    "Removal",
    "StoredModel",
    "ResponseStore",
    "RunningModel",
    "StoredResponse",
    "TransferEvent",
    "Transfers",
    "Tuning",
    "Watch",
    "Upkeep",
    "Usage",
    "available_bytes",
    "choose",
]
