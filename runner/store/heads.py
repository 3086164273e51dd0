"""GGUF headers of files and blobs, and the facts of a model that only they tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner.errors import RunnerError
from runner.gguf import (
    MAX_HEADER_BYTES,
    Gguf,
    HeaderCutOff,
    ModelMetadata,
    describe,
    read_header,
)
from runner.oci import Artifact, ModelConfig, ModelFile
from runner.store.blobs import check_blob
from runner.store.layout import Layout
from runner.store.source import Source, open_source

FIRST_LOOK_BYTES = 4 * 1024 * 1024  # holds most headers


def read_head(source: Source) -> Gguf:
    """Read and check the GGUF header of an open file; the file's name goes into the error."""
    try:
        try:
            return read_header(source.head(FIRST_LOOK_BYTES), source.size_bytes)
        except HeaderCutOff:
            return read_header(source.head(MAX_HEADER_BYTES), source.size_bytes)
    except RunnerError as error:
        raise RunnerError(
            error.kind,
            f"{source.path.name}: {error.message}",
            hint=error.hint,
            details=error.details,
        ) from error


def read_facts(layout: Layout, weights: Sequence[ModelFile]) -> ModelMetadata:
    """Describe a model by its stored weights; raise RunnerError: INTEGRITY, INVALID_MODEL."""
    parts = []
    for file in weights:
        check_blob(layout, file.blob.digest, file.blob.size_bytes)
        with open_source(layout.blob(file.blob.digest)) as source:
            parts.append(read_head(replace(source, path=Path(file.path))))
    return describe(*parts)


def complete(layout: Layout, config: ModelConfig, artifact: Artifact) -> ModelConfig:
    """Add what a config leaves out, as ModelPack's and Ollama's do, from the weights' headers.

    What the config states stays. Raises RunnerError as :func:`read_facts`.
    """
    stated = (config.quantization, config.parameters, config.architecture, config.size, config.gguf)
    if artifact.format != "gguf" or all(stated):
        return replace(config, format=config.format or artifact.format)
    facts = read_facts(layout, artifact.weights)
    return replace(
        config,
        format=config.format or artifact.format,
        quantization=config.quantization or facts.quantization,
        parameters=config.parameters or facts.parameters_text,
        architecture=config.architecture or facts.architecture,
        size=config.size or facts.size_text,
        gguf=config.gguf or facts.kv,
    )
