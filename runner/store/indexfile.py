"""``index.json`` on disk: read without a lock, changed under it, rebuilt when it is damaged.

The file is replaced whole, so a reader sees the old or the new one. A copy (the mirror) is written
after it: the index can be rebuilt from the manifests among the blobs, but tags are nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Manifest
from runner.store.blobs import is_present
from runner.store.faults import is_full
from runner.store.index import Index
from runner.store.layout import Layout, replace_file
from runner.store.lock import locked
from runner.store.opening import newer_store
from runner.store.stamp import Stamp, stamp

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Draft:
    """The index while the lock is held."""

    index: Index
    _write: Callable[[Index], None]

    def save(self, index: Index) -> None:
        """Make ``index`` the store's, durably, before this returns."""
        if index != self.index:
            self._write(index)
            self.index = index


class _Latest:
    """What the file said when it was last read. Threads may read at the same time."""

    def __init__(self) -> None:
        self._known: tuple[Stamp, Index] | None = None

    def parse(self, path: Path) -> Index | None:
        """Return the index at ``path``; None when it is missing or damaged."""
        now = stamp(path)  # before the content, so that it never vouches for more than was read
        if (known := self._known) is not None and known[0] == now:
            return known[1]
        index = _parse(path)
        if index is not None and now is not None:
            self._known = (now, index)
        return index


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The index of one store. ``is_writable`` is False in a store of a newer version."""

    layout: Layout
    is_writable: bool
    _latest: _Latest = field(default_factory=_Latest, init=False, compare=False)

    def read(self) -> Index:
        """Return the index; takes the lock only when the file is missing or damaged.

        A file that has not changed since the last time is not read again: every request asks.
        """
        index = self._latest.parse(self.layout.index)
        if index is not None:
            return index
        _check_mounted(self.layout)
        if not self.is_writable:
            return rebuild(self.layout)
        with locked(self.layout.lock):
            return self._read_or_rebuild()

    def check_writable(self) -> None:
        """Refuse a change to a store that was opened read-only; raise RunnerError(STORE)."""
        if not self.is_writable:
            raise newer_store(self.layout)

    @contextmanager
    def changing(self) -> Iterator[Draft]:
        """Hold the lock for the body, in which no other writer runs."""
        self.check_writable()
        _check_mounted(self.layout)
        with locked(self.layout.lock):
            yield Draft(self._read_or_rebuild(), self._write)

    def _read_or_rebuild(self) -> Index:
        index = _parse(self.layout.index)
        if index is None:
            index = rebuild(self.layout)
            if self.layout.index.exists():
                log.warning("%s was damaged; rebuilt, and kept as .bad", self.layout.index)
                self.layout.index.replace(self.layout.index.with_suffix(".json.bad"))
            self._write(index)
        return index

    def _write(self, index: Index) -> None:
        """Write the file, then its copy.

        On a full disk the copy makes room for an index that has not grown: it must be possible to
        remove a model just then.
        """
        raw, path = index.render(), self.layout.index
        has_grown = not path.exists() or len(raw) > path.stat().st_size
        try:
            replace_file(self.layout, path, raw)
            replace_file(self.layout, self.layout.mirror, raw)
        except OSError as error:
            if has_grown or not is_full(error):
                raise
            self.layout.mirror.unlink(missing_ok=True)
            replace_file(self.layout, path, raw)
            log.warning("the disk is full: %s has no copy until it changes again", path)


def rebuild(layout: Layout) -> Index:
    """Make an index out of the mirror and of every whole manifest among the blobs."""
    found = {descriptor.digest: descriptor for descriptor in _whole_models(layout)}
    index = Index()
    for entry in (_parse(layout.mirror) or Index()).entries:
        descriptor = found.pop(entry.descriptor.digest, None)
        if descriptor is not None:
            index = index.with_model(descriptor, None)
            for tag in entry.tags:
                index = index.with_model(descriptor, tag)
    for descriptor in found.values():
        index = index.with_model(descriptor, None)
    return index


def _whole_models(layout: Layout) -> Iterator[Descriptor]:
    """Yield every manifest of a model whose blobs are all there."""
    folder = layout.blobs / "sha256"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        manifest = _manifest_at(path)
        if manifest is not None and all(is_present(layout, blob) for blob in manifest.blobs):
            yield manifest.descriptor


def _manifest_at(path: Path) -> Manifest | None:
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        return None
    raw = path.read_bytes()
    if not raw.startswith(b"{"):
        return None
    try:
        manifest = Manifest.parse(raw)
    except RunnerError:
        return None
    return manifest if manifest.digest == Digest("sha256", path.name) else None


def _parse(path: Path) -> Index | None:
    """Return the index at ``path``; None when it is missing or damaged."""
    try:
        return Index.parse(path.read_bytes())
    except (FileNotFoundError, RunnerError):
        return None


def _check_mounted(layout: Layout) -> None:
    """Refuse to begin an empty store where a store was: its disk may have been unmounted."""
    if not layout.marker.exists():
        raise RunnerError(
            Kind.STORE,
            f"the model store at {layout.root} has disappeared",
            hint="mount its disk again, or restart runner to begin a new store there",
        )
