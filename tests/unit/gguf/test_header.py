from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.gguf import MAX_HEADER_BYTES, Array, HeaderCutOff, TensorInfo, read_header
from runner.gguf.types import ValueType
from tests.support.gguf_maker import (
    ARR,
    BOOL,
    F32,
    F64,
    FORMATS,
    I8,
    I64,
    STR,
    TENSOR_Q4_0,
    U8,
    U16,
    U32,
    U64,
    Raw,
    Tensor,
    make_gguf,
    tiny_fields,
    tiny_model,
    tiny_tensors,
)


def refusal(data: bytes) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        read_header(data, len(data))
    assert caught.value.kind is Kind.INVALID_MODEL
    assert caught.value.hint
    return caught.value


def field_at_fault(data: bytes) -> str:
    return str(refusal(data).details["field"])


def test_a_sound_file_is_read() -> None:
    data = tiny_model()
    gguf = read_header(data, len(data))
    assert (gguf.version, gguf.alignment, gguf.size_bytes) == (3, 32, len(data))
    assert gguf.architecture == "llama"
    assert gguf.integer("llama.block_count") == 1
    assert gguf.text("general.name") == "Tiny"
    assert gguf.tensors[1] == TensorInfo("blk.0.attn_q.weight", (32, 32), 2, 768, 576)
    assert gguf.tensors[1].type_name == "Q4_0"
    assert gguf.tensors[1].elements == 1024
    assert data[gguf.data_offset :][:768] == b"\1" * 768
    assert gguf.split is None


@pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(view: Callable[[bytes], Any]) -> None:
    data = tiny_model()
    assert read_header(view(data), len(data)).architecture == "llama"


def test_version_2_has_the_same_layout() -> None:
    data = make_gguf(tiny_fields(), tiny_tensors(), version=2)
    assert read_header(data, len(data)).version == 2


SCALARS: list[tuple[int, Any]] = [
    (U8, 255),
    (I8, -128),
    (U16, 65535),
    (U32, 2**32 - 1),
    (U64, 2**64 - 1),
    (I64, -(2**63)),
    (F32, 0.5),
    (F64, 0.1),
    (BOOL, True),
    (STR, "naïve"),
]


@pytest.mark.parametrize(("kind", "content"), SCALARS)
def test_every_value_type_is_read(kind: int, content: Any) -> None:
    data = make_gguf({**tiny_fields(), "x": (kind, content)})
    field = read_header(data, len(data)).fields["x"]
    assert (field.type, field.value) == (ValueType(kind), content)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_an_array_of_every_type_is_kept_as_bytes_and_decoded_on_demand(kind: int) -> None:
    items = [True, False] if kind == BOOL else [1, 2]
    data = make_gguf({**tiny_fields(), "x": (ARR, (kind, items))})
    array = read_header(data, len(data)).array("x")
    assert array is not None
    assert array.numbers() == tuple(items)


def test_an_array_of_strings_is_decoded_on_demand() -> None:
    data = make_gguf({**tiny_fields(), "x": (ARR, (STR, ["", "ab", "é"]))})
    array = read_header(data, len(data)).array("x")
    assert array == Array(ValueType.STR, 3, data[data.index(b"x" + struct.pack("<I", 9)) + 17 :])
    assert array is not None
    assert array.strings() == [b"", b"ab", "é".encode()]


def test_values_of_another_type_read_as_absent() -> None:
    data = tiny_model()
    gguf = read_header(data, len(data))
    assert gguf.integer("general.name") is None
    assert gguf.text("llama.block_count") is None
    assert gguf.array("llama.block_count") is None
    assert gguf.integer("tokenizer.ggml.tokens") is None
    assert gguf.text("absent") is None


NOT_GGUF: list[tuple[bytes, str]] = [
    (b"", "is only 0 bytes long"),
    (b"GGU", "is only 3 bytes long"),
    (b"GGUF", "is only 4 bytes long"),
    (b"GGUF\3\0\0\0" + bytes(15), "is only 23 bytes long"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
    (b"\xef\xbb\xbf\n <!DOCTYPE html><html>404</html>", "an HTML page"),
    (b"<HTML><body>log in</body></HTML>" + bytes(100), "an HTML page"),
    (struct.pack("<Q", 40) + b'{"__metadata__":{}}' + bytes(60), "safetensors"),
    (b'{"error":"not found"}' + bytes(20), "JSON"),
    (b"PK\3\4" + bytes(40), "zip archive or PyTorch"),
    (b"\x80\x02}q\x00" + bytes(40), "pickle"),
    (b"\x1f\x8b" + bytes(40), "gzip"),
    (b"\x28\xb5\x2f\xfd" + bytes(40), "zstd"),
    (b"lmgg" + bytes(40), "GGML file of before GGUF"),
    (b"FUGG" + bytes(40), "big-endian GGUF"),
    (bytes(4096), "begins with zeros"),
    (b"\x1b[31mX" + bytes(40), r"begins with \x1b[31"),
]


@pytest.mark.parametrize(("data", "words"), NOT_GGUF, ids=[words for _, words in NOT_GGUF])
def test_a_file_that_is_not_gguf_is_named(data: bytes, words: str) -> None:
    error = refusal(data)
    assert error.message.startswith("not a GGUF file: it ")
    assert words in error.message


VERSIONS: list[tuple[int, str]] = [
    (0, "no longer read"),
    (1, "no longer read"),
    (4, "newer than version 3"),
    (0x03000000, "big-endian byte order"),
    (0xFFFFFFFF, "newer than version 3"),
]


@pytest.mark.parametrize(("version", "words"), VERSIONS)
def test_other_versions_are_refused(version: int, words: str) -> None:
    error = refusal(make_gguf(tiny_fields(), version=version))
    assert error.details["field"] == "version"
    assert words in error.message


def with_field(key: str | bytes, kind: int, content: Any) -> bytes:
    fields: list[tuple[str | bytes, int, Any]] = [
        (name, of, value) for name, (of, value) in tiny_fields().items()
    ]
    return make_gguf([*fields, (key, kind, content)], tiny_tensors())


def array(kind: int, count: int) -> Raw:
    return Raw(struct.pack("<IQ", kind, count))


METADATA: list[tuple[str, bytes, str]] = [
    ("2^64-1 fields", make_gguf({}, field_count=2**64 - 1), "metadata_kv_count"),
    ("more fields than bytes", make_gguf(tiny_fields(), field_count=60_000), "metadata_kv_count"),
    ("one field missing", make_gguf({}, field_count=1), "metadata_kv_count"),
    ("2^64-1 tensors", make_gguf(tiny_fields(), tensor_count=2**64 - 1), "tensor_count"),
    ("2^62 tensors", make_gguf(tiny_fields(), tensor_count=2**62), "tensor_count"),
    ("an empty key", with_field("", U32, 1), "key 15"),
    ("a long key", with_field("k" * 65_536, U32, 1), "key 15"),
    ("a key that is not UTF-8", with_field(b"\xff", U32, 1), "key 15"),
    ("a duplicate key", with_field("general.name", STR, "again"), "general.name"),
    ("an unknown type", with_field("x", 13, Raw(b"")), "x"),
    ("a string of 2^63", with_field("x", STR, Raw(struct.pack("<Q", 2**63))), "x"),
    ("an array of 2^40 numbers", with_field("x", ARR, array(U32, 2**40)), "x"),
    ("an array of 2^40 strings", with_field("x", ARR, array(STR, 2**40)), "x"),
    ("an array of 2^20 strings", with_field("x", ARR, array(STR, 2**20)), "x"),
    ("an array of arrays", with_field("x", ARR, array(ARR, 1)), "x"),
    ("an array of unknown type", with_field("x", ARR, array(99, 1)), "x"),
    (
        "an array with a string of 2^64-1",
        with_field("x", ARR, Raw(struct.pack("<IQQ", STR, 1, 2**64 - 1))),
        "x",
    ),
    (
        "an array with a string up to the end and one more",
        make_gguf({**tiny_fields(), "x": (ARR, Raw(struct.pack("<IQQ", STR, 2, 8) + bytes(8)))}),
        "x",
    ),
    ("alignment 0", with_field("general.alignment", U32, 0), "general.alignment"),
    ("alignment 3", with_field("general.alignment", U32, 3), "general.alignment"),
    ("alignment of a wrong type", with_field("general.alignment", 5, 32), "general.alignment"),
]


@pytest.mark.parametrize(("data", "field"), [m[1:] for m in METADATA], ids=[m[0] for m in METADATA])
def test_hostile_metadata_is_refused_by_the_name_of_its_field(data: bytes, field: str) -> None:
    assert field_at_fault(data) == field


def with_tensors(*tensors: Tensor) -> bytes:
    return make_gguf(tiny_fields(), tensors)


ALL = 2**32 - 1
ROW = Tensor("a")  # 32 floats
TENSORS: list[tuple[str, bytes, str]] = [
    ("an empty name", with_tensors(Tensor("")), "name of tensor 0"),
    ("a name that is not UTF-8", with_tensors(Tensor(b"\xff")), "name of tensor 0"),
    ("a name of 64 bytes", with_tensors(Tensor("n" * 64)), "tensor name"),
    ("a duplicate name", with_tensors(ROW, ROW), "name of tensor a"),
    ("5 dimensions", with_tensors(Tensor("a", dimensions=5)), "dimensions of tensor a"),
    ("2^32-1 dimensions", with_tensors(Tensor("a", dimensions=ALL)), "dimensions of tensor a"),
    ("a dimension of 0", with_tensors(Tensor("a", (32, 0))), "shape of tensor a"),
    ("a product of 2^64", with_tensors(Tensor("a", (2**32, 2**32))), "shape of tensor a"),
    ("a negative dimension", with_tensors(Tensor("a", (2**64 - 1,))), "shape of tensor a"),
    ("too many bytes", with_tensors(Tensor("a", (2**62,))), "shape of tensor a"),
    ("an unknown type", with_tensors(Tensor("a", type=43)), "type of tensor a"),
    ("a removed type", with_tensors(Tensor("a", type=31)), "type of tensor a"),
    ("type 2^32-1", with_tensors(Tensor("a", type=2**32 - 1)), "type of tensor a"),
    ("half a block a row", with_tensors(Tensor("a", (33,), TENSOR_Q4_0)), "shape of tensor a"),
    ("an unaligned offset", with_tensors(ROW, Tensor("b", offset=129)), "offset of tensor b"),
    ("an overlap", with_tensors(ROW, Tensor("b", offset=96)), "offset of tensor b"),
    ("a gap", with_tensors(ROW, Tensor("b", offset=160)), "offset of tensor b"),
    ("an offset of 2^64-32", with_tensors(Tensor("a", offset=2**64 - 32)), "offset of tensor a"),
    ("data past the end", with_tensors(ROW)[:-1], "offset of tensor a"),
    ("1 TB of data", with_tensors(Tensor("a", (2**38,))), "offset of tensor a"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "field"), [t[1:] for t in TENSORS], ids=[t[0] for t in TENSORS])
def test_hostile_tensors_are_refused_by_the_name_of_their_field(data: bytes, field: str) -> None:
    assert field_at_fault(data) == field


def test_tensor_infos_cut_short_are_refused() -> None:
    data = make_gguf(tiny_fields(), tiny_tensors())
    name = data.index(b"output_norm")
    assert field_at_fault(data[: name + 10]) == "tensor name"
    assert field_at_fault(data[: name + 20]) == "output_norm.weight"


def test_a_scalar_tensor_has_one_element() -> None:
    data = with_tensors(Tensor("a", (), data=b"\0\0\0\0"))
    assert read_header(data, len(data)).tensors[0].elements == 1


def test_a_larger_alignment_is_obeyed() -> None:
    fields = {**tiny_fields(), "general.alignment": (U32, 64)}
    data = make_gguf(fields, [ROW, Tensor("b")], alignment=64)
    gguf = read_header(data, len(data))
    assert gguf.data_offset % 64 == 0
    assert [tensor.offset for tensor in gguf.tensors] == [0, 128]


def test_a_header_beyond_the_view_asks_for_more_bytes() -> None:
    data = tiny_model()
    header_end = read_header(data, len(data)).data_offset
    for length in range(4, header_end - 32, 7):
        with pytest.raises(HeaderCutOff):
            read_header(data[:length], len(data))
    assert read_header(data[:header_end], len(data)).architecture == "llama"


def test_a_count_is_compared_with_the_file_and_not_with_the_view() -> None:
    data = make_gguf({**tiny_fields(), "x": (ARR, array(STR, 2**20))})
    assert "runs past the end" in str(refusal(data))
    with pytest.raises(HeaderCutOff):
        read_header(data, 16 * 1024 * 1024)


def test_a_header_beyond_the_limit_is_refused_without_reading_it() -> None:
    data = with_field("x", STR, Raw(struct.pack("<Q", MAX_HEADER_BYTES)))
    with pytest.raises(RunnerError, match="runs past the end") as caught:
        read_header(data, 2**40)
    assert not isinstance(caught.value, HeaderCutOff)


def test_a_hostile_name_cannot_write_into_a_log() -> None:
    error = refusal(with_field("a\n\x1b[31m\u202e" + "b" * 1000, 13, Raw(b"")))
    assert error.message.isascii()
    assert "\n" not in error.message
    assert len(error.message) < 700


@pytest.mark.parametrize("data", [m[1] for m in METADATA + TENSORS])
def test_a_refusal_takes_milliseconds(data: bytes) -> None:
    start = time.process_time()
    refusal(data)
    assert time.process_time() - start < 0.1
