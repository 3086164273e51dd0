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


def open_bundle(layout: Layout, manifest: Manifest) -> Bundle:
    """Return the bundle of a model, made or repaired where needed.

    Checks every blob that goes into it. Raises RunnerError: INTEGRITY for a damaged blob,
    INVALID_MODEL for a model without GGUF weights.
    """
    artifact = Artifact.of(manifest)
    files = plan_files(artifact)
    for blob in files.values():
        check_blob(layout, blob.digest, blob.size_bytes)
    folder = layout.bundle(manifest.digest)
    if not _is_current(layout, folder, files):
        _build(layout, folder, files)
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


def _is_current(layout: Layout, folder: Path, files: Mapping[str, Descriptor]) -> bool:
    """Say whether each file of the bundle is the blob it should be, not one since replaced."""
    try:
        return all(
            (folder / name).samefile(layout.blob(blob.digest)) for name, blob in files.items()
        )
    except FileNotFoundError:
        return False


def _build(layout: Layout, folder: Path, files: Mapping[str, Descriptor]) -> None:
    """Make the folder beside and rename it, so that nobody sees half of it."""
    temporary = layout.temporary()
    temporary.mkdir(mode=FOLDER_MODE)
    try:
        for name, blob in files.items():
            _link(layout.blob(blob.digest), temporary / name)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        # Somebody else made the same bundle at the same time: theirs is as good.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if not _is_current(layout, folder, files):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        # No hard links here. `ingest` and `bundles` are equally deep, so this path fits both.
        target.symlink_to(Path("..", "..", *blob.parts[-3:]))
