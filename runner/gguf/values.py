"""The values a GGUF header is read into."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

from runner.gguf.types import INTEGERS, SCALAR_FORMATS, TENSOR_TYPES, ValueType

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Array:
    """A metadata array, already checked against the file's end, decoded only when asked for."""

    type: ValueType  # of the elements; never ARR
    count: int
    raw: bytes  # the elements as the file holds them

    def strings(self) -> list[bytes]:
        """Decode an array of strings into the bytes of each."""
        raw, at, length_at = self.raw, 0, _LENGTH.unpack_from
        found: list[bytes] = []
        add = found.append
        for _ in repeat(None, self.count):
            start = at + 8
            (size,) = length_at(raw, at)
            at = start + size
            add(raw[start:at])
        return found

    def numbers(self) -> tuple[int | float | bool, ...]:
        """Decode an array of numbers or booleans."""
        return struct.unpack(f"<{self.count}{SCALAR_FORMATS[self.type]}", self.raw)


Value = int | float | bool | str | Array


@dataclass(frozen=True, slots=True)
class Field:
    """One metadata value with its type in the file."""

    type: ValueType
    value: Value


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: where its data is and how large. ``offset`` counts from the data section."""

    name: str
    shape: tuple[int, ...]  # the file's order: the row's length first
    type: int
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def type_name(self) -> str:
        """Name of the tensor type, as ``Q4_K``."""
        return TENSOR_TYPES[self.type].name


@dataclass(frozen=True, slots=True)
class Split:
    """Which part of a model this file is: ``split.*`` of a sharded model."""

    index: int  # from 0
    count: int
    tensors: int | None  # of all parts together


@dataclass(frozen=True, slots=True)
class Gguf:
    """A header whose every length, count and offset lies inside the file."""

    version: int
    size_bytes: int  # of the whole file
    alignment: int
    data_offset: int
    fields: Mapping[str, Field]
    tensors: tuple[TensorInfo, ...]

    def text(self, key: str) -> str | None:
        """Return a string value, or None when the key is absent or of another type."""
        field = self.fields.get(key)
        return field.value if field and isinstance(field.value, str) else None

    def integer(self, key: str) -> int | None:
        """Return an integer value, or None when the key is absent or of another type."""
        field = self.fields.get(key)
        if field is None or field.type not in INTEGERS or not isinstance(field.value, int):
            return None
        return field.value

    def array(self, key: str) -> Array | None:
        """Return an array, or None when the key is absent or of another type."""
        field = self.fields.get(key)
        return field.value if field and isinstance(field.value, Array) else None

    @property
    def architecture(self) -> str | None:
        """``general.architecture``; None only in a later shard."""
        return self.text("general.architecture")

    @property
    def split(self) -> Split | None:
        """The part this file is of a sharded model; None when the file is the whole model."""
        count = self.integer("split.count") or 0
        if count < 2:
            return None
        index = self.integer("split.no") or 0
        return Split(index, count, self.integer("split.tensors.count"))
