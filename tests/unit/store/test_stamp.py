from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.store.stamp import stamp


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old"
    path.write_bytes(b"abc")
    os.utime(path, (0, 0))
    return path


def test_a_file_that_nobody_touches_keeps_its_stamp(old: Path) -> None:
    assert stamp(old) == stamp(old) == (old.stat().st_ino, 3, 0)


def test_another_time_another_size_and_another_file_have_other_stamps(old: Path) -> None:
    first = stamp(old)
    os.utime(old, (1, 1))
    second = stamp(old)
    old.write_bytes(b"abcd")
    os.utime(old, (0, 0))
    third = stamp(old)
    other = old.with_name("other")
    other.write_bytes(b"abc")
    os.utime(other, (0, 0))
    assert len({first, second, third, stamp(other)}) == 4


def test_nothing_vouches_for_a_file_that_has_just_changed(old: Path) -> None:
    old.write_bytes(b"abc")
    assert stamp(old) is None


def test_what_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    assert stamp(tmp_path / "none") is None
