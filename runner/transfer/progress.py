"""What a transfer tells while it runs, in the order it happens. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.oci import Digest


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for people: which quantisation was chosen, that a mirror failed."""

    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be moved, told once. Layers that are there already count with their bytes."""

    layers: tuple[LayerProgress, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size_bytes for layer in self.layers)


@dataclass(frozen=True, slots=True)
class LayerProgress:
    """How far one layer is. ``done_bytes`` falls when bytes turn out wrong and come again."""

    digest: Digest
    size_bytes: int
    done_bytes: int
    resumed_bytes: int = 0  # of the done ones: from an earlier attempt, or another process
    is_present: bool = False  # was there before: nothing is moved


Event = Note | Planned | LayerProgress
Listen = Callable[[Event], None]  # called from any thread, one at a time; must not block

# Whether to stop: asked between chunks. A transfer that is told to raises RunnerError(CANCELLED).
IsCancelled = Callable[[], bool]
