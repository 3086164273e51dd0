"""GGUF models in the cache of Hugging Face's libraries: ``models--ORG--NAME/snapshots/COMMIT``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.registry.hub_reference import HUB_DOMAIN, is_hub_repository
from runner.registry.hub_reply import HubFile
from runner.transfer.hub_files import choose_files
from runner.transfer.quantization import list_variants

MAX_FILES = 10_000  # of a snapshot

_PREFIX = "models--"
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedFiles:
    """The files of one model, in one quantisation."""

    names: tuple[Reference, ...]  # one
    size_bytes: int  # of weights and projector
    weights: tuple[Path, ...]  # all shards, in order
    projector: Path | None
    chat_template: Path | None
    licenses: tuple[Path, ...]
    digests: tuple[Digest, ...]  # what the hub said of weights and projector, where it did


def list_cached(folder: Path) -> Iterator[CachedFiles]:
    """List the models of the newest commit of each repository; raise RunnerError(USAGE)."""
    if not folder.is_dir():
        raise RunnerError(
            Kind.USAGE,
            f"there is no folder {folder}",
            hint="name the cache's folder, which has models--ORG--NAME inside, with --path",
        )
    for repository in sorted(folder.glob(f"{_PREFIX}*--*")):
        try:
            yield from _list_repository(repository)
        except (RunnerError, OSError) as error:
            log.warning("%s is left out: %s", repository, error)


def _list_repository(folder: Path) -> Iterator[CachedFiles]:
    name = folder.name.removeprefix(_PREFIX).replace("--", "/", 1)
    snapshot = _newest_snapshot(folder)
    if snapshot is None or not is_hub_repository(name):
        return
    files = list(_files(folder, snapshot))
    labels = dict.fromkeys(variant.label for variant in list_variants(files) if not variant.missing)
    for label in labels:
        chosen = choose_files(files, label, source=name)
        yield CachedFiles(
            names=(Reference.parse(f"{HUB_DOMAIN}/{name}:{label or 'latest'}"),),
            size_bytes=sum(file.size_bytes for file in chosen.large),
            weights=tuple(snapshot / file.path for file in chosen.weights),
            projector=snapshot / chosen.projector.path if chosen.projector else None,
            chat_template=snapshot / chosen.chat_template.path if chosen.chat_template else None,
            licenses=tuple(snapshot / file.path for file in chosen.licenses),
            digests=tuple(file.sha256 for file in chosen.large if file.sha256),
        )


def _newest_snapshot(folder: Path) -> Path | None:
    """Return the commit that ``main`` is, else the one that came last."""
    main = folder / "refs" / "main"
    if main.is_file() and main.stat().st_size < 100:
        commit = main.read_text("ascii", errors="replace").strip()
        if _COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir():
            return folder / "snapshots" / commit
    found = [path for path in (folder / "snapshots").glob("*") if _COMMIT.fullmatch(path.name)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _files(folder: Path, snapshot: Path) -> Iterator[HubFile]:
    """Yield the files of a commit: links to blobs, which large ones name by their SHA-256."""
    inside = folder.resolve()
    for count, path in enumerate(sorted(snapshot.rglob("*"))):
        if count == MAX_FILES:
            raise RunnerError(Kind.INVALID_MODEL, f"{snapshot} has over {MAX_FILES} files")
        real = path.resolve()
        if not real.is_file() or not real.is_relative_to(inside):
            continue  # a folder, a link to nowhere, or one that leads out of the cache
        is_large = _SHA256.fullmatch(real.name) is not None
        yield HubFile(
            path=path.relative_to(snapshot).as_posix(),
            size_bytes=real.stat().st_size,
            git_sha1="" if is_large else real.name,
            sha256=Digest("sha256", real.name) if is_large else None,
        )
