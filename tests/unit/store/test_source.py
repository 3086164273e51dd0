from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.store.source import Measured, check_not_hollow, measure, open_source


def make_fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def make_loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def make_dangling(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path


def make_nothing(path: Path) -> Path:
    return path


def name_below_a_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path / "x"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_fifo, "is a FIFO, not a regular file"),
        (make_folder, "is a folder, not a regular file"),
        (make_loop, "leads nowhere"),
        (make_dangling, "does not exist"),
        (make_nothing, "does not exist"),
        (name_below_a_file, "does not exist"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_only_regular_files_are_opened(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path / "x")
    with pytest.raises(RunnerError) as caught, open_source(path):
        pass
    assert caught.value.kind is Kind.USAGE
    assert caught.value.message.startswith(str(path))
    assert words in caught.value.message


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_are_refused(device: str) -> None:
    words = "is a device, not a regular file"
    with pytest.raises(RunnerError, match=words), open_source(Path(device)):
        pass


def test_sockets_are_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        with pytest.raises(RunnerError, match="socket"), open_source(Path(folder, "s")):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch(mode=0)
    with pytest.raises(RunnerError, match="may not be read"), open_source(path):
        pass


def test_a_link_that_the_user_names_is_followed_to_the_real_file(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"abc")
    link.symlink_to("real")
    with open_source(link) as source:
        assert source.path == real
        assert b"".join(source.chunks()) == b"abc"


def test_a_file_is_measured_while_it_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1_000_000)
    heard: list[int] = []
    with open_source(path) as source:
        assert measure(source, heard.append) == Measured(Digest.of(b"abc" * 1_000_000), 3_000_000)
        assert source.head(5) == b"abcab"
        assert len(source.head(10**9)) == 3_000_000
    assert sum(heard) == 3_000_000


def test_a_file_that_changes_while_it_is_measured_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")

    def grow(size: int) -> None:
        if path.stat().st_size < 10:
            with path.open("ab") as file:
                file.write(b"more" * size)

    with open_source(path) as source, pytest.raises(RunnerError) as caught:
        measure(source, grow)
    assert caught.value.kind is Kind.INTEGRITY


def test_a_file_that_is_mostly_a_hole_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(10 * 2**40)
    with open_source(path) as source, pytest.raises(RunnerError, match="is a hole") as caught:
        check_not_hollow(source)
    assert caught.value.kind is Kind.USAGE


def test_a_file_with_a_small_hole_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(b"x" * 65536)
        file.seek(16384, os.SEEK_CUR)
        file.write(b"x" * 65536)
    with open_source(path) as source:
        check_not_hollow(source)
