"""Decides which layers a pull fetches. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest
from runner.transfer.progress import LayerProgress


@dataclass(frozen=True, slots=True)
class PullPlan:
    """Every layer once: ``layers`` as they are told, and those to ``fetch``, largest first."""

    layers: tuple[LayerProgress, ...]
    fetch: tuple[Descriptor, ...]

    @property
    def missing_bytes(self) -> int:
        """Bytes that have yet to come."""
        return sum(layer.size_bytes - layer.done_bytes for layer in self.layers)


def plan_pull(
    layers: Iterable[Descriptor],
    *,
    is_present: Callable[[Descriptor], bool],
    arrived_bytes: Callable[[Descriptor], int],
) -> PullPlan:
    """Plan a pull: what is largest lasts longest, so it begins first.

    Raises RunnerError(INVALID_MODEL) for one digest with two sizes.
    """
    told, fetch = [], []
    for layer in _unique(layers):
        is_there = is_present(layer)
        done = layer.size_bytes if is_there else arrived_bytes(layer)
        resumed = 0 if is_there else done
        told.append(LayerProgress(layer.digest, layer.size_bytes, done, resumed, is_there))
        if not is_there:
            fetch.append(layer)
    fetch.sort(key=lambda layer: -layer.size_bytes)
    return PullPlan(tuple(told), tuple(fetch))


def _unique(layers: Iterable[Descriptor]) -> list[Descriptor]:
    """Keep the first layer of each digest: one blob may be two files of a model."""
    found: dict[Digest, Descriptor] = {}
    for layer in layers:
        first = found.setdefault(layer.digest, layer)
        if first.size_bytes != layer.size_bytes:
            raise RunnerError(
                Kind.INVALID_MODEL,
                f"the manifest gives blob {layer.digest} two sizes, {first.size_bytes} and "
                f"{layer.size_bytes} bytes",
                hint="whoever pushed the model has to push it again",
            )
    return list(found.values())
