"""Prefixes on disk: given once, found by their beginning, believed only when nothing is odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.worker.prefix_files import PrefixFiles
from runner.worker.saved import SavedText

MINE, OTHER = b"m" * 32, b"o" * 32
A = tuple(range(100, 164))
B = tuple(range(200, 264))
ENDLESS_S = float("inf")


def saved(tokens: tuple[int, ...], *, size_bytes: int = 1000) -> SavedText:
    return SavedText(tokens, np.full(size_bytes, tokens[-1] % 251, np.uint8))


def files(folder: Path, *, fingerprint: bytes = MINE, limit_bytes: int = 10**6) -> PrefixFiles:
    return PrefixFiles(folder, fingerprint=fingerprint, limit_bytes=limit_bytes)


def keep(folder: Path, *texts: SavedText, limit_bytes: int = 10**6) -> None:
    files(folder, limit_bytes=limit_bytes).keep(texts, until_s=ENDLESS_S)


def fetched(folder: Path, tokens: tuple[int, ...]) -> tuple[int, ...] | None:
    text = files(folder).fetch(tokens)
    return None if text is None else text.tokens


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert fetched(tmp_path / "none", A) is None


def test_what_was_kept_is_found_by_its_beginning_and_given_once(tmp_path: Path) -> None:
    keep(tmp_path, saved(A), saved(B))
    kept = files(tmp_path)
    text = kept.fetch((*A[:40], 1, 2))
    assert text is not None
    assert (text.tokens, text.state.tobytes()) == (A, saved(A).state.tobytes())
    assert kept.fetch(A) is None
    assert kept.fetch((*B[:31], 1)) is None  # too little to be worth a file's reading
    assert kept.fetch(B) is not None


def test_the_folder_and_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    keep(folder, saved(A))
    [file] = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_beginning_of_another_text_is_not_kept_beside_it(tmp_path: Path) -> None:
    keep(tmp_path, saved(A[:50]))
    keep(tmp_path, saved(A), saved(A[:40]))
    assert len(list(tmp_path.iterdir())) == 1
    assert fetched(tmp_path, A) == A


def test_what_another_model_or_library_wrote_is_deleted(tmp_path: Path) -> None:
    keep(tmp_path, saved(A))
    assert files(tmp_path, fingerprint=OTHER).fetch(A) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [0, 8, 13, 20, 60, 300, -1])
def test_a_damaged_file_is_ignored_and_deleted(tmp_path: Path, at: int) -> None:
    keep(tmp_path, saved(A))
    [file] = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert fetched(tmp_path, A) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [0, 10, 80, 300, 1000])
def test_a_cut_file_is_ignored_and_deleted(tmp_path: Path, length: int) -> None:
    keep(tmp_path, saved(A))
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:length])
    assert fetched(tmp_path, A) is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_half_written_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "x.partial").write_bytes(b"RNPREFIX")
    assert fetched(tmp_path, A) is None
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_give_way_to_the_limit(tmp_path: Path) -> None:
    keep(tmp_path, saved(A))
    keep(tmp_path, saved(B), limit_bytes=2000)
    assert fetched(tmp_path, B) == B
    assert fetched(tmp_path, A) is None
    keep(tmp_path, saved(A, size_bytes=5000), limit_bytes=2000)
    assert fetched(tmp_path, A) is None


def test_nothing_is_begun_after_the_time(tmp_path: Path) -> None:
    files(tmp_path).keep([saved(A)], until_s=0.0)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_cut_is_kept_beside_its_beginnings_and_found_as_a_whole(
    tmp_path: Path,
) -> None:
    def whole() -> PrefixFiles:
        return PrefixFiles(tmp_path, fingerprint=MINE, limit_bytes=10**6, can_cut=False)

    whole().keep([saved(A), saved(A[:40])], until_s=ENDLESS_S)
    kept = whole()
    assert kept.fetch(B) is None
    for prompt, found in ((A, A[:40]), ((*A, 1), A), ((*A, 1), None)):
        text = kept.fetch(prompt)
        assert (None if text is None else text.tokens) == found
