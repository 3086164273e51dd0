"""Models in the folders of Docker Model Runner and of Ollama: both keep manifests and blobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Digest, Manifest, Reference
from runner.oci.document import parse_object

MAX_INDEX_BYTES = 64 * 1024 * 1024
UNTAGGED = "docker.io/ai/imported"  # repository of what has no name there

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptArtifact:
    """A model that another program keeps as it came from its registry."""

    names: tuple[Reference, ...]  # one at least
    manifest: Manifest
    blobs: Path  # folder
    blob_form: str  # of a blob's name there, with its algorithm and hex

    @property
    def size_bytes(self) -> int:
        """Of its layers."""
        return self.manifest.size_bytes

    def path_of(self, digest: Digest) -> Path:
        """Where a blob is."""
        return self.blobs / self.blob_form.format(digest.algorithm, digest.hex)


def list_docker(folder: Path) -> Iterator[KeptArtifact]:
    """List what ``models.json`` names (dmr-contract.md 5); raise RunnerError(USAGE), OSError."""
    index = folder / "models.json"
    if not index.is_file():
        raise _not_a_store(folder, "Docker Model Runner", "models.json")
    for entry in parse_object(
        _read(index, MAX_INDEX_BYTES), limit_bytes=MAX_INDEX_BYTES, what=str(index)
    ).get("models", ()):
        try:
            digest = Digest.parse(entry["id"])
            tags = entry.get("tags") or [f"{UNTAGGED}@{digest}"]
            names = tuple(Reference.parse(tag) for tag in tags)
            path = folder / "manifests" / digest.algorithm / digest.hex
            yield KeptArtifact(names, _read_manifest(path, digest), folder / "blobs", "{}/{}")
        except (RunnerError, OSError, KeyError, TypeError, AttributeError) as error:
            log.warning("a model of %s is left out: %s", folder, error)


def list_ollama(folder: Path) -> Iterator[KeptArtifact]:
    """List ``manifests/HOST/NAMESPACE/NAME/TAG``; raise RunnerError(USAGE)."""
    manifests = folder / "manifests"
    if not manifests.is_dir():
        raise _not_a_store(folder, "Ollama", "manifests")
    for path in sorted(manifests.glob("*/*/*/*")):
        host, namespace, name, tag = path.relative_to(manifests).parts
        if name.startswith(".") or tag.startswith("."):
            continue  # what file managers leave
        try:
            names = (Reference.parse(f"{host}/{namespace}/{name}:{tag}"),)
            yield KeptArtifact(names, _read_manifest(path, None), folder / "blobs", "{}-{}")
        except (RunnerError, OSError) as error:
            log.warning("%s is left out: %s", path, error)


def _read_manifest(path: Path, digest: Digest | None) -> Manifest:
    raw = _read(path, MAX_MANIFEST_BYTES)
    if digest is not None and not digest.matches(raw):
        raise RunnerError(Kind.INTEGRITY, f"the manifest {path} is damaged")
    return Manifest.parse(raw)


def _read(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit_bytes + 1)


def _not_a_store(folder: Path, program: str, name: str) -> RunnerError:
    return RunnerError(
        Kind.USAGE,
        f"{folder} is not a model folder of {program}: it has no {name}",
        hint="name the right folder with --path",
    )
