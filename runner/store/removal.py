"""Decides what a removal does. Pure."""

from __future__ import annotations

from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.store import lookup
from runner.store.index import Entry, Index
from runner.store.models import Removal


def plan_removal(index: Index, text: str, *, force: bool) -> tuple[Entry, Removal]:
    """Decide what a removal does; raise RunnerError: MODEL_NOT_FOUND or CONFLICT."""
    entry = lookup.find_by_id(index, text)
    if entry is None:
        found = lookup.find_by_tag(index, text)
        if found is None:
            raise lookup.not_found(index, text)
        entry, tag = found
        is_last = entry.tags == (tag,)
        return entry, Removal((tag,), entry.descriptor.digest if is_last else None)
    if len(entry.tags) > 1 and not force:
        raise RunnerError(
            Kind.CONFLICT,
            f"unable to delete {text.strip()[:160]!a} (must be forced) due to multiple tag "
            "references",
            hint="remove its tags by name, or repeat with --force",
            details={"tags": list(entry.tags)},
        )
    return entry, Removal(entry.tags, entry.descriptor.digest)


def only_read(text: str, path: Path) -> RunnerError:
    """Build the refusal of a change to a model that a store of others has."""
    return RunnerError(
        Kind.CONFLICT,
        f"{text.strip()[:160]} is in the shared store {path}, which is only read",
        hint="change it there, or have it under a name of your own: "
        f"runner package --from {text.strip()[:160]} NAME",
    )
