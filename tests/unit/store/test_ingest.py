from __future__ import annotations

import errno
import fcntl
import os
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest
from runner.store import ingest
from runner.store.blobs import check_blob, is_present, read_blob
from runner.store.ingest import Placement, commit, ingest_bytes, ingest_file
from runner.store.layout import Layout, open_new
from runner.store.loans import read_loan
from runner.store.source import Identity, Measured, measure, open_source

CONTENT = b"model" * 1000
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def nothing(size: int) -> None:
    pass


def add(layout: Layout, path: Path) -> Placement:
    with open_source(path) as source:
        return ingest_file(layout, source, measure(source, nothing), on_copy=nothing)


def temporary_files(layout: Layout) -> list[Path]:
    return list(layout.ingest.iterdir())


def test_a_file_is_linked_when_it_can_be(layout: Layout, file: Path) -> None:
    assert add(layout, file) is Placement.LINKED
    assert layout.blob(DIGEST).samefile(file)
    assert temporary_files(layout) == []
    loan = read_loan(layout, DIGEST)
    assert loan is not None
    assert (loan.mtime_ns, loan.source) == (file.stat().st_mtime_ns, str(file))


def test_a_file_that_is_there_is_not_stored_again(layout: Layout, file: Path) -> None:
    add(layout, file)
    assert add(layout, file) is Placement.PRESENT


def test_a_file_that_anybody_may_write_is_copied(layout: Layout, file: Path) -> None:
    file.chmod(0o666)
    copied: list[int] = []
    with open_source(file) as source:
        placement = ingest_file(layout, source, measure(source, nothing), on_copy=copied.append)
    assert placement is Placement.COPIED
    assert sum(copied) == len(CONTENT)
    blob = layout.blob(DIGEST)
    assert not blob.samefile(file)
    assert blob.read_bytes() == CONTENT
    assert blob.stat().st_mode & 0o777 == 0o600
    assert read_loan(layout, DIGEST) is None


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def link(source: Any, target: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_without_hard_links_a_file_is_copied(
    layout: Layout, file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_links(monkeypatch, number)
    assert add(layout, file) in (Placement.COPIED, Placement.CLONED)
    assert layout.blob(DIGEST).read_bytes() == CONTENT


def test_a_reflink_is_preferred_to_a_copy(
    layout: Layout, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(target: int, request: int, source: int) -> int:
        assert request == ingest.FICLONE
        os.pwrite(target, os.pread(source, 1 << 20, 0), 0)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    refuse_links(monkeypatch, errno.EXDEV)
    assert add(layout, file) is Placement.CLONED
    assert layout.blob(DIGEST).read_bytes() == CONTENT
    assert read_loan(layout, DIGEST) is None


def test_a_path_taken_by_another_file_since_is_not_linked(layout: Layout, file: Path) -> None:
    with open_source(file) as source:
        measured = measure(source, nothing)
        file.unlink()
        file.write_bytes(b"another")
        assert ingest_file(layout, source, measured, on_copy=nothing) is Placement.COPIED
    assert layout.blob(DIGEST).read_bytes() == CONTENT


def test_a_file_that_changed_since_it_was_measured_gets_no_name(layout: Layout, file: Path) -> None:
    file.chmod(0o666)
    with open_source(file) as source:
        measured = measure(source, nothing)
        file.write_bytes(CONTENT[:-1] + b"!")
        with pytest.raises(RunnerError) as caught:
            ingest_file(layout, source, measured, on_copy=nothing)
    assert caught.value.kind is Kind.INTEGRITY
    assert not layout.blob(DIGEST).exists()
    assert temporary_files(layout) == []


def test_a_copy_that_does_not_fit_is_not_begun(
    layout: Layout, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.chmod(0o666)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=3, f_frsize=1000))
    with pytest.raises(RunnerError) as caught:
        add(layout, file)
    assert caught.value.kind is Kind.DISK_FULL
    assert caught.value.details == {
        "need_bytes": len(CONTENT) + 16 * 1024 * 1024,
        "have_bytes": 3000,
    }
    assert temporary_files(layout) == []


class FullDisk(BytesIO):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()

    def write(self, data: Any) -> int:
        self._file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_becomes_full_leaves_no_partial_file(
    layout: Layout, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.chmod(0o666)
    monkeypatch.setattr(ingest, "open_new", lambda path: FullDisk(open_new(path)))
    with pytest.raises(OSError, match="No space left"):
        add(layout, file)
    assert temporary_files(layout) == []
    assert not layout.blob(DIGEST).exists()


def test_bytes_are_stored_once(layout: Layout) -> None:
    measured = ingest_bytes(layout, b"{}")
    assert measured == Measured(Digest.of(b"{}"), 2)
    blob = layout.blob(measured.digest)
    before = Identity.of(blob.stat())
    ingest_bytes(layout, b"{}")
    assert Identity.of(blob.stat()) == before
    assert blob.stat().st_mode & 0o777 == 0o600
    assert temporary_files(layout) == []


@pytest.mark.parametrize(
    ("digest", "size"), [(Digest.of(b"other"), 3), (Digest.of(b"abc"), 4), (Digest.of(b""), 0)]
)
def test_what_is_not_as_expected_gets_no_name(layout: Layout, digest: Digest, size: int) -> None:
    temporary = layout.temporary()
    temporary.write_bytes(b"abc")
    expected, got = Measured(digest, size), Measured(Digest.of(b"abc"), 3)
    with pytest.raises(RunnerError, match="expected sha256:") as caught:
        commit(layout, temporary, expected=expected, got=got)
    assert caught.value.kind is Kind.INTEGRITY
    assert not layout.blob(digest).exists()


def test_a_broken_blob_is_replaced_when_its_file_is_added_again(layout: Layout, file: Path) -> None:
    blob = layout.blob(DIGEST)
    for damage in (b"short", b"!" + CONTENT[1:]):
        add(layout, file)
        blob.write_bytes(damage)  # the user's file too: they are one
        file.unlink()
        file.write_bytes(CONTENT)
        assert add(layout, file) is Placement.LINKED
        assert blob.read_bytes() == CONTENT


def check(layout: Layout) -> None:
    check_blob(layout, DIGEST, len(CONTENT))


def test_a_linked_file_changed_in_place_is_noticed(layout: Layout, file: Path) -> None:
    add(layout, file)
    check(layout)
    with file.open("r+b") as writer:
        writer.write(b"!")
    os.utime(file, ns=(0, 1))
    with pytest.raises(RunnerError) as caught:
        check(layout)
    assert caught.value.kind is Kind.INTEGRITY
    assert str(file) in caught.value.message
    assert caught.value.hint is not None
    assert "pull or add the model again" in caught.value.hint


def test_a_linked_file_that_was_only_touched_is_hashed_once_and_trusted_again(
    layout: Layout, file: Path
) -> None:
    add(layout, file)
    os.utime(file, ns=(0, 12345))
    check(layout)
    loan = read_loan(layout, DIGEST)
    assert loan is not None
    assert (loan.mtime_ns, loan.source) == (12345, str(file))


def test_a_linked_file_cut_short_is_noticed(layout: Layout, file: Path) -> None:
    add(layout, file)
    os.truncate(file, 10)
    with pytest.raises(RunnerError, match="was changed in"):
        check(layout)


def test_replacing_or_deleting_the_linked_file_does_not_matter(layout: Layout, file: Path) -> None:
    add(layout, file)
    file.unlink()
    check(layout)
    file.write_bytes(b"another model")
    check(layout)


@pytest.mark.parametrize("record", [b"", b"[]", b'{"mtime_ns":"x"}', b"\xff"])
def test_a_damaged_record_only_costs_a_hash(layout: Layout, file: Path, record: bytes) -> None:
    add(layout, file)
    layout.loan(DIGEST).write_bytes(record)
    check(layout)
    loan = read_loan(layout, DIGEST)
    assert loan is not None
    assert loan.mtime_ns == file.stat().st_mtime_ns


def test_a_blob_of_our_own_is_checked_by_its_size(layout: Layout) -> None:
    measured = ingest_bytes(layout, b"abc")
    descriptor = Descriptor("x/y", *measured)
    assert is_present(layout, descriptor)
    assert read_blob(layout, descriptor, limit_bytes=3) == b"abc"
    with pytest.raises(RunnerError, match="larger than 2"):
        read_blob(layout, descriptor, limit_bytes=2)
    layout.blob(measured.digest).write_bytes(b"abcd")
    assert not is_present(layout, descriptor)
    for attempt in (
        lambda: check_blob(layout, *measured),
        lambda: read_blob(layout, descriptor, limit_bytes=9),
    ):
        with pytest.raises(RunnerError) as caught:
            attempt()
        assert caught.value.kind is Kind.INTEGRITY


def test_a_small_blob_is_verified_whenever_it_is_read(layout: Layout) -> None:
    measured = ingest_bytes(layout, b"abc")
    layout.blob(measured.digest).write_bytes(b"abd")
    with pytest.raises(RunnerError, match="is damaged"):
        read_blob(layout, Descriptor("x/y", *measured), limit_bytes=9)


def test_a_blob_that_is_missing_or_no_file_is_broken(layout: Layout) -> None:
    with pytest.raises(RunnerError, match="is missing"):
        check(layout)
    with pytest.raises(RunnerError, match="is missing"):
        read_blob(layout, Descriptor("x/y", DIGEST, 1), limit_bytes=9)
    layout.blob(DIGEST).symlink_to("/etc/passwd")
    with pytest.raises(RunnerError, match="not a regular file"):
        check(layout)
    assert not is_present(layout, Descriptor("x/y", DIGEST, 1))
