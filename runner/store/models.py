"""What the store hands out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.oci import Digest, Manifest, ModelConfig


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the store, all of its blobs present."""

    id: Digest  # of the manifest
    tags: tuple[str, ...]  # full names, in the order they were given
    created_s: int  # seconds since 1970: as its config says, else when it was stored
    config: ModelConfig
    manifest: Manifest
    size_bytes: int  # of its layers
    shared_from: Path | None = None  # the store of others that has it; None: it is in our own


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model's files as an engine opens them. Links to blobs: never write into them."""

    gguf_path: Path  # of a sharded model the first shard; the others lie beside it
    chat_template_path: Path | None
    mmproj_path: Path | None
    lora_paths: tuple[Path, ...] = ()  # adapters, in the order they are applied


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal did."""

    untagged: tuple[str, ...]  # full names
    deleted: Digest | None  # the model, when nothing named it any more
