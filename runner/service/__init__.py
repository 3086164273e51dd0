"""What the product does, free of HTTP: which models there are, and which are loaded."""

from __future__ import annotations

from runner.service.catalogue import DEFAULT_MODEL, Catalogue
from runner.service.engines import EngineLimits, Engines
from runner.service.lease import Lease
from runner.service.memory import available_bytes
from runner.service.residency import Phase
from runner.service.resident import ModelSettings, RunningModel
from runner.service.tuning import Record, Tuning

__all__ = [
    "DEFAULT_MODEL",
    "Catalogue",
    "EngineLimits",
    "Engines",
    "Lease",
    "ModelSettings",
    "Phase",
    "Record",
    "RunningModel",
    "Tuning",
    "available_bytes",
]
