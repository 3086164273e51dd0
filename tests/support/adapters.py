"""Tiny LoRA adapters for the embedded model: two matrices of rank 2 for one weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.gguf_maker import F32, STR, Tensor, make_gguf

WEIGHT = "blk.20.ffn_down.weight"
SHAPE = (1536, 576)  # of the weight in SmolLM2-135M: rows in, rows out
RANK = 2

FIELDS: dict[str, tuple[int, Any]] = {
    "general.type": (STR, "adapter"),
    "general.architecture": (STR, "llama"),
    "adapter.type": (STR, "lora"),
    "adapter.lora.alpha": (F32, float(RANK)),
}


def adapter(seed: int = 1, *, strength: float = 0.06, name: str = "", **fields: Any) -> bytes:
    """An adapter that changes answers; ``fields`` as the maker's, with ``__`` for a dot."""
    random = np.random.default_rng(seed)
    rows_in, rows_out = SHAPE
    down = random.standard_normal((RANK, rows_in)).astype("<f4") * strength
    up = random.standard_normal((rows_out, RANK)).astype("<f4")
    return write(pair(WEIGHT, down, up), name=name, **fields)


def pair(weight: str, down: np.ndarray, up: np.ndarray) -> list[Tensor]:
    """The two matrices of a weight, as rows."""
    return [
        Tensor(f"{weight}.lora_a", down.shape[::-1], data=down.tobytes()),
        Tensor(f"{weight}.lora_b", up.shape[::-1], data=up.tobytes()),
    ]


def write(tensors: list[Tensor], *, name: str = "", **fields: Any) -> bytes:
    """An adapter file; a field that is None is left out."""
    changed = {key.replace("__", "."): change for key, change in fields.items()}
    named = {"general.name": (STR, name)} if name else {}
    members = {**FIELDS, **named, **changed}
    return make_gguf({key: value for key, value in members.items() if value is not None}, tensors)


def write_adapters(folder: Path, *files: bytes) -> list[Path]:
    """Write files as a model's bundle names them."""
    paths = [folder / f"adapter-{number}.gguf" for number in range(1, len(files) + 1)]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths
