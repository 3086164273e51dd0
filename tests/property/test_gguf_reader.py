"""Any bytes give a header or one kind of refusal, and what is accepted keeps its promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.gguf import Gguf, HeaderCutOff, describe, read_header
from tests.support.gguf_maker import U32, make_gguf, tiny_fields, tiny_model, tiny_shards

SOUND = [
    tiny_model(),
    tiny_shards(2)[0],
    tiny_shards(2)[1],
    make_gguf(tiny_fields()),
    make_gguf({**tiny_fields(), "general.alignment": (U32, 8)}),
]


def read(data: bytes) -> Gguf | None:
    try:
        gguf = read_header(data, len(data))
    except RunnerError as error:
        assert error.kind is Kind.INVALID_MODEL
        assert error.details["field"]
        assert error.message.isascii()
        assert not isinstance(error, HeaderCutOff)  # the whole file was given
        return None
    check_promises(gguf, len(data))
    return gguf


def check_promises(gguf: Gguf, size: int) -> None:
    facts = describe(gguf)
    assert facts.size_bytes == size
    assert facts.parameters >= 0
    end = 0
    for tensor in gguf.tensors:
        assert tensor.offset >= end
        assert tensor.offset % gguf.alignment == 0
        end = tensor.offset + tensor.size_bytes
        assert gguf.data_offset + end <= size
    assert len({tensor.name for tensor in gguf.tensors}) == len(gguf.tensors)
    for key in gguf.fields:
        array = gguf.array(key)
        if array is not None and array.type.name == "STR":
            assert len(array.strings()) == array.count
        elif array is not None:
            assert len(array.numbers()) == array.count


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    read(data)


@given(st.binary(max_size=300))
def test_any_bytes_after_the_preamble(data: bytes) -> None:
    read(b"GGUF\3\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0" + data)


@given(
    st.sampled_from(SOUND),
    st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_sound_file_with_some_bytes_changed(sound: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(sound)
    for position, value in changes:
        data[position % len(data)] = value
    read(bytes(data))


INTERESTING = [0, 1, 2**7, 2**8, 2**15, 2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


@given(st.sampled_from(SOUND), st.integers(0, 1500), st.sampled_from(INTERESTING))
def test_a_sound_file_with_a_number_replaced(sound: bytes, position: int, number: int) -> None:
    position %= len(sound) - 8
    read(sound[:position] + number.to_bytes(8, "little") + sound[position + 8 :])


@given(st.sampled_from(SOUND), st.integers(0), st.integers(0, 40), st.binary(max_size=40))
def test_a_sound_file_with_bytes_cut_out_and_put_in(
    sound: bytes, position: int, cut: int, put: bytes
) -> None:
    position %= len(sound)
    read(sound[:position] + put + sound[position + cut :])


@given(st.sampled_from(SOUND), st.integers(0))
def test_a_view_of_a_sound_file_is_read_or_too_short(sound: bytes, length: int) -> None:
    whole = read(sound)
    length %= len(sound)
    try:
        assert read_header(sound[:length], len(sound)) == whole
    except HeaderCutOff:
        assert whole is not None
        assert length < whole.data_offset
    except RunnerError as error:
        assert (length < 4, error.kind) == (True, Kind.INVALID_MODEL)
