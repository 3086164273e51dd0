"""Folders of other programs' models, as those programs lay them out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from runner.oci import Digest

GGUF = "application/vnd.docker.ai.gguf.v3"
DOCKER_CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def docker_manifest(weights: bytes) -> tuple[bytes, list[bytes]]:
    """A manifest with its blobs, as ``docker model package`` writes them."""
    config = json.dumps({"config": {"format": "gguf", "architecture": "llama"}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(DOCKER_CONFIG, config),
        "layers": [descriptor(GGUF, weights)],
    }
    return json.dumps(manifest).encode(), [config, weights]


def make_docker_store(folder: Path, models: dict[bytes, list[str]]) -> list[str]:
    """Lay out Docker Model Runner's store of weights and their tags; return the ids."""
    entries = []
    for weights, tags in models.items():
        manifest, blobs = docker_manifest(weights)
        for blob in blobs:
            write(folder / "blobs/sha256" / Digest.of(blob).hex, blob)
        write(folder / "manifests/sha256" / Digest.of(manifest).hex, manifest)
        files = [str(Digest.of(blob)) for blob in blobs]
        entries.append({"id": str(Digest.of(manifest)), "tags": tags, "files": files})
    write(folder / "layout.json", b'{"version":"1.0.0"}')
    write(folder / "models.json", json.dumps({"models": entries}, indent=2).encode())
    return [str(entry["id"]) for entry in entries]


def make_ollama_store(folder: Path, models: dict[str, bytes]) -> None:
    """Lay out Ollama's folder: ``HOST/NAMESPACE/NAME/TAG`` to weights."""
    for name, weights in models.items():
        config = b'{"model_format":"gguf","model_family":"llama","model_type":"1B"}'
        template = b"{{ .Prompt }}"
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": descriptor("application/vnd.docker.container.image.v1+json", config),
            "layers": [
                descriptor("application/vnd.ollama.image.model", weights),
                descriptor("application/vnd.ollama.image.template", template),
            ],
        }
        for blob in (config, weights, template):
            write(folder / "blobs" / f"sha256-{Digest.of(blob).hex}", blob)
        write(folder / "manifests" / name, json.dumps(manifest).encode())


def make_hub_cache(folder: Path, repository: str, files: dict[str, bytes]) -> Path:
    """Lay out the cache of Hugging Face's libraries; return the repository's folder."""
    home = folder / f"models--{repository.replace('/', '--')}"
    for path, data in files.items():
        is_large = path.endswith(".gguf")
        head = f"blob {len(data)}\0".encode()
        name = Digest.of(data).hex if is_large else hashlib.sha1(head + data).hexdigest()
        write(home / "blobs" / name, data)
        link = home / "snapshots" / COMMIT / path
        link.parent.mkdir(parents=True, exist_ok=True)
        depth = len(Path(path).parts) + 1
        link.symlink_to(Path(*[".."] * depth, "blobs", name))
    write(home / "refs" / "main", COMMIT.encode())
    return home


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
