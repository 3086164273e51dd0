"""Reads tensor infos and checks that every tensor's data lies where it must, inside the file."""

from __future__ import annotations

from math import prod

from runner.gguf.cursor import Cursor
from runner.gguf.fault import invalid, show
from runner.gguf.types import TENSOR_TYPES
from runner.gguf.values import TensorInfo

MAX_TENSORS = 65_536  # the largest mixture-of-experts models have some thousands
MAX_NAME_BYTES = 63  # GGML_MAX_NAME with its NUL
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
MAX_ELEMENTS = 2**63 - 1

_MIN_INFO_BYTES = 8 + 1 + 4 + 4 + 8  # name's length, name, dimensions, type, offset


def read_tensors(
    cursor: Cursor, count: int, alignment: int, *, size_bytes: int
) -> tuple[tuple[TensorInfo, ...], int]:
    """Read ``count`` tensor infos; return them and the offset of the data section."""
    if count > min(MAX_TENSORS, cursor.left // _MIN_INFO_BYTES):
        raise invalid(
            "tensor_count",
            f"claims {count} tensors; {cursor.left} bytes are left and {MAX_TENSORS} are allowed",
        )
    seen: set[str] = set()
    tensors = []
    for index in range(count):
        tensor = _read_tensor(cursor, index)
        if tensor.name in seen:
            raise invalid(_field(tensor.name, "name"), "appears twice")
        seen.add(tensor.name)
        tensors.append(tensor)
    data_offset = _pad(cursor.position, alignment)
    _check_placement(tensors, data_offset, alignment, size_bytes=size_bytes)
    return tuple(tensors), data_offset


def _read_tensor(cursor: Cursor, index: int) -> TensorInfo:
    name = _read_name(cursor, index)
    shape = _read_shape(cursor, name)
    kind = cursor.u32(name)
    size = _size_bytes(shape, kind, name)
    return TensorInfo(name, shape, kind, cursor.u64(name), size)


def _read_name(cursor: Cursor, index: int) -> str:
    raw = cursor.string("tensor name", limit=MAX_NAME_BYTES)
    if not raw:
        raise invalid(f"name of tensor {index}", "is empty")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(f"name of tensor {index}", f"{show(raw)} is not UTF-8") from error


def _read_shape(cursor: Cursor, name: str) -> tuple[int, ...]:
    dimensions = cursor.u32(name)
    if dimensions > MAX_DIMENSIONS:
        raise invalid(_field(name, "dimensions"), f"number {dimensions}; at most 4 are allowed")
    shape = tuple(cursor.u64(name) for _ in range(dimensions))
    if 0 in shape:
        raise invalid(_field(name, "shape"), f"{list(shape)} has a dimension of zero")
    if prod(shape) > MAX_ELEMENTS:
        raise invalid(_field(name, "shape"), f"{list(shape)} has more than 2^63-1 elements")
    return shape


def _size_bytes(shape: tuple[int, ...], kind: int, name: str) -> int:
    traits = TENSOR_TYPES.get(kind)
    if traits is None:
        raise invalid(
            _field(name, "type"),
            f"{kind} is not known to this engine",
            hint="update runner: the model needs a newer engine, or uses a type that was removed",
        )
    row = shape[0] if shape else 1
    if row % traits.block_elements:
        raise invalid(
            _field(name, "shape"),
            f"has rows of {row} elements, not a multiple of {traits.name}'s block of "
            f"{traits.block_elements}",
        )
    size = prod(shape) // traits.block_elements * traits.block_bytes
    if size > MAX_ELEMENTS:
        raise invalid(_field(name, "shape"), f"{list(shape)} needs more than 2^63-1 bytes")
    return size


def _check_placement(
    tensors: list[TensorInfo], data_offset: int, alignment: int, *, size_bytes: int
) -> None:
    """Check what gguf.cpp demands: tensors one after the other, each padded to the alignment.

    That excludes overlaps and unaligned data; the file's end excludes reading past it
    (CVE-2026-7482).
    """
    expected = 0
    for tensor in tensors:
        if tensor.offset % alignment:
            raise invalid(
                _field(tensor.name, "offset"),
                f"{tensor.offset} is not a multiple of alignment {alignment}",
            )
        if tensor.offset < expected:
            raise invalid(
                _field(tensor.name, "offset"),
                f"{tensor.offset} overlaps the tensor before, up to {expected}",
            )
        if tensor.offset > expected:
            raise invalid(_field(tensor.name, "offset"), f"is {tensor.offset}; expected {expected}")
        end = data_offset + tensor.offset + tensor.size_bytes
        if end > size_bytes:
            raise invalid(
                _field(tensor.name, "offset"),
                f"and size lead to byte {end}, past the file's end at {size_bytes}",
                hint="the file is cut short: get it again from its source",
            )
        expected = _pad(tensor.offset + tensor.size_bytes, alignment)


def _pad(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _field(name: str, part: str) -> str:
    return f"{part} of tensor {name}"
