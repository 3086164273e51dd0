"""The GGUF header, read with bounds and no trust, before native code sees the file.

Pure: bytes come in, values or ``RunnerError(INVALID_MODEL)`` go out. Reads neither tensor data nor
files, and renders no template.
"""

from __future__ import annotations

from runner.gguf.fault import HeaderCutOff
from runner.gguf.header import MAX_HEADER_BYTES, read_header
from runner.gguf.memory import Recurrence
from runner.gguf.metadata import ModelMetadata, describe, render_parameters, render_size
from runner.gguf.shards import ShardName, check_shards, parse_shard_name, render_shard_name
from runner.gguf.types import ValueType
from runner.gguf.values import Array, Field, Gguf, Split, TensorInfo
from runner.gguf.weights import Weights
from runner.gguf.windows import Window

__all__ = [
    "MAX_HEADER_BYTES",
    "Array",
    "Field",
    "Gguf",
    "HeaderCutOff",
    "ModelMetadata",
    "Recurrence",
    "ShardName",
    "Split",
    "TensorInfo",
    "ValueType",
    "Weights",
    "Window",
    "check_shards",
    "describe",
    "parse_shard_name",
    "read_header",
    "render_parameters",
    "render_shard_name",
    "render_size",
]
