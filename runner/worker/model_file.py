"""The model file before native code sees it: a regular file with a sound GGUF header."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.gguf import (
    MAX_HEADER_BYTES,
    Gguf,
    HeaderCutOff,
    ModelMetadata,
    ValueType,
    check_shards,
    describe,
    parse_shard_name,
    read_header,
    render_shard_name,
)

USUAL_HEADER_BYTES = 8 * 1024 * 1024  # mostly the vocabulary


def check_model_file(path: Path) -> ModelMetadata:
    """Read the header, of all parts of a sharded model; raise RunnerError(INVALID_MODEL)."""
    first = _read(path)
    parts = [first, *(_read(part) for part in _further_parts(path, first))]
    check_shards(parts)
    return describe(*parts)


def check_adapter_file(path: Path, architecture: str) -> None:
    """Read the header of a LoRA adapter for a model; raise RunnerError(INVALID_MODEL).

    llama.cpp looks at some of these fields without asking for their types.
    """
    head = _read(path)
    for key, wanted in (
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
        ("general.architecture", architecture),
    ):
        if head.text(key) != wanted:
            message = f"it is no LoRA adapter for this model: {key} is not {wanted!a}"
            raise RunnerError(Kind.INVALID_MODEL, message)
    alpha = head.fields.get("adapter.lora.alpha")
    if alpha is not None and alpha.type is not ValueType.F32:
        raise RunnerError(Kind.INVALID_MODEL, "adapter.lora.alpha is not a float")


def _further_parts(path: Path, first: Gguf) -> list[Path]:
    name = parse_shard_name(path.name)
    if first.split is None or name is None:
        return []
    count = first.split.count
    return [path.with_name(render_shard_name(name.stem, n, count)) for n in range(2, count + 1)]


def _read(path: Path) -> Gguf:
    with _open(path) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise RunnerError(Kind.INVALID_MODEL, f"{path} is not a regular file")
        try:
            return read_header(_head(file, USUAL_HEADER_BYTES), status.st_size)
        except HeaderCutOff:
            return read_header(_head(file, MAX_HEADER_BYTES), status.st_size)


def _open(path: Path) -> io.FileIO:
    # Non-blocking: a FIFO put in the file's place must not hold the worker for ever.
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        return io.FileIO(path, "r", opener=opener)
    except OSError as error:
        raise RunnerError(
            Kind.INVALID_MODEL, f"cannot open the model file {path}: {error.strerror}"
        ) from error


def _head(file: io.FileIO, size_bytes: int) -> bytes:
    """Read the beginning of a file; a read may return less than it was asked for."""
    file.seek(0)
    parts: list[bytes] = []
    while size_bytes > 0 and (part := file.read(size_bytes)):
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)
