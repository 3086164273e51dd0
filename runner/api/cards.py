"""One model as JSON, in the forms of Docker Model Runner and of OpenAI. Pure."""

from __future__ import annotations

from typing import Any, Protocol

from runner.oci import Artifact, Digest, Manifest, ModelConfig


class StoredModel(Protocol):
    """What the forms tell of a stored model: ``runner.store.StoredModel`` has it."""

    @property
    def id(self) -> Digest:
        """The digest of its manifest."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Its full names."""

    @property
    def created_s(self) -> int:
        """Unix seconds."""

    @property
    def config(self) -> ModelConfig:
        """What its artifact states."""

    @property
    def size_bytes(self) -> int:
        """Of all its files."""

    @property
    def shared_from(self) -> object | None:
        """The folder of the store of others that has it."""


def dmr_object(model: StoredModel) -> dict[str, Any]:
    """Render Docker Model Runner's form, as ``GET /models`` lists it; empty members left out."""
    tags = {"tags": list(model.tags)} if model.tags else {}
    return {
        "id": str(model.id),
        **tags,
        "created": model.created_s,
        "config": model.config.shown(),
        **({"shared_from": str(model.shared_from)} if model.shared_from else {}),
    }


def files(manifest: Manifest) -> list[dict[str, Any]]:
    """List a model's files, in the order of its layers: ours, beside Docker Model Runner's form."""
    return [
        {
            "path": file.path,
            "role": file.role.value,
            "size": file.blob.size_bytes,
            "digest": str(file.blob.digest),
        }
        for file in Artifact.of(manifest).files
    ]


def openai_object(model: StoredModel, *, context_size: int | None) -> dict[str, Any]:
    """Render OpenAI's form with Docker's ``dmr`` member and llama-server's ``meta``.

    ``context_size`` is what one conversation may hold in the loaded model; None: not loaded.
    """
    trained = trained_context(model.config)
    meta = {"n_ctx": context_size, "n_ctx_train": trained, "size": model.size_bytes}
    dmr = {
        "context_window": model.config.context_size or trained,
        "architecture": model.config.architecture,
        "parameters": model.config.parameters,
        "quantization": model.config.quantization,
        "size": model.config.size,
    }
    return {
        "id": model.tags[0] if model.tags else str(model.id),
        "object": "model",
        "created": model.created_s,
        "owned_by": "docker",
        "dmr": {name: fact for name, fact in dmr.items() if fact},
        "meta": {name: fact for name, fact in meta.items() if fact is not None},
    }


def trained_context(config: ModelConfig) -> int | None:
    """Return how many tokens the model was trained for, if its GGUF metadata says so."""
    text = config.gguf.get(f"{config.architecture}.context_length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None
