"""Our tar against Python's, and against what no honest tar would write."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.transfer import tar
from runner.transfer.tar import END, Entry, file_head, folder_head, padding, read_entries

Change = Callable[[tarfile.TarInfo], None]


def written(*files: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """What Python's tar writes."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def special(change: Change, form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of one entry that has no bytes."""
    target = io.BytesIO()
    info = tarfile.TarInfo("blobs/sha256/x")
    change(info)
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        archive.addfile(info)
    return target.getvalue()


def read(raw: bytes, *, at_once: int = 10**9) -> list[tuple[str, bytes]]:
    stream = io.BytesIO(raw)
    entries = read_entries(lambda size: stream.read(min(size, at_once)))
    return [(entry.name, b"".join(pieces)) for entry, pieces in entries]


FILES = [("a", b""), ("blobs/sha256/b", b"x" * 512), ("c", b"y" * 1300), ("d" * 99, b"z")]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("at_once", [1, 700, 10**9])
def test_what_others_write_is_read(form: int, at_once: int) -> None:
    assert read(written(*FILES, form=form), at_once=at_once) == FILES


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(form: int) -> None:
    name = "/".join(["folder" * 8] * 4)
    assert read(written((name, b"x"), form=form)) == [(name, b"x")]
    if form != tarfile.USTAR_FORMAT:
        assert read(written(("é" * 200, b"x"), form=form)) == [("é" * 200, b"x")]


def test_what_we_write_is_read_by_others() -> None:
    raw = folder_head("blobs")
    for name, data in FILES:
        raw += file_head(name, len(data)) + data + padding(len(data))
    raw += END
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        folder, *members = archive.getmembers()
        assert folder.isdir() and folder.name == "blobs"
        found = [(m.name, (archive.extractfile(m) or io.BytesIO()).read()) for m in members]
        assert found == FILES
        assert {(m.mode, m.mtime, m.uid) for m in members} == {(0o644, 0, 0)}
    assert read(raw) == FILES


def test_a_file_of_more_than_eight_gibibytes_has_an_extended_header() -> None:
    head = file_head("big", 2**35)
    with tarfile.open(fileobj=io.BytesIO(head)) as archive:
        info = archive.next()
    assert info and (info.name, info.size) == ("big", 2**35)


@pytest.mark.parametrize(
    "form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["binary", "extended"]
)
def test_large_sizes_of_others_are_understood(form: int) -> None:
    info = tarfile.TarInfo("big")
    info.size = 2**35
    stream = io.BytesIO(info.tobuf(form))
    assert next(read_entries(stream.read))[0] == Entry("big", 2**35)


def test_what_is_not_taken_is_skipped() -> None:
    stream = io.BytesIO(written(*FILES))
    entries = read_entries(stream.read)
    assert [next(pieces, b"")[:2] if entry.name == "c" else b"" for entry, pieces in entries] == [
        *(b"", b"", b"yy", b"")
    ]


def of_type(kind: bytes) -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.type = kind
        info.linkname = "/etc/passwd"

    return change


def huge_extension(info: tarfile.TarInfo) -> None:
    info.pax_headers = {"comment": "x" * tar.MAX_EXTENSION_BYTES}


def sparse(info: tarfile.TarInfo) -> None:
    info.pax_headers = {"GNU.sparse.realsize": "99999999"}


def minus_one(info: tarfile.TarInfo) -> None:
    info.pax_headers = {"size": "-1"}


def beyond_all_disks(info: tarfile.TarInfo) -> None:
    info.pax_headers = {"size": "9" * 19}


HOSTILE: list[tuple[str, bytes, str]] = [
    ("a symbolic link", special(of_type(tarfile.SYMTYPE)), "is a link"),
    ("a hard link", special(of_type(tarfile.LNKTYPE)), "is a link"),
    ("a device", special(of_type(tarfile.CHRTYPE)), "neither file nor folder"),
    ("a FIFO", special(of_type(tarfile.FIFOTYPE)), "neither file nor folder"),
    ("an old sparse file", special(of_type(b"S"), tarfile.GNU_FORMAT), "neither file nor folder"),
    ("a sparse file", special(sparse), "files with holes"),
    ("a huge extended header", special(huge_extension), "an extended header has"),
    ("a size below zero", special(minus_one), "size is out of range"),
    ("a size beyond all disks", special(beyond_all_disks), "size is out of range"),
    ("no tar", b"PK\3\4" + bytes(600), "no tar archive"),
    ("gzip", b"\x1f\x8b" * 400, "it is compressed; unpack it first"),
    ("half a header", written(("a", b"x"))[:300], "cut off"),
    ("half a file", written(("a", b"x" * 2000))[:1500], "cut off"),
    ("no padding", written(("a", b"x" * 600))[:1112], "cut off"),
    ("a flipped bit", b"A" + written(("a", b"x"))[1:], "damaged"),
    ("a damaged extension", special(sparse).replace(b" GNU", b"\0GNU", 1), "damaged"),
]


@pytest.mark.parametrize(
    ("raw", "words"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_anything_else_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        read(raw)
    assert caught.value.kind is Kind.INVALID_MODEL


def test_entries_without_number_are_refused() -> None:
    one = written(("a", b""))[:512]
    with pytest.raises(RunnerError, match="more than 20000 entries"):
        read(one * (tar.MAX_ENTRIES + 1))


def test_an_archive_may_end_without_its_empty_blocks() -> None:
    assert read(written(("a", b"x"))[:1024]) == [("a", b"x")]
    assert read(b"") == []


def test_the_last_record_is_read_and_no_more() -> None:
    stream = io.BytesIO(written(("a", b"x")) + bytes(3 * tar.MAX_TAIL_BYTES))
    assert len(list(read_entries(stream.read))) == 1
    assert stream.tell() <= 2 * tar.MAX_TAIL_BYTES


@given(st.binary(max_size=600), st.integers(0, 511), st.integers(0, 255))
def test_any_bytes_are_an_archive_or_are_refused(tail: bytes, at: int, value: int) -> None:
    raw = bytearray(written(("name", b"data"))[:1024] + tail)
    raw[at] = value
    try:
        read(bytes(raw))
    except RunnerError as error:
        assert error.kind is Kind.INVALID_MODEL
