"""Finds a model by what a user typed: an id, a short id, a digest, a tag, or part of a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.store.index import Entry, Index

MAX_SUGGESTIONS = 3

_HEX_ID = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}", re.ASCII)
_ONLY_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)  # 12 digits may be a name as well
_FULL_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def find(index: Index, text: str, *, partial: bool) -> Entry | None:
    """Find a model by whatever names it: id, full or short name, then the last part of a name.

    The one rule of all commands and routes; those that delete, push or pull go without
    ``partial``. Raises RunnerError(INVALID_REFERENCE).
    """
    entry = find_by_id(index, text)
    if entry is None and (found := find_by_tag(index, text)):
        entry = found[0]
    if entry is None and partial:
        entry = find_by_part(index, text)
    return entry


def find_by_id(index: Index, text: str) -> Entry | None:
    """Find by id: 12 or 64 hex digits, ``sha256:`` and 64, or ``NAME@sha256:…``.

    The digest decides; the model must have that NAME, if with another tag: tags move, and who
    writes a digest means the model that NAME had then.
    """
    text = text.strip()
    if _HEX_ID.fullmatch(text):
        matching = (e for e in index.entries if e.descriptor.digest.hex.startswith(text))
        return next(matching, None)
    if _FULL_ID.fullmatch(text):
        return index.find(Digest.parse(text))
    if "@" not in text:
        return None
    reference = Reference.parse(text)
    entry = index.find(reference.digest) if reference.digest else None
    if entry and any(Reference.parse(tag).name == reference.name for tag in entry.tags):
        return entry
    return None


def find_by_tag(index: Index, text: str) -> tuple[Entry, str] | None:
    """Find by name and tag; return the entry and the full name."""
    if _ONLY_ID.fullmatch(text.strip()):
        return None
    reference = Reference.parse(text)
    if reference.digest is not None:
        return None
    tag = str(reference)
    entry = index.tagged(tag)
    return (entry, tag) if entry else None


def find_by_part(index: Index, text: str) -> Entry | None:
    """Find by the last part of a name: ``smollm2`` finds ``example.com/org/smollm2:v1``.

    With ``:TAG`` that must be the same too. A part that several models have finds none.
    """
    name, _, tag = text.strip().partition(":")
    found = {
        entry.descriptor.digest: entry
        for entry in index.entries
        for reference in map(Reference.parse, entry.tags)
        if reference.base_name == name.lower() and tag in ("", reference.tag)
    }
    return next(iter(found.values())) if len(found) == 1 else None


def not_found(index: Index, text: str) -> RunnerError:
    """Build the error of an unknown model, with near names and what to do."""
    shown = text.strip()[:160]
    names = {Reference.parse(tag) for entry in index.entries for tag in entry.tags}
    near = _near(shown, names)
    if near:
        hint = f"did you mean {' or '.join(near)}? See all with: runner list"
    else:
        hint = "see all with: runner list; bring one with: runner pull NAME"
    return RunnerError(
        Kind.MODEL_NOT_FOUND, f"no model {shown!a} in the store", hint=hint, details={"near": near}
    )


def _near(text: str, names: Iterable[Reference]) -> list[str]:
    """Return the stored names most like the one asked for, best first."""
    wanted = text.lower()
    by_lower = {name.familiar.lower(): name.familiar for name in sorted(names, key=str)}
    found = sorted(name.familiar.lower() for name in names if name.base_name == wanted)
    found += difflib.get_close_matches(wanted, by_lower, n=MAX_SUGGESTIONS, cutoff=0.5)
    found += [name for name in by_lower if name.startswith(wanted)]
    return [by_lower[name] for name in dict.fromkeys(found)][:MAX_SUGGESTIONS]
