"""Write a tiny llama model as GGUF, twice: quantised, and the very same weights as F32.

The weights are random, so the model says nothing; but its logits are sharp numbers that any kernel
for any of its tensor types must agree on. The vocabulary is the 256 bytes and three markers.
Formats: ggml's docs/gguf.md (version 3) and the block structs of ggml-common.h.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

WIDTH = 256  # of the embedding; the K-quants' blocks need a multiple of 256
N_VOCAB = 3 + 256
ALIGNMENT = 32
SPREAD = 1 / 16  # of a weight: 1/sqrt(WIDTH) keeps activations near 1
UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5  # GGUF value types


@dataclass(frozen=True, slots=True)
class Quant:
    """A tensor type: its number in ggml, the values of a block, and how to make one."""

    number: int
    values: int
    make: Callable[[Random], tuple[bytes, list[float]]]


def half(value: float) -> tuple[bytes, float]:
    """Round to 16 bits: the bytes, and the value they hold."""
    packed = struct.pack("<e", value)
    return packed, struct.unpack("<e", packed)[0]


def jitter(random: Random, value: float) -> tuple[bytes, float]:
    """Vary a scale from block to block, so that a kernel that mixes them up is seen."""
    return half(value * random.uniform(0.7, 1.3))


def nibbles(packed: bytes) -> list[int]:
    """Take low halves first, then the high ones: the order of all 4-bit blocks."""
    return [byte & 15 for byte in packed] + [byte >> 4 for byte in packed]


def make_q4_0(random: Random) -> tuple[bytes, list[float]]:
    """Scale, 32 nibbles around 8."""
    scale, d = jitter(random, SPREAD / 4.6)
    packed = random.randbytes(16)
    return scale + packed, [d * (q - 8) for q in nibbles(packed)]


def make_q4_1(random: Random) -> tuple[bytes, list[float]]:
    """Scale, minimum, 32 nibbles."""
    scale, d = jitter(random, SPREAD / 4.6)
    least, m = half(-7.5 * d)
    packed = random.randbytes(16)
    return scale + least + packed, [d * q + m for q in nibbles(packed)]


def make_q5_0(random: Random) -> tuple[bytes, list[float]]:
    """Scale, 32 fifth bits, 32 nibbles: 5-bit numbers around 16."""
    scale, d = jitter(random, SPREAD / 9.2)
    fifth, packed = random.randbytes(4), random.randbytes(16)
    return scale + fifth + packed, [d * (q - 16) for q in five_bits(fifth, packed)]


def make_q5_1(random: Random) -> tuple[bytes, list[float]]:
    """Scale, minimum, 32 fifth bits, 32 nibbles."""
    scale, d = jitter(random, SPREAD / 9.2)
    least, m = half(-15.5 * d)
    fifth, packed = random.randbytes(4), random.randbytes(16)
    return scale + least + fifth + packed, [d * q + m for q in five_bits(fifth, packed)]


def five_bits(fifth: bytes, packed: bytes) -> list[int]:
    """Put the fifth bits, the first in the lowest place, above the nibbles."""
    high = int.from_bytes(fifth, "little")
    return [low | (high >> i & 1) << 4 for i, low in enumerate(nibbles(packed))]


def make_q8_0(random: Random) -> tuple[bytes, list[float]]:
    """Scale, 32 signed bytes."""
    scale, d = jitter(random, SPREAD / 74)
    packed = random.randbytes(32)
    return scale + packed, [d * q for q in struct.unpack("32b", packed)]


def make_q4_k(random: Random) -> tuple[bytes, list[float]]:
    """Two scales, eight 6-bit scales and minima, 256 nibbles."""
    scale, d = jitter(random, SPREAD / 257)
    least, dmin = half(7.5 * d)
    packed_scales, packed = random.randbytes(12), random.randbytes(128)
    values: list[float] = []
    for group in range(8):  # of 32; two groups share the bytes of a 64-value stretch
        sc, m = scale_and_min(packed_scales, group)
        stretch = packed[32 * (group // 2) : 32 * (group // 2) + 32]
        shift = 4 * (group % 2)
        values += [d * sc * (byte >> shift & 15) - dmin * m for byte in stretch]
    return scale + least + packed_scales + packed, values


def make_q5_k(random: Random) -> tuple[bytes, list[float]]:
    """As Q4_K, with 256 fifth bits: bit g of byte i is of the i-th value of group g."""
    scale, d = jitter(random, SPREAD / 514)
    least, dmin = half(15.5 * d)
    packed_scales, fifth, packed = (random.randbytes(size) for size in (12, 32, 128))
    values: list[float] = []
    for group in range(8):
        sc, m = scale_and_min(packed_scales, group)
        stretch = packed[32 * (group // 2) : 32 * (group // 2) + 32]
        for byte, high in zip(stretch, fifth, strict=True):
            q = byte >> 4 * (group % 2) & 15 | (high >> group & 1) << 4
            values.append(d * sc * q - dmin * m)
    return scale + least + packed_scales + fifth + packed, values


def scale_and_min(packed: bytes, group: int) -> tuple[int, int]:
    """Unpack 6-bit numbers as ggml's get_scale_min_k4 does."""
    if group < 4:
        return packed[group] & 63, packed[group + 4] & 63
    low, high = packed[group + 4], group - 4
    return low & 15 | packed[high] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4


def make_q6_k(random: Random) -> tuple[bytes, list[float]]:
    """256 6-bit values in two parts, 16 signed scales, one scale."""
    scale, d = jitter(random, SPREAD / (18.5 * 74))
    low, high, scales = random.randbytes(128), random.randbytes(64), random.randbytes(16)
    signed = struct.unpack("16b", scales)
    values: list[float] = []
    for part in range(2):  # of 128 values: four runs of 32
        for run in range(4):
            for i in range(32):
                byte = low[64 * part + 32 * (run % 2) + i] >> 4 * (run // 2) & 15
                q = (byte | (high[32 * part + i] >> 2 * run & 3) << 4) - 32
                values.append(d * signed[8 * part + 2 * run + i // 16] * q)
    return low + high + scales + scale, values


Q4_0, Q4_1 = Quant(2, 32, make_q4_0), Quant(3, 32, make_q4_1)
Q5_0, Q5_1 = Quant(6, 32, make_q5_0), Quant(7, 32, make_q5_1)
Q8_0 = Quant(8, 32, make_q8_0)
Q4_K, Q5_K = Quant(12, 256, make_q4_k), Quant(13, 256, make_q5_k)
Q6_K = Quant(14, 256, make_q6_k)

# Every type meets a matrix product of every step. Two layers, so that one's errors reach another.
MATRICES = {
    "token_embd.weight": (Q8_0, N_VOCAB),
    "output.weight": (Q6_K, N_VOCAB),
    "blk.0.attn_q.weight": (Q4_0, WIDTH),
    "blk.0.attn_k.weight": (Q8_0, WIDTH),
    "blk.0.attn_v.weight": (Q4_1, WIDTH),
    "blk.0.attn_output.weight": (Q4_K, WIDTH),
    "blk.0.ffn_gate.weight": (Q4_1, WIDTH),
    "blk.0.ffn_up.weight": (Q6_K, WIDTH),
    "blk.0.ffn_down.weight": (Q4_0, WIDTH),
    "blk.1.attn_q.weight": (Q4_K, WIDTH),
    "blk.1.attn_k.weight": (Q5_0, WIDTH),
    "blk.1.attn_v.weight": (Q8_0, WIDTH),
    "blk.1.attn_output.weight": (Q4_1, WIDTH),
    "blk.1.ffn_gate.weight": (Q8_0, WIDTH),
    "blk.1.ffn_up.weight": (Q5_1, WIDTH),
    "blk.1.ffn_down.weight": (Q5_K, WIDTH),
}
NORMS = (
    "output_norm.weight",
    *(f"blk.{i}.{n}_norm.weight" for i in (0, 1) for n in ("attn", "ffn")),
)


def write_models(quantised: Path, plain: Path) -> None:
    """Write both files. The same seed gives the same bytes on every machine."""
    random = Random(12434)
    as_drawn: dict[str, tuple[int, int, bytes]] = {}  # name -> rows, type, data
    as_floats: dict[str, tuple[int, int, bytes]] = {}
    for name, (quant, rows) in MATRICES.items():
        blocks = [quant.make(random) for _ in range(rows * WIDTH // quant.values)]
        floats = array("f", (value for _, values in blocks for value in values))
        as_drawn[name] = rows, quant.number, b"".join(packed for packed, _ in blocks)
        as_floats[name] = rows, 0, little_endian(floats)
    for name in NORMS:
        gain = 4.0 if name.startswith("output") else 1.0  # logits spread over about +-10
        as_drawn[name] = as_floats[name] = 0, 0, little_endian(array("f", [gain] * WIDTH))
    quantised.write_bytes(render(as_drawn))
    plain.write_bytes(render(as_floats))


def little_endian(values: array[float]) -> bytes:
    """Give the bytes of a GGUF file, whatever this machine's order."""
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def render(tensors: dict[str, tuple[int, int, bytes]]) -> bytes:
    """Put header, metadata, tensor table and data together."""
    pairs = list(metadata())
    head = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs)))
    for key, kind, packed in pairs:
        head += string(key) + struct.pack("<I", kind) + packed
    data = bytearray()
    for name, (rows, kind, content) in tensors.items():
        shape = (WIDTH, rows) if rows else (WIDTH,)
        head += string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % ALIGNMENT)
    return bytes(head + bytes(-len(head) % ALIGNMENT) + data)


def metadata() -> Iterator[tuple[str, int, bytes]]:
    """List the keys a llama model must have, their types and packed values."""
    numbers = {
        "context_length": 512, "embedding_length": WIDTH, "block_count": 2,
        "feed_forward_length": WIDTH, "attention.head_count": 4,
    }  # fmt: skip
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [2, 3, 3, *[6] * 256]  # unknown, control, control, byte
    yield "general.architecture", STRING, string("llama")
    for key, number in numbers.items():
        yield f"llama.{key}", UINT32, struct.pack("<I", number)
    yield "llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)
    yield "tokenizer.ggml.model", STRING, string("llama")
    yield "tokenizer.ggml.tokens", ARRAY, listing(STRING, b"".join(map(string, tokens)))
    yield "tokenizer.ggml.scores", ARRAY, listing(FLOAT32, bytes(4 * N_VOCAB))
    yield "tokenizer.ggml.token_type", ARRAY, listing(INT32, struct.pack(f"<{N_VOCAB}i", *kinds))


def listing(kind: int, items: bytes) -> bytes:
    """Pack an array that has one item a token."""
    return struct.pack("<IQ", kind, N_VOCAB) + items


def string(text: str) -> bytes:
    """Pack a string: its length, its bytes."""
    content = text.encode()
    return struct.pack("<Q", len(content)) + content
