"""Reads a GGUF header: preamble, metadata, tensor infos. Follows gguf.cpp of llama.cpp, stricter.

What upstream would refuse, or later ``abort()`` on, is refused here by the name of the field, in
milliseconds: no count, length or offset is believed before it is compared with the file's size.
"""

from __future__ import annotations

from runner.errors import Kind, RunnerError
from runner.gguf.check import check_model
from runner.gguf.cursor import Cursor
from runner.gguf.fault import invalid, show
from runner.gguf.foreign import MAGIC, leading, name_foreign
from runner.gguf.tensors import read_tensors
from runner.gguf.types import SCALAR_BYTES, SCALAR_FORMATS, ValueType
from runner.gguf.values import Array, Field, Gguf, Value

MAX_HEADER_BYTES = 64 * 1024 * 1024  # the largest vocabularies of today take 16 MiB
MAX_FIELDS = 65_536  # a model has about 40
MAX_ARRAY_STRINGS = 1 << 20  # the largest vocabularies have 262,144 tokens and 514,906 merges
MAX_KEY_BYTES = 65_535  # the specification's
PREAMBLE_BYTES = 24
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

_MIN_FIELD_BYTES = 8 + 1 + 4 + 1  # key's length, key, type, the smallest value


def read_header(view: bytes | memoryview, size_bytes: int) -> Gguf:
    """Read the header of a GGUF file and check it whole.

    ``view`` holds the file or its beginning (at most :data:`MAX_HEADER_BYTES` are looked at);
    ``size_bytes`` is the file's true size, against which everything is checked. The result keeps
    no reference to ``view``. Raises RunnerError(INVALID_MODEL) with the field's name in the
    message and in ``details["field"]``; its subclass HeaderCutOff when the view is too short.
    """
    head = memoryview(view)
    _check_magic(head, size_bytes)
    cursor = Cursor(head, min(size_bytes, MAX_HEADER_BYTES))
    cursor.skip(len(MAGIC), "magic")
    version = _read_version(cursor)
    tensor_count = cursor.u64("tensor_count")
    fields = _read_fields(cursor, cursor.u64("metadata_kv_count"))
    alignment = _alignment(fields)
    tensors, data_offset = read_tensors(cursor, tensor_count, alignment, size_bytes=size_bytes)
    gguf = Gguf(version, size_bytes, alignment, data_offset, fields, tensors)
    check_model(gguf)
    return gguf


def _check_magic(head: memoryview, size_bytes: int) -> None:
    if bytes(head[:4]) == MAGIC and size_bytes >= PREAMBLE_BYTES:
        return
    if size_bytes < PREAMBLE_BYTES and MAGIC.startswith(bytes(head[:4])):
        looks, hint = f"is only {size_bytes} bytes long", "the download was not finished"
    else:
        looks, hint = name_foreign(leading(head))
    raise RunnerError(
        Kind.INVALID_MODEL, f"not a GGUF file: it {looks}", hint=hint, details={"field": "magic"}
    )


def _read_version(cursor: Cursor) -> int:
    version = cursor.u32("version")
    if version in VERSIONS:
        return version
    # As gguf.cpp: a small number read in the wrong byte order has its low half empty.
    if version and version & 0xFFFF == 0:
        raise invalid(
            "version",
            "is in big-endian byte order",
            hint="get the little-endian file of this model",
        )
    if version > max(VERSIONS):
        raise invalid(
            "version",
            f"{version} is newer than version 3, the newest this engine reads",
            hint="update runner: the model needs a newer engine",
        )
    raise invalid(
        "version", f"{version} is no longer read", hint="get a current GGUF file of this model"
    )


def _read_fields(cursor: Cursor, count: int) -> dict[str, Field]:
    if count > min(MAX_FIELDS, cursor.left // _MIN_FIELD_BYTES):
        raise invalid(
            "metadata_kv_count",
            f"claims {count} fields; {cursor.left} bytes are left and {MAX_FIELDS} are allowed",
        )
    fields: dict[str, Field] = {}
    for index in range(count):
        key = _read_key(cursor, index)
        if key in fields:
            raise invalid(key, "appears twice")
        fields[key] = _read_field(cursor, key)
    return fields


def _read_key(cursor: Cursor, index: int) -> str:
    raw = cursor.string(f"key {index}", limit=MAX_KEY_BYTES)
    if not raw:
        raise invalid(f"key {index}", "is empty")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(f"key {index}", f"{show(raw)} is not UTF-8") from error


def _read_field(cursor: Cursor, key: str) -> Field:
    kind = _read_type(cursor, key)
    if kind is ValueType.ARR:
        return Field(kind, _read_array(cursor, key))
    value: Value
    if kind is ValueType.STR:
        value = cursor.string(key).decode("utf-8", "replace")
    else:
        value = cursor.unpack(SCALAR_FORMATS[kind], key)[0]
    return Field(kind, value)


def _read_array(cursor: Cursor, key: str) -> Array:
    kind = _read_type(cursor, key)
    if kind is ValueType.ARR:
        raise invalid(key, "is an array of arrays, which the format does not use")
    count = cursor.u64(key)
    if kind is ValueType.STR:
        if count > MAX_ARRAY_STRINGS:
            raise invalid(key, f"claims {count} strings; at most {MAX_ARRAY_STRINGS} are allowed")
        return Array(kind, count, cursor.strings(count, key))
    return Array(kind, count, cursor.raw(count * SCALAR_BYTES[kind], key))


def _read_type(cursor: Cursor, key: str) -> ValueType:
    number = cursor.u32(key)
    try:
        return ValueType(number)
    except ValueError as error:
        raise invalid(key, f"has the unknown value type {number}") from error


def _alignment(fields: dict[str, Field]) -> int:
    field = fields.get("general.alignment")
    if field is None:
        return DEFAULT_ALIGNMENT
    if field.type is not ValueType.U32 or not isinstance(field.value, int):
        raise invalid("general.alignment", f"is of type {field.type.name.lower()}, not u32")
    if field.value < 1 or field.value & (field.value - 1):
        raise invalid("general.alignment", f"is {field.value}, not a power of two")
    return field.value
