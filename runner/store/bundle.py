"""Bundles: a model's blobs under the file names that engines expect, by hard links."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from runner.gguf import render_shard_name
from runner.oci import Artifact, Descriptor, Manifest, Role
from runner.store.blobs import check_blob
from runner.store.layout import FOLDER_MODE, Layout
from runner.store.models import Bundle

CHAT_TEMPLATE_NAME = "template.jinja"
MMPROJ_NAME = "model.mmproj"


def open_bundle(layout: Layout, manifest: Manifest, *, holder: Layout | None = None) -> Bundle:
    """Return the bundle of a model, made or repaired where needed.

    The bundle lies in ``layout``; ``holder`` has the blobs where that is a store of others. Every
    blob that goes into it is checked. Raises RunnerError: INTEGRITY for a damaged blob,
    INVALID_MODEL for a model without GGUF weights.
    """
    artifact = Artifact.of(manifest)
    files = plan_files(artifact)
    for blob in files.values():
        check_blob(holder or layout, blob.digest, blob.size_bytes)
    folder = (layout.shared_bundle if holder else layout.bundle)(manifest.digest)
    blobs = {name: (holder or layout).blob(blob.digest) for name, blob in files.items()}
    if not _is_current(folder, blobs):
        _build(layout, folder, blobs)
    return Bundle(
        gguf_path=folder / next(iter(files)),
        chat_template_path=folder / CHAT_TEMPLATE_NAME if CHAT_TEMPLATE_NAME in files else None,
        mmproj_path=folder / MMPROJ_NAME if MMPROJ_NAME in files else None,
        lora_paths=tuple(
            folder / _adapter_name(number)
            for number, _ in enumerate(artifact.having(Role.ADAPTER), start=1)
        ),
    )


def plan_files(artifact: Artifact) -> Mapping[str, Descriptor]:
    """Name the files of a bundle; weights come first, in their order.

    Names follow from roles and order alone: an annotation such as ``../../.ssh/keys`` is never
    near a path. Files that no engine of ours opens are left out.
    """
    weights = artifact.runnable_weights
    files = {}
    for number, file in enumerate(weights, start=1):
        is_single = len(weights) == 1
        name = "model.gguf" if is_single else render_shard_name("model", number, len(weights))
        files[name] = file.blob
    for role, name in ((Role.CHAT_TEMPLATE, CHAT_TEMPLATE_NAME), (Role.MMPROJ, MMPROJ_NAME)):
        for file in artifact.having(role)[:1]:
            files[name] = file.blob
    for number, file in enumerate(artifact.having(Role.ADAPTER), start=1):
        files[_adapter_name(number)] = file.blob
    return files


def _adapter_name(number: int) -> str:
    return f"adapter-{number}.gguf"


def _is_current(folder: Path, blobs: Mapping[str, Path]) -> bool:
    """Say whether each file of the bundle is the blob it should be, not one since replaced."""
    try:
        return all((folder / name).samefile(blob) for name, blob in blobs.items())
    except FileNotFoundError:
        return False


def _build(layout: Layout, folder: Path, blobs: Mapping[str, Path]) -> None:
    """Make the folder beside and rename it, so that nobody sees half of it."""
    temporary = layout.temporary()
    temporary.mkdir(mode=FOLDER_MODE)
    try:
        for name, blob in blobs.items():
            _link(layout, blob, temporary / name)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        # Somebody else made the same bundle at the same time: theirs is as good.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if not _is_current(folder, blobs):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link(layout: Layout, blob: Path, target: Path) -> None:
    if not blob.is_relative_to(layout.root):
        target.symlink_to(blob)  # a hard link would change what belongs to others
        return
    try:
        os.link(blob, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        # No hard links here. `ingest` and `bundles` are equally deep, so this path fits both.
        target.symlink_to(Path("..", "..", *blob.parts[-3:]))
