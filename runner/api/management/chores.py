"""The JSON of the store's chores. Pure."""

from __future__ import annotations

from typing import Any

from runner.api.cards import StoredModel
from runner.api.management.render import json_line
from runner.service import Checkup, Foreign, Pruned, Removal, Usage


def usage(usage: Usage, *, engine_bytes: int) -> dict[str, int]:
    """Render ``GET /engines/df``: Docker's two members, then what ours is made of."""
    return {
        "models_disk_usage": usage.total_bytes,
        "default_backend_disk_usage": engine_bytes,
        "models": usage.models_bytes,
        "shared": usage.shared_bytes,
        "linked": usage.linked_bytes,
        "unfinished": usage.unfinished_bytes,
        "unneeded": usage.unneeded_bytes,
    }


def removal(removal: Removal) -> list[dict[str, str]]:
    """Render what a removal did, as Docker Model Runner does (dmr-contract.md 1.4)."""
    steps = [{"Untagged": tag} for tag in removal.untagged]
    return steps if removal.deleted is None else [*steps, {"Deleted": str(removal.deleted)}]


def pruned(pruned: Pruned) -> dict[str, Any]:
    """Render what was pruned."""
    models = [
        {"id": str(entry.descriptor.digest), "tags": list(entry.tags)} for entry in pruned.models
    ]
    return {"models": models, "freed": pruned.freed_bytes}


def progress_line(done_bytes: int, total_bytes: int) -> bytes:
    """Render how far a chore is."""
    return json_line({"type": "progress", "done": done_bytes, "total": total_bytes})


def checked_line(checkup: Checkup) -> bytes:
    """Render what a check found."""
    damages = [
        {
            "digest": str(damage.digest),
            "problem": damage.problem,
            "models": list(damage.models),
            "remedy": str(damage.remedy),
        }
        for damage in checkup.damages
    ]
    return json_line(
        {"type": "checked", "blobs": checkup.blobs, "bytes": checkup.bytes, "damages": damages}
    )


def moved_line(target: object, *, is_remembered: bool) -> bytes:
    """Render where the store is now, and whether the next start knows."""
    return json_line({"type": "moved", "path": str(target), "remembered": is_remembered})


def found(found: Foreign) -> dict[str, Any]:
    """Render a model that another program has."""
    return {"names": [str(name) for name in found.names], "size": found.size_bytes}


def imported_line(model: StoredModel) -> bytes:
    """Render a model that was taken over."""
    return json_line({"type": "imported", "id": str(model.id), "tags": list(model.tags)})
