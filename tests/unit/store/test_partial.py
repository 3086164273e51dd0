from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest
from runner.store import Measured
from runner.store.layout import Layout
from runner.store.partial import Partial, arrived_bytes, open_partial, parse_journal

DATA = b"aaaabbbbcc"
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))
GOT = Measured(BLOB.digest, len(DATA))


def begin(layout: Layout, block_bytes: int = 4) -> Partial:
    partial = open_partial(layout, BLOB, block_bytes=block_bytes)
    assert partial is not None
    return partial


def put(partial: Partial, index: int) -> None:
    block = DATA[index * 4 : index * 4 + 4]
    assert partial.write(block, index * 4)
    partial.settle(index, zlib.crc32(block))


def test_blocks_written_in_any_order_become_a_blob(layout: Layout) -> None:
    with begin(layout) as partial:
        assert [partial.block_size(index) for index in range(partial.block_count)] == [4, 4, 2]
        for index in (2, 0, 1):
            put(partial, index)
        assert [partial.read(index) for index in range(3)] == [b"aaaa", b"bbbb", b"cc"]
        partial.finish(GOT)
    assert layout.blob(BLOB.digest).read_bytes() == DATA
    assert list(layout.partials.iterdir()) == []


def test_what_was_written_is_there_for_the_next_attempt(layout: Layout) -> None:
    with begin(layout) as partial:
        put(partial, 1)
        partial.write(b"aa", 0)
    assert arrived_bytes(layout, BLOB) == 4
    with begin(layout) as partial:
        assert partial.inherited == {1: zlib.crc32(b"bbbb")}
        assert partial.vouches_for(1, b"bbbb")


def test_a_block_that_is_not_what_was_written_is_not_vouched_for(layout: Layout) -> None:
    with begin(layout) as partial:
        put(partial, 1)
    for damaged in (b"bbbx", b"bb", b""):
        with begin(layout) as partial:
            assert not partial.vouches_for(1, damaged)
            assert partial.vouches_for(1, b"BBBB")  # fetched again: its digest decides


def test_only_one_works_on_it(layout: Layout) -> None:
    with begin(layout):
        assert open_partial(layout, BLOB, block_bytes=4) is None
    begin(layout).close()


def test_a_late_thread_writes_nothing(layout: Layout) -> None:
    partial = begin(layout)
    put(partial, 0)
    partial.close()
    partial.close()
    assert not partial.write(b"xxxx", 0)
    partial.settle(1, 0)
    with begin(layout) as again:
        assert list(again.inherited) == [0]
        assert again.read(0) == b"aaaa"


@pytest.mark.parametrize("block_bytes", [4, 5])
def test_blocks_of_another_size_begin_anew(layout: Layout, block_bytes: int) -> None:
    with begin(layout) as partial:
        put(partial, 0)
    with begin(layout, block_bytes) as partial:
        assert len(partial.inherited) == (block_bytes == 4)


def test_a_line_that_a_crash_cut_off_spoils_no_other(layout: Layout) -> None:
    with begin(layout) as partial:
        put(partial, 0)
    with layout.journal(BLOB.digest).open("ab") as file:
        file.write(b"1 3f")
    with begin(layout) as partial:
        put(partial, 2)
    with begin(layout) as partial:
        assert sorted(partial.inherited) == [0, 2]


def test_bytes_that_are_not_the_blob_do_not_become_it(layout: Layout) -> None:
    with begin(layout) as partial:
        for index in range(3):
            put(partial, index)
        with pytest.raises(RunnerError) as caught:
            partial.finish(Measured(Digest.of(b"else"), len(DATA)))
    assert caught.value.kind is Kind.INTEGRITY
    assert not layout.blob(BLOB.digest).exists()
    assert arrived_bytes(layout, BLOB) == len(DATA)


def test_it_can_be_forgotten_and_discarded(layout: Layout) -> None:
    with begin(layout) as partial:
        put(partial, 0)
        partial.forget()
        put(partial, 1)
    with begin(layout) as partial:
        assert list(partial.inherited) == [1]
        partial.discard()
    assert list(layout.partials.iterdir()) == []
    assert arrived_bytes(layout, BLOB) == 0


@given(st.binary(max_size=200), st.integers(0, 50))
def test_any_journal_can_be_read(raw: bytes, block_count: int) -> None:
    assert all(0 <= index < block_count for index in parse_journal(raw, block_count))


@given(st.dictionaries(st.integers(0, 99), st.integers(0, 2**32 - 1)), st.data())
def test_a_journal_says_what_was_noted_up_to_where_it_was_cut(
    blocks: dict[int, int], data: st.DataObject
) -> None:
    raw = b"head\n" + b"".join(f"{index} {crc:08x}\n".encode() for index, crc in blocks.items())
    assert parse_journal(raw, 100) == blocks
    cut = parse_journal(raw[: data.draw(st.integers(0, len(raw)))], 100)
    assert cut.items() <= blocks.items()
