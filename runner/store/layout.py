"""Where things are in the store: the one place that turns names into paths.

``oci-layout  index.json  blobs/ALGORITHM/HEX`` are the OCI image layout; ``lock  ingest/  linked/
partials/  bundles/  index.json.bak`` are ours, which other tools ignore. Paths are made of
:class:`Digest` and of names made here, never of text that a manifest holds.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runner.oci import Digest

FOLDER_MODE = 0o700
FILE_MODE = 0o600
SHARED_PREFIX = "shared-"  # of bundles whose blobs lie in a store of others
BAD_SUFFIX = ".bad"  # of what was damaged, and is kept for a look


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the store at ``root``."""

    root: Path
    is_ours: bool = True  # False: a store of others, in which nothing is ever written

    @property
    def marker(self) -> Path:
        """The file that makes a folder an image layout, with its version."""
        return self.root / "oci-layout"

    @property
    def index(self) -> Path:
        """The models and their tags."""
        return self.root / "index.json"

    @property
    def mirror(self) -> Path:
        """A copy of the index, for the day it is damaged: only there are tags written."""
        return self.root / "index.json.bak"

    @property
    def lock(self) -> Path:
        """The file that writers lock."""
        return self.root / "lock"

    @property
    def ingest(self) -> Path:
        """Temporary files, in the same file system as the blobs."""
        return self.root / "ingest"

    @property
    def partials(self) -> Path:
        """Unfinished downloads, and what they need to be kept."""
        return self.root / "partials"

    @property
    def blobs(self) -> Path:
        """Folder of a folder for each algorithm."""
        return self.root / "blobs"

    @property
    def linked(self) -> Path:
        """Records of blobs that share their bytes with a file of the user."""
        return self.root / "linked"

    @property
    def bundles(self) -> Path:
        """Models under file names that engines expect."""
        return self.root / "bundles"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder of the store below its root."""
        return (
            self.ingest,
            self.partials,
            self.blobs,
            self.blobs / "sha256",
            self.linked,
            self.bundles,
        )

    @property
    def names(self) -> frozenset[str]:
        """What may lie in the root of a store that is being made."""
        files = (self.marker, self.index, self.mirror, self.lock)
        return frozenset(path.name for path in (*files, *self.folders))

    def blob(self, digest: Digest) -> Path:
        """Path of a blob."""
        return self.root.joinpath("blobs", digest.algorithm, digest.hex)  # once: lists ask often

    def loan(self, digest: Digest) -> Path:
        """Path of the record of a linked blob."""
        return self.linked / f"{digest.algorithm}-{digest.hex}.json"

    def partial(self, digest: Digest) -> Path:
        """Path of the bytes of an unfinished blob."""
        return self.partials / f"{digest.algorithm}-{digest.hex}.part"

    def journal(self, digest: Digest) -> Path:
        """Path of what is known of an unfinished blob; locked by who works on it."""
        return self.partials / f"{digest.algorithm}-{digest.hex}.journal"

    def pin(self, name: str) -> Path:
        """Path of a list of digests that an unfinished transfer needs."""
        return self.partials / f"{name}.pin"

    def bundle(self, model: Digest) -> Path:
        """Folder of a model's bundle."""
        return self.bundles / model.hex

    def shared_bundle(self, model: Digest) -> Path:
        """Folder of the bundle of a model that a store of others has."""
        return self.bundles / f"{SHARED_PREFIX}{model.hex}"

    def temporary(self) -> Path:
        """A path in ``ingest`` that no other writer uses."""
        return self.ingest / secrets.token_hex(12)


def open_new(path: Path) -> BinaryIO:
    """Open a file that must not exist for writing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, FILE_MODE), "wb")


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist, and make its content durable."""
    with open_new(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(layout: Layout, path: Path, data: bytes) -> None:
    """Write a file of the store by :func:`write_whole`; a sweep finds what a crash leaves."""
    write_whole(path, data, scratch=layout.temporary())


def write_whole(path: Path, data: bytes, *, scratch: Path | None = None) -> None:
    """Write a file whole or not at all, also over an older one, and make it durable.

    ``scratch`` is a free name on the same disk; None: one beside the file.
    """
    scratch = scratch or path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        write_new(scratch, data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
