"""Removing a model: the one rule of all routes that do."""

from __future__ import annotations

from runner.errors import Kind, RunnerError
from runner.service import Catalogue, Engines, Phase, Removal


async def remove(
    name: str, catalogue: Catalogue, engines: Engines, *, force: bool = False
) -> Removal:
    """Take a name from a model, and the model with its last name; a busy one only by force.

    A worker that has the model goes on: its open files live until it ends. Raises RunnerError:
    MODEL_NOT_FOUND; CONFLICT for a busy one.
    """
    model = await catalogue.resolve(name, partial=False)
    if not force and len(model.tags) <= 1 and str(model.id) in _busy(engines):
        raise RunnerError(
            Kind.CONFLICT,
            f"{name} is answering a request, or being loaded for one",
            hint="wait until it is idle, or force it (--force, force=true)",
        )
    removal = await catalogue.remove(name, force=force)
    if removal.deleted is not None:
        await engines.unload([str(removal.deleted)])
    return removal


def _busy(engines: Engines) -> set[str]:
    """Return the ids of models that a request has, waits for, or has begun to load."""
    return {
        model.id
        for model in engines.running()
        if model.in_use or model.waiting or model.phase is Phase.LOADING
    }
