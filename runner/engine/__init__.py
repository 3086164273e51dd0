"""The engine's policy: who runs, with which rows, in which slot, reusing which prefix.

Pure: integers, deques and trees; no clock, no ctypes. :class:`Scheduler` decides and accounts,
a :class:`Backend` computes.
"""

from runner.engine.backend import Adapters, Backend, Plan, StepResult
from runner.engine.events import Begun, Ended, Event, Failed, Piece
from runner.engine.limits import Capacity, Policy
from runner.engine.scheduler import Scheduler
from runner.engine.sequence import SequenceRequest

__all__ = [
    "Adapters",
    "Backend",
    "Begun",
    "Capacity",
    "Ended",
    "Event",
    "Failed",
    "Piece",
    "Plan",
    "Policy",
    "Scheduler",
    "SequenceRequest",
    "StepResult",
]
