"""Tar archives as streams: entries in, entries out, nothing but regular files and folders. Pure.

Own code and not ``tarfile``, which reads extended headers of any size into memory and takes links
for files. Sources: POSIX.1-2001 (ustar and pax); GNU tar for its long names and sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.errors import Kind, RunnerError

BLOCK_BYTES = 512
PIECE_BYTES = 1024 * 1024
MAX_ENTRIES = 20_000
MAX_EXTENSION_BYTES = 64 * 1024  # of a pax header or a long name
MAX_SIZE_BYTES = 2**63 - 1
MAX_OCTAL_BYTES = 8**11 - 1  # what eleven octal digits hold
MAX_TAIL_BYTES = 1024 * 1024  # after the end: tar fills its last record

END = bytes(2 * BLOCK_BYTES)

Read = Callable[[int], bytes]  # at most so many bytes; none at the end

_FILES, _FOLDER, _LINKS = (b"0", b"\0", b"7"), b"5", (b"1", b"2")
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")  # gzip, zstd, xz
_PAX, _PAX_GLOBAL, _GNU_NAME = b"x", b"g", b"L"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive."""

    name: str
    size_bytes: int


def read_entries(read: Read) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield the files of an archive with their bytes; what of these is not taken is skipped.

    Raises RunnerError(INVALID_MODEL) for an archive that is cut off or damaged, has links or
    devices, or entries without number.
    """
    stream = _Stream(read)
    name, size_bytes = None, None  # as an extended header says of the next entry
    for _ in range(MAX_ENTRIES):
        header = _parse_header(stream.block())
        if header is None:
            stream.drain()
            return
        if header.kind in (_PAX, _PAX_GLOBAL, _GNU_NAME):
            extension = stream.extension(header.size_bytes)
            if header.kind == _PAX:
                name, size_bytes = _parse_pax(extension)
            elif header.kind == _GNU_NAME:
                name = _text(extension.rstrip(b"\0"))
            continue
        entry = Entry(name or header.name, header.size_bytes if size_bytes is None else size_bytes)
        name, size_bytes = None, None
        pieces = stream.pieces(entry.size_bytes)
        if header.kind in _FILES and not entry.name.endswith("/"):
            yield entry, pieces
        elif header.kind not in (_FOLDER, *_FILES):
            what = "a link" if header.kind in _LINKS else "neither file nor folder"
            raise refuse(f"{entry.name[:120]!a} is {what}")
        for _ in pieces:
            pass
    raise refuse(f"it has more than {MAX_ENTRIES} entries")


def file_head(name: str, size_bytes: int) -> bytes:
    """Render what comes before a file's bytes: the same for the same name and size."""
    if size_bytes <= MAX_OCTAL_BYTES:
        return _render_header(name, size_bytes, _FILES[0])
    record = _render_pax("size", str(size_bytes))
    extension = _render_header("pax", len(record), _PAX) + record + padding(len(record))
    return extension + _render_header(name, 0, _FILES[0])


def folder_head(name: str) -> bytes:
    """Render a folder's entry."""
    return _render_header(f"{name}/", 0, _FOLDER)


def padding(size_bytes: int) -> bytes:
    """Return what comes after a file's bytes."""
    return bytes(-size_bytes % BLOCK_BYTES)


def refuse(problem: str) -> RunnerError:
    """Build the refusal of an archive."""
    return RunnerError(
        Kind.INVALID_MODEL,
        f"not an archive of a model: {problem}",
        hint="load what `runner save`, `docker model` or `skopeo copy … oci-archive:FILE` wrote",
    )


class _Stream:
    """What is read in order, and never twice."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def block(self) -> bytes:
        """Read the next header; empty at the end of the stream."""
        first = self._read(BLOCK_BYTES)
        return first + self._exactly(BLOCK_BYTES - len(first)) if first else b""

    def pieces(self, size_bytes: int) -> Iterator[bytes]:
        """Yield an entry's bytes, and leave its padding behind."""
        left = size_bytes
        while left:
            piece = self._read(min(PIECE_BYTES, left))
            if not piece:
                raise refuse("it is cut off")
            left -= len(piece)
            yield piece
        self._exactly(len(padding(size_bytes)))

    def extension(self, size_bytes: int) -> bytes:
        """Read the body of an extended header."""
        if size_bytes > MAX_EXTENSION_BYTES:
            raise refuse(f"an extended header has {size_bytes} bytes")
        return b"".join(self.pieces(size_bytes))

    def drain(self) -> None:
        """Read the rest of the last record, so that who writes it may finish."""
        left = MAX_TAIL_BYTES
        while left and (piece := self._read(left)):
            left -= len(piece)

    def _exactly(self, size_bytes: int) -> bytes:
        data = b""
        while len(data) < size_bytes:
            piece = self._read(size_bytes - len(data))
            if not piece:
                raise refuse("it is cut off")
            data += piece
        return data


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    size_bytes: int
    kind: bytes


def _parse_header(block: bytes) -> _Header | None:
    """Parse a block; None for an empty one, which ends an archive."""
    if not block.strip(b"\0"):
        return None
    if block.startswith(_COMPRESSED):
        raise refuse("it is compressed; unpack it first, as in `gzip -dc FILE | runner load`")
    if _number(block[148:156]) != _checksum(block):
        raise refuse("it is no tar archive, or damaged")
    parts = [block[:100]]
    if block[257:263] == b"ustar\0":
        parts.insert(0, block[345:500])
    name = b"/".join(filter(None, (part.partition(b"\0")[0] for part in parts)))
    return _Header(_text(name), _number(block[124:136]), block[156:157])


def _checksum(block: bytes) -> int:
    return sum(block[:148]) + 8 * ord(" ") + sum(block[156:])


def _number(field: bytes) -> int:
    """Parse an octal number, or GNU's binary one."""
    if field[0] == 0x80:
        return _in_range(int.from_bytes(field[1:], "big"))
    try:
        return _in_range(int(field.strip(b" \0") or b"0", 8))
    except ValueError as error:
        raise refuse("it is no tar archive, or damaged") from error


def _in_range(number: int) -> int:
    if not 0 <= number <= MAX_SIZE_BYTES:
        raise refuse("an entry's size is out of range")
    return number


def _parse_pax(data: bytes) -> tuple[str | None, int | None]:
    """Return the name and size that a pax header gives; what else it says is of no use here."""
    name, size_bytes = None, None
    while data:
        digits = data.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = data[len(digits) + 1 : length]
        if not record.endswith(b"\n"):
            raise refuse("an extended header is damaged")
        key, _, value = record[:-1].partition(b"=")
        if key == b"path":
            name = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 19:
                raise refuse("an entry's size is out of range")
            size_bytes = _in_range(int(value))
        elif key.startswith(b"GNU.sparse"):
            raise refuse("it has files with holes")
        data = data[length:]
    return name, size_bytes


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _render_header(name: str, size_bytes: int, kind: bytes) -> bytes:
    mode = 0o755 if kind == _FOLDER else 0o644
    block = b"".join(
        (
            name.encode("ascii").ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % 0 + b"%07o\0" % 0,  # owner and group
            b"%011o\0" % size_bytes + b"%011o\0" % 0,  # and time of the last change
            b" " * 8,
            kind.ljust(101, b"\0"),
            b"ustar\x0000".ljust(BLOCK_BYTES - 257, b"\0"),
        )
    )
    assert len(block) == BLOCK_BYTES
    return block[:148] + b"%06o\0 " % _checksum(block) + block[156:]


def _render_pax(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode("ascii")
    length = len(rest) + len(str(len(rest) + 2))  # of records of two digits
    return str(length).encode("ascii") + rest
