"""``index.json`` as a value: which manifests are models of this store, under which tags.

As image layouts have it, a manifest is listed once for each of its tags, in the annotation
``org.opencontainers.image.ref.name``; a model without tags is listed once without it. What was
pulled by its digest has the name ``NAME@sha256:…`` among its tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Reference, media
from runner.oci.document import invalid, parse_object, require

MAX_INDEX_BYTES = 64 * 1024 * 1024

_WHAT = "index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: its manifest's descriptor, without tag, and its tags as full names."""

    descriptor: Descriptor
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """All entries. ``foreign`` are descriptors of other tools, kept as they were."""

    entries: tuple[Entry, ...] = ()
    foreign: tuple[Mapping[str, Any], ...] = ()
    _by_digest: Mapping[Digest, Entry] = field(init=False, repr=False, compare=False)
    _by_tag: Mapping[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note where each model is: every request looks one up."""
        by_digest = {entry.descriptor.digest: entry for entry in self.entries}
        by_tag = {tag: entry for entry in self.entries for tag in entry.tags}
        object.__setattr__(self, "_by_digest", by_digest)
        object.__setattr__(self, "_by_tag", by_tag)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse an index; raise RunnerError(INVALID_MODEL) when it is damaged."""
        value = parse_object(raw, limit_bytes=MAX_INDEX_BYTES, what=_WHAT)
        listing, foreign = _Listing(), []
        for item in require(value, "manifests", list, what=_WHAT):
            if not isinstance(item, dict):
                raise invalid(_WHAT, "has an entry that is not an object")
            if item.get("mediaType") not in media.MANIFESTS:
                foreign.append(item)
                continue
            descriptor = Descriptor.parse(item, what=f"{_WHAT} entry")
            listing.add(_without_tag(descriptor), _full_name(descriptor))
        return cls(listing.entries(), tuple(foreign))

    def render(self) -> bytes:
        """Render the file."""
        value = {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "manifests": [*self.foreign, *(item.render() for item in self._listed())],
        }
        return json.dumps(value, indent=2).encode() + b"\n"

    def find(self, digest: Digest) -> Entry | None:
        """Return the entry of a model."""
        return self._by_digest.get(digest)

    def tagged(self, tag: str) -> Entry | None:
        """Return the entry that has the tag."""
        return self._by_tag.get(tag)

    def with_model(self, descriptor: Descriptor, tag: str | None) -> Self:
        """Add a model, or a tag to one that is listed; the tag leaves any other model."""
        index = self if tag is None else self.without_tag(tag)
        entry = index.find(descriptor.digest) or Entry(descriptor, ())
        if tag is not None:
            entry = replace(entry, tags=(*entry.tags, tag))
        return index._with_entry(entry)

    def without_tag(self, tag: str) -> Self:
        """Take a tag from the model that has it; the model stays."""
        entry = self.tagged(tag)
        if entry is None:
            return self
        return self._with_entry(
            replace(entry, tags=tuple(other for other in entry.tags if other != tag))
        )

    def without_model(self, digest: Digest) -> Self:
        """Take a model out, with its tags."""
        return replace(
            self,
            entries=tuple(entry for entry in self.entries if entry.descriptor.digest != digest),
        )

    def _with_entry(self, entry: Entry) -> Self:
        """Replace the entry of the same model, or append it."""
        digest = entry.descriptor.digest
        if self.find(digest) is None:
            return replace(self, entries=(*self.entries, entry))
        return replace(
            self,
            entries=tuple(
                entry if other.descriptor.digest == digest else other for other in self.entries
            ),
        )

    def _listed(self) -> Iterator[Descriptor]:
        for entry in self.entries:
            yield from _tagged_descriptors(entry)


class _Listing:
    """Models and tags in the order in which a file lists them; the last line of a tag has it."""

    def __init__(self) -> None:
        self._tags: dict[Digest, tuple[Descriptor, dict[str, None]]] = {}
        self._holders: dict[str, Digest] = {}

    def add(self, descriptor: Descriptor, tag: str | None) -> None:
        """Add a model, or a tag to one that is listed."""
        _, tags = self._tags.setdefault(descriptor.digest, (descriptor, {}))
        if tag is not None:
            if (holder := self._holders.get(tag)) is not None:
                del self._tags[holder][1][tag]
            self._holders[tag] = descriptor.digest
            tags[tag] = None

    def entries(self) -> tuple[Entry, ...]:
        """All that was added."""
        return tuple(Entry(descriptor, tuple(tags)) for descriptor, tags in self._tags.values())


def _tagged_descriptors(entry: Entry) -> Iterable[Descriptor]:
    if not entry.tags:
        return [entry.descriptor]
    return [
        replace(entry.descriptor, annotations={**entry.descriptor.annotations, media.REF_NAME: tag})
        for tag in entry.tags
    ]


def _without_tag(descriptor: Descriptor) -> Descriptor:
    annotations = {
        key: text for key, text in descriptor.annotations.items() if key != media.REF_NAME
    }
    return replace(descriptor, annotations=annotations)


def full_name(reference: Reference, model: Digest) -> str:
    """Return the name a model is listed under: with a tag, else with its digest.

    The digest of ``reference`` is not looked at: it may be that of an index which led to the model.
    """
    return str(replace(reference, digest=None if reference.tag else model))


def tag_name(name: Reference) -> str:
    """Return the name that a user gives a model; raise RunnerError(INVALID_REFERENCE).

    One with a tag and without a digest, which follows from the model.
    """
    if name.digest is not None or name.tag is None:
        raise RunnerError(
            Kind.INVALID_REFERENCE,
            f"{name} has a digest; a model's name cannot",
            hint="give NAME or NAME:TAG",
        )
    return str(name)


def _full_name(descriptor: Descriptor) -> str | None:
    """Return a name that another tool may have written in short; None when it is no reference."""
    text = descriptor.annotations.get(media.REF_NAME)
    if text is None:
        return None
    try:
        reference = Reference.parse(text)
    except RunnerError:
        return None
    if reference.digest not in (None, descriptor.digest):
        return None
    return full_name(reference, descriptor.digest)
