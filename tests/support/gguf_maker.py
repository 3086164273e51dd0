"""Writes small GGUF files, sound ones and ones that lie, for tests. Knows nothing of the reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORMATS = {
    U8: "B",
    I8: "b",
    U16: "H",
    I16: "h",
    U32: "I",
    I32: "i",
    F32: "f",
    BOOL: "?",
    U64: "Q",
    I64: "q",
    F64: "d",
}
TENSOR_F32, TENSOR_F16, TENSOR_Q4_0 = 0, 1, 2
BYTES_PER_ELEMENT = {TENSOR_F32: 4.0, TENSOR_F16: 2.0, TENSOR_Q4_0: 18 / 32}

Fields = Mapping[str, tuple[int, Any]]


@dataclass(frozen=True)
class Tensor:
    """A tensor; what is None follows from the rest, so each lie is told alone."""

    name: str | bytes
    shape: tuple[int, ...] = (32,)
    type: int = TENSOR_F32
    data: bytes | None = None
    offset: int | None = None
    dimensions: int | None = None


@dataclass(frozen=True)
class Raw:
    """A value's bytes, written as they are."""

    data: bytes


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(kind: int, content: Any) -> bytes:
    if isinstance(content, Raw):
        return content.data
    if kind == STR:
        return string(content)
    if kind == ARR:
        element, items = content
        return struct.pack("<IQ", element, len(items)) + b"".join(
            value(element, item) for item in items
        )
    return struct.pack(f"<{FORMATS[kind]}", content)


def field(key: str | bytes, kind: int, content: Any) -> bytes:
    return string(key) + struct.pack("<I", kind) + value(kind, content)


def make_gguf(
    fields: Fields | Sequence[tuple[str | bytes, int, Any]],
    tensors: Sequence[Tensor] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    field_count: int | None = None,
    tensor_count: int | None = None,
    alignment: int = 32,
) -> bytes:
    """Write a file; the counts may be other than what follows."""
    listed = (
        [(key, kind, content) for key, (kind, content) in fields.items()]
        if isinstance(fields, Mapping)
        else list(fields)
    )
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(tensors) if tensor_count is None else tensor_count,
        len(listed) if field_count is None else field_count,
    )
    head += b"".join(field(*item) for item in listed)
    data = b""
    for tensor in tensors:
        content = _content(tensor)
        head += _info(tensor, len(data))
        data += content + b"\0" * (-len(content) % alignment)
    if tensors:
        head += b"\0" * (-len(head) % alignment)
    return head + data


def tiny_fields(**changes: tuple[int, Any] | None) -> dict[str, tuple[int, Any]]:
    """The fields of a sound one-block model; write ``a__b`` for ``a.b``, None to leave one out."""
    fields: dict[str, tuple[int, Any]] = {
        "general.architecture": (STR, "llama"),
        "general.name": (STR, "Tiny"),
        "general.file_type": (U32, 0),
        "llama.block_count": (U32, 1),
        "llama.context_length": (U32, 128),
        "llama.embedding_length": (U32, 32),
        "llama.feed_forward_length": (U32, 64),
        "llama.attention.head_count": (U32, 4),
        "llama.attention.head_count_kv": (U32, 2),
        "llama.attention.layer_norm_rms_epsilon": (F32, 0.5),
        "tokenizer.ggml.model": (STR, "llama"),
        "tokenizer.ggml.tokens": (ARR, (STR, ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b"])),
        "tokenizer.ggml.scores": (ARR, (F32, [0.0, 0.0, 0.0, 0.0, -1.0, -2.0])),
        "tokenizer.ggml.token_type": (ARR, (I32, [2, 3, 3, 6, 1, 1])),
        "tokenizer.chat_template": (STR, "{{ messages }}"),
    }
    for name, change in changes.items():
        key = name.replace("__", ".")
        if change is None:
            del fields[key]
        else:
            fields[key] = change
    return fields


def tiny_tensors(filling: bytes = b"\1") -> list[Tensor]:
    return [
        Tensor("token_embd.weight", (32, 6), data=filling * (32 * 6 * 4)),
        Tensor("blk.0.attn_q.weight", (32, 32), TENSOR_Q4_0, data=filling * (32 * 18)),
        Tensor("output_norm.weight", (32,), data=filling * (32 * 4)),
    ]


def tiny_model(filling: bytes = b"\1", **changes: tuple[int, Any] | None) -> bytes:
    """A sound model of some kilobytes; another ``filling`` is another model."""
    return make_gguf(tiny_fields(**changes), tiny_tensors(filling))


def tiny_shards(count: int = 3) -> list[bytes]:
    """A sound model in parts of one tensor each."""
    tensors = [Tensor(f"blk.0.part_{number}.weight", (32,)) for number in range(count)]

    def split(index: int) -> dict[str, tuple[int, Any]]:
        return {
            "split.no": (U16, index),
            "split.count": (U16, count),
            "split.tensors.count": (I32, count),
        }

    first = make_gguf(tiny_fields() | split(0), tensors[:1])
    return [first] + [make_gguf(split(index), [tensors[index]]) for index in range(1, count)]


def _content(tensor: Tensor) -> bytes:
    if tensor.data is not None:
        return tensor.data
    elements = 1
    for length in tensor.shape:
        elements *= length
    size = int(elements * BYTES_PER_ELEMENT.get(tensor.type, 1))
    return b"\2" * size if size < 1 << 20 else b""


def _info(tensor: Tensor, offset: int) -> bytes:
    dimensions = len(tensor.shape) if tensor.dimensions is None else tensor.dimensions
    return (
        string(tensor.name)
        + struct.pack(f"<I{len(tensor.shape)}Q", dimensions, *tensor.shape)
        + struct.pack("<IQ", tensor.type, offset if tensor.offset is None else tensor.offset)
    )
