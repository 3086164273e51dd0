from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest
from runner.store.ingest import ingest_bytes
from runner.store.layout import Layout
from runner.store.opening import open_layout
from runner.store.reading import PIECE_BYTES, open_blob

DATA = bytes(range(256)) * (PIECE_BYTES // 256 * 2) + b"end"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "store")
    open_layout(layout)
    return layout


def store(layout: Layout, data: bytes) -> Descriptor:
    return Descriptor("text/plain", ingest_bytes(layout, data).digest, len(data))


@pytest.mark.parametrize(("start", "stop"), [(0, len(DATA)), (5, PIECE_BYTES + 7), (9, 9)])
def test_parts_are_read_in_pieces(layout: Layout, start: int, stop: int) -> None:
    with open_blob(layout, store(layout, DATA)) as read:
        pieces = list(read(start, stop))
    assert b"".join(pieces) == DATA[start:stop]
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)


def test_a_blob_that_is_deleted_stays_readable(layout: Layout) -> None:
    blob = store(layout, DATA)
    with open_blob(layout, blob) as read:
        layout.blob(blob.digest).unlink()
        assert b"".join(read(0, len(DATA))) == DATA


def test_a_missing_blob_and_one_of_another_size_are_refused(layout: Layout) -> None:
    blob = store(layout, DATA)
    larger = Descriptor("text/plain", blob.digest, blob.size_bytes + 1)
    absent = Descriptor("text/plain", Digest.of(b"other"), 5)
    for wrong in (larger, absent):
        with pytest.raises(RunnerError) as caught, open_blob(layout, wrong):
            pass
        assert caught.value.kind is Kind.INTEGRITY


def test_a_blob_that_is_cut_while_it_is_read_is_told(layout: Layout) -> None:
    blob = store(layout, DATA)
    with open_blob(layout, blob) as read:
        layout.blob(blob.digest).write_bytes(DATA[:10])
        with pytest.raises(RunnerError, match=f"ends at byte 10 of {len(DATA)}") as caught:
            list(read(0, len(DATA)))
    assert caught.value.kind is Kind.INTEGRITY
