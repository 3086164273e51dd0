"""The header of a safetensors file: what is in it, read with bounds. Pure.

A model in this format can be packaged and pushed for others; no engine of ours opens it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from runner.errors import Kind, RunnerError
from runner.gguf import render_parameters
from runner.oci.document import parse_object, require, strings

MAX_HEADER_BYTES = 64 * 1024 * 1024  # the format allows 100 MB; the largest models take 2 MB
LENGTH_BYTES = 8

_WHAT = "safetensors header"


@dataclass(frozen=True, slots=True)
class Safetensors:
    """What one file holds."""

    parameters: int
    tensors: int
    types: frozenset[str]  # of its tensors: ``BF16``
    metadata: dict[str, str]


def header_bytes(first: bytes, size_bytes: int) -> int:
    """Return how many bytes the header takes, with its length before it.

    ``first`` holds the first 8 bytes of a file of ``size_bytes``. Raises
    RunnerError(INVALID_MODEL).
    """
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    whole = LENGTH_BYTES + length
    if len(first) < LENGTH_BYTES or length < 2 or whole > min(size_bytes, MAX_HEADER_BYTES):
        raise RunnerError(
            Kind.INVALID_MODEL,
            "not a safetensors file: it does not begin with a header's length",
            hint="if it is a Git LFS pointer or an unfinished download, get the file itself",
        )
    return whole


def read_header(head: bytes, size_bytes: int) -> Safetensors:
    """Read what :func:`header_bytes` measured; raise RunnerError(INVALID_MODEL)."""
    value = parse_object(head[LENGTH_BYTES:], limit_bytes=MAX_HEADER_BYTES, what=_WHAT)
    metadata = strings(value, "__metadata__", what=_WHAT)
    value.pop("__metadata__", None)
    room = size_bytes - len(head)
    tensors = [_tensor(value, name, room) for name in value]
    return Safetensors(
        parameters=sum(count for count, _ in tensors),
        tensors=len(tensors),
        types=frozenset(kind for _, kind in tensors),
        metadata=metadata,
    )


def quantization(parts: Sequence[Safetensors]) -> str:
    """Name the type that all tensors have; ``mixed`` when there are several."""
    types = frozenset[str]().union(*(part.types for part in parts))
    return next(iter(types)) if len(types) == 1 else "mixed" if types else "unknown"


def parameters_text(parts: Sequence[Safetensors]) -> str:
    """Write the number of all parameters as GGUF's are written: ``134.52M``."""
    return render_parameters(sum(part.parameters for part in parts))


def shown(parts: Sequence[Safetensors]) -> dict[str, str]:
    """Return what a config tells of the files: their metadata, and how many tensors there are."""
    metadata = {key: text for part in parts for key, text in part.metadata.items()}
    return {**metadata, "tensor_count": str(sum(part.tensors for part in parts))}


def _tensor(header: dict[str, Any], name: str, room: int) -> tuple[int, str]:
    """Return a tensor's number of elements and type; its bytes must be in the file."""
    what = f"safetensors tensor {name[:80]!a}"
    info = require(header, name, dict, what=_WHAT)
    shape = require(info, "shape", list, what=what)
    offsets = require(info, "data_offsets", list, what=what)
    numbers = {"shape": [*shape], "data_offsets": [*offsets]}
    for key, items in numbers.items():
        for item in items:
            require({key: item}, key, int, what=what)
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= room:
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"{what} is not inside the file",
            hint="the download was not finished; get the file again",
        )
    return prod(shape), require(info, "dtype", str, what=what)
