"""Models as tar archives: written and read as streams, in Docker's form and as an image layout.

Docker Model Runner's form is ``blobs/sha256/…`` and last ``manifest.json``, a single manifest
without name (dmr-contract.md 4.6); an image layout has ``index.json`` with names, and is what
skopeo calls ``oci-archive``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

from runner.errors import RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Manifest, Reference, media
from runner.oci.document import invalid, parse_object, render_object, require
from runner.store import Store, StoredModel
from runner.store.source import Measured
from runner.transfer.passage import check_cancelled, follow
from runner.transfer.progress import (
    IsCancelled,
    LayerProgress,
    Listen,
    Planned,
)
from runner.transfer.publishing import publish
from runner.transfer.tar import END, Entry, file_head, folder_head, padding, read_entries, refuse

MAX_MODELS = 1024
MAX_IGNORED_BYTES = 64 * 1024 * 1024  # of files that are none of ours

_BLOB = re.compile(r"(?:blobs|manifests)/(sha256|sha512)/([0-9a-f]+)", re.ASCII)
_MANIFEST, _INDEX, _MARKER = "manifest.json", "index.json", "oci-layout"
_DOCUMENTS = (_MANIFEST, _INDEX)
_LOADING = "loading the archive"
_CONTAINERD_NAME = "io.containerd.image.name"


class Layout(StrEnum):
    """The form of an archive."""

    DOCKER = "docker"
    OCI = "oci"


class Target(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> object:
        """Take all of the bytes."""


class Source(Protocol):
    """Where an archive comes from; it need not be seekable."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""


def save(
    store: Store,
    model: StoredModel,
    target: Target,
    *,
    layout: Layout = Layout.DOCKER,
    listen: Listen = lambda event: None,
    cancelled: IsCancelled = lambda: False,
) -> None:
    """Write a model as an archive: the same model and names give the same bytes.

    Raises RunnerError: INTEGRITY for a damaged blob, CANCELLED; and what ``target`` raises.
    """
    parts = plan_archive(model, layout)
    blobs = [part for part in parts if isinstance(part, Descriptor)]
    listen(Planned(tuple(LayerProgress(blob.digest, blob.size_bytes, 0) for blob in blobs)))
    for part in parts:
        if isinstance(part, bytes):
            target.write(part)
            continue
        with store.open_blob(part) as read:
            told = follow(
                Measured(part.digest, part.size_bytes),
                read(0, part.size_bytes),
                listen=listen,
                cancelled=cancelled,
                doing="saving the model",
            )
            for piece in told:
                target.write(piece)


def plan_archive(model: StoredModel, layout: Layout) -> list[bytes | Descriptor]:
    """Lay an archive out: bytes as they are, and blobs in their places. Pure."""
    manifest = model.manifest
    blobs = {blob.digest: blob for blob in (*manifest.layers, manifest.config)}
    parts: list[bytes | Descriptor] = []
    if layout is Layout.OCI:
        parts += _file(_MARKER, render_object({"imageLayoutVersion": "1.0.0"}))
        parts += _file(_INDEX, _render_index(model))
    for folder in sorted({"blobs", *(f"blobs/{digest.algorithm}" for digest in blobs)}):
        parts.append(folder_head(folder))
    for blob in blobs.values():
        parts += [_blob_head(blob), blob, padding(blob.size_bytes)]
    if layout is Layout.OCI:
        parts += [_blob_head(manifest.descriptor), manifest.raw, padding(len(manifest.raw))]
    else:
        parts += _file(_MANIFEST, manifest.raw)
    return [*parts, END]


def load(
    store: Store,
    source: Source,
    *,
    listen: Listen = lambda event: None,
    cancelled: IsCancelled = lambda: False,
) -> tuple[StoredModel, ...]:
    """Store the models of an archive of either form, each blob verified while it is read.

    Models have the names that the archive gives them; in Docker's form, and where the name is a
    tag alone, none: :attr:`StoredModel.id` finds them.

    Raises RunnerError: INVALID_MODEL for an archive of something else, hostile or cut off,
    INTEGRITY for a blob that is not what its name says, DISK_FULL, CANCELLED. A model is listed
    when all of the archive has been read.
    """
    with store.inbox.claimed():
        documents = _take_in(store, source, listen, cancelled)
        if _INDEX in documents:
            found = list(_read_index(store, documents[_INDEX]))
        elif _MANIFEST in documents:
            found = [(Manifest.parse(documents[_MANIFEST]), None)]
        else:
            raise refuse("it has no manifest.json and no index.json")
        models = {}
        for manifest, name in found:
            model = _publish(store, manifest, name)
            models[model.id] = model
    return tuple(models.values())


def _take_in(
    store: Store, source: Source, listen: Listen, cancelled: IsCancelled
) -> dict[str, bytes]:
    """Store the blobs of an archive; return its documents by their names."""
    documents: dict[str, bytes] = {}
    seen: set[str] = set()
    ignored_bytes = 0

    def read(size: int) -> bytes:
        check_cancelled(cancelled, _LOADING)  # also while a blob is passed over that is there
        return source.read(size)

    for entry, pieces in read_entries(read):
        name = _safe_name(entry)
        if name in seen:
            raise refuse(f"{name[:120]!a} is there twice")
        seen.add(name)
        if name in _DOCUMENTS:
            if entry.size_bytes > MAX_MANIFEST_BYTES:
                raise refuse(f"{name} has {entry.size_bytes} bytes")
            documents[name] = b"".join(pieces)
        elif match := _BLOB.fullmatch(name):
            expected = Measured(_digest(match[1], match[2]), entry.size_bytes)
            told = follow(expected, pieces, listen=listen, cancelled=cancelled, doing=_LOADING)
            store.inbox.add_stream(expected, told)
        else:
            ignored_bytes += entry.size_bytes
            if ignored_bytes > MAX_IGNORED_BYTES:
                raise refuse("it is full of other files")
    return documents


def _read_index(store: Store, raw: bytes) -> Iterator[tuple[Manifest, Reference | None]]:
    """Yield the models that an image layout lists, a model with several names several times."""
    value = parse_object(raw, limit_bytes=MAX_MANIFEST_BYTES, what=_INDEX)
    items = require(value, "manifests", list, what=_INDEX)
    if not 1 <= len(items) <= MAX_MODELS:
        raise invalid(_INDEX, f"lists {len(items)} models; expected 1 to {MAX_MODELS}")
    for item in items:
        listed = Descriptor.parse(item, what=f"{_INDEX} entry")
        if listed.media_type not in media.MANIFESTS:
            raise invalid(_INDEX, f"lists something of type {listed.media_type[:120]!a}")
        if listed.size_bytes > MAX_MANIFEST_BYTES:
            raise invalid(_INDEX, f"lists a manifest of {listed.size_bytes} bytes")
        with store.open_blob(listed) as read:
            manifest = Manifest.parse(b"".join(read(0, listed.size_bytes)))
        yield manifest, _name(listed)


def _name(listed: Descriptor) -> Reference | None:
    """Return a model's name; a tag alone, as skopeo writes it, is none."""
    text = listed.annotations.get(_CONTAINERD_NAME) or listed.annotations.get(media.REF_NAME, "")
    if "/" not in text:
        return None
    try:
        return Reference.parse(text)
    except RunnerError:
        return None


def _publish(store: Store, manifest: Manifest, name: Reference | None) -> StoredModel:
    for blob in manifest.blobs:
        if not store.inbox.has(blob):
            raise refuse(f"blob {blob.digest} is missing, or has not {blob.size_bytes} bytes")
    return publish(store, name, lambda: manifest, what=str(manifest.digest))


def _safe_name(entry: Entry) -> str:
    """Return an entry's name without the ``./`` that tar writes; refuse one that leads outside."""
    name = entry.name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or not name.isprintable():
        raise refuse(f"{name[:120]!a} leads out of it")
    return name


def _digest(algorithm: str, hexadecimal: str) -> Digest:
    try:
        return Digest(algorithm, hexadecimal)
    except RunnerError as error:
        raise refuse(error.message) from error


def _render_index(model: StoredModel) -> bytes:
    """List the manifest once for each of its names, as in the store's own index."""
    manifest = model.manifest.descriptor
    listed = [
        {**manifest.render(), "annotations": {media.REF_NAME: name}} for name in model.tags
    ] or [manifest.render()]
    return render_object({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": listed})


def _blob_head(blob: Descriptor) -> bytes:
    return file_head(f"blobs/{blob.digest.algorithm}/{blob.digest.hex}", blob.size_bytes)


def _file(name: str, data: bytes) -> list[bytes]:
    return [file_head(name, len(data)), data, padding(len(data))]
