"""Finds a model by what a user typed: an id, a short id, a digest, a tag, or part of a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.store.index import Entry, Index

MAX_SUGGESTIONS = 3

_SHORT_ID = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}", re.ASCII)
_FULL_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def find_by_id(index: Index, text: str) -> Entry | None:
    """Find by id: 12 or 64 hex digits, ``sha256:`` and 64, or ``NAME@sha256:…``.

    Of a digest reference the name is not compared, as in Docker Model Runner.
    """
    text = text.strip()
    if _SHORT_ID.fullmatch(text):
        matching = (e for e in index.entries if e.descriptor.digest.hex.startswith(text))
        return next(matching, None)
    if _FULL_ID.fullmatch(text):
        return index.find(Digest.parse(text))
    if "@" in text:
        digest = Reference.parse(text).digest
        return index.find(digest) if digest else None
    return None


def find_by_tag(index: Index, text: str) -> tuple[Entry, str] | None:
    """Find by name and tag; return the entry and the full name."""
    if "@" in text or _FULL_ID.fullmatch(text.strip()):
        return None
    tag = str(Reference.parse(text))
    entry = index.tagged(tag)
    return (entry, tag) if entry else None


def find_by_base_name(index: Index, text: str) -> Entry | None:
    """Find by the last part of a tag's name: ``smollm2`` finds ``example.com/org/smollm2:v1``."""
    wanted = text.strip()
    for entry in index.entries:
        if any(Reference.parse(tag).base_name == wanted for tag in entry.tags):
            return entry
    return None


def not_found(index: Index, text: str) -> RunnerError:
    """Build the error of an unknown model, with near names and what to do."""
    shown = text.strip()[:160]
    names = sorted({Reference.parse(tag).familiar for e in index.entries for tag in e.tags})
    near = _near(shown, names)
    if near:
        hint = f"did you mean {' or '.join(near)}? See all with: runner list"
    else:
        hint = "see all with: runner list; add one with: runner package --gguf FILE NAME"
    return RunnerError(
        Kind.MODEL_NOT_FOUND, f"no model {shown!a} in the store", hint=hint, details={"near": near}
    )


def _near(text: str, names: Iterable[str]) -> list[str]:
    """Return the stored names most like the one asked for, best first."""
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(text.lower(), by_lower, n=MAX_SUGGESTIONS, cutoff=0.5)
    found += [name for name in by_lower if name.startswith(text.lower()) and name not in found]
    return [by_lower[name] for name in found[:MAX_SUGGESTIONS]]
