"""The index on disk is parsed when it has changed, whoever changed it."""

from __future__ import annotations

import os
from pathlib import Path

from runner.oci import Descriptor, Digest, media
from runner.store import Store
from runner.store.index import Entry, Index
from runner.store.indexfile import IndexFile
from runner.store.layout import Layout

A = Descriptor(media.MANIFEST, Digest("sha256", "a" * 64), 10)
X = "docker.io/ai/x:latest"


def test_an_index_that_did_not_change_is_not_parsed_again(tmp_path: Path) -> None:
    Store(tmp_path)
    os.utime(tmp_path / "index.json", (0, 0))
    file = IndexFile(Layout(tmp_path), is_writable=True)
    assert file.read() is file.read()


def test_what_another_process_changed_is_seen_at_once(tmp_path: Path) -> None:
    Store(tmp_path)
    mine, other = (IndexFile(Layout(tmp_path), is_writable=True) for _ in range(2))
    assert mine.read() == Index()
    with other.changing() as draft:
        draft.save(draft.index.with_model(A, X))
    assert mine.read().entries == (Entry(A, (X,)),)


def test_an_index_written_in_place_by_another_tool_is_seen(tmp_path: Path) -> None:
    Store(tmp_path)
    os.utime(tmp_path / "index.json", (0, 0))
    file = IndexFile(Layout(tmp_path), is_writable=True)
    assert file.read() == Index()
    (tmp_path / "index.json").write_bytes(Index((Entry(A, (X,)),)).render())
    assert file.read().tagged(X) == Entry(A, (X,))
