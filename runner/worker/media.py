"""Images and sounds in a conversation: taken out of its messages, and named for the prefix tree."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runner.binding import Code, MediaFile, MediaInfo, Model, NativeError, Parts, Projector
from runner.engine.backend import Span
from runner.errors import Kind, RunnerError
from runner.worker.model_file import check_model_file

MEDIA_TYPES = ("image", "audio")  # of content parts, as ``api`` writes them

Key = tuple[str, int]  # of a file's content, and which of its pieces


@dataclass(frozen=True, slots=True)
class Media:
    """A file of a conversation; ``param`` is what its sender calls it."""

    file: MediaFile
    param: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a prompt that are still to be computed, and where they are in the native parts.

    They are a grid of so many ``columns`` for a model that knows lines and columns; 0: a line.
    """

    span: Span
    part: int
    key: Key
    columns: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """The content of a span: a piece's rows, computed."""

    numbers: NDArray[np.float32]
    columns: int


@dataclass(frozen=True, slots=True)
class Unencoded:
    """The media of one prompt before anybody computed their rows."""

    parts: Parts
    pieces: tuple[Piece, ...]


class Reader(Protocol):
    """The part of ``binding.Projector`` that is used here."""

    def read(self, text: str, files: Sequence[MediaFile]) -> Parts:
        """Take a prompt apart."""
        ...


def take_media(messages: list[dict[str, Any]], marker: str) -> tuple[Media, ...]:
    """Put ``marker`` in the place of each image and sound, and return them in order."""
    found: list[Media] = []
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for part in content:
            if part["type"] in MEDIA_TYPES:
                data = base64.b64decode(part["data"])
                digest = hashlib.sha256(data).hexdigest()
                file = MediaFile(digest, data, is_sound=part["type"] == "audio")
                found.append(Media(file, part["param"]))
                part.clear()
                part.update(type="media_marker", text=marker)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Seeing:
    """What a model needs to take images or sounds. Any thread may call it.

    ``fingerprint`` is the projector's: rows of one and the same file have other names with another.
    ``largest`` is how many rows one step can compute that look at one another.
    """

    reader: Reader
    marker: str
    fingerprint: str
    largest: int
    takes: MediaInfo

    def read(self, text: str, media: Sequence[Media]) -> tuple[list[int], Unencoded]:
        """Turn a rendered prompt into tokens and names of rows.

        Raises RunnerError: INVALID_REQUEST or MODEL_NOT_SUPPORTED, naming the file at fault.
        """
        try:
            parts = self.reader.read(text, [one.file for one in media])
        except NativeError as error:
            raise _refusal(error, media) from error
        tokens: list[int] = []
        pieces: list[Piece] = []
        seen: Counter[str] = Counter()
        for index, part in enumerate(parts.parts):
            if "tokens" in part:
                tokens += part["tokens"]
                continue
            id, rows = part["id"], part["rows"]
            key = (id, seen[id])
            seen[id] += 1
            span = Span(len(tokens), rows, part["is_whole"])
            pieces.append(Piece(span, index, key, part["columns"]))
            tokens += row_names(f"{self.fingerprint}/{id}/{key[1]}", rows)
        self._check(pieces, tokens, media[-1].param)
        return tokens, Unencoded(parts, tuple(pieces))

    def _check(self, pieces: Sequence[Piece], tokens: Sequence[int], param: str) -> None:
        widest = max((piece.span.length for piece in pieces if piece.span.is_whole), default=0)
        if widest > self.largest:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"this model looks at the {widest} rows of an image at once, and a step of the "
                f"engine computes {self.largest}",
                hint=f"load it with --ubatch-size {widest}",
                param=param,
            )
        if tokens and tokens[-1] < 0:
            message = "a prompt must not end with an image or a sound: ask something about it"
            raise RunnerError(Kind.INVALID_REQUEST, message, param=param)


def open_projector(
    model: Model, path: Path, *, threads: int, largest: int, use_gpu: bool
) -> Seeing:
    """Open a model's projector; raise RunnerError for one that does not fit it."""
    check_model_file(path)
    marker = f"<media {secrets.token_hex(16)}>"  # no client may write what stands for a file
    settings = {"path": str(path), "marker": marker, "n_threads": threads, "use_gpu": use_gpu}
    try:
        projector = Projector(model, settings)
    except NativeError as error:
        message = f"its projector cannot be used: {error.message}"
        raise RunnerError(Kind.INVALID_MODEL, message) from error
    return Seeing(projector, marker, fingerprint(path), largest, projector.info)


def row_names(content: str, rows: int) -> list[int]:
    """Name the rows of some content: 31 bits of its hash each, as numbers below -1."""
    bits = np.frombuffer(hashlib.shake_256(content.encode()).digest(4 * rows), "<u4")
    names: list[int] = (-2 - (bits % (2**31 - 1)).astype(np.int64)).tolist()
    return names


def fingerprint(projector: Path) -> str:
    """Say which projector this is, without reading all of it."""
    stat = projector.stat()
    return f"{projector.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"


def _refusal(error: NativeError, media: Sequence[Media]) -> RunnerError:
    """Say which file is at fault: the library counts them."""
    index, _, reason = error.message.partition(": ")
    is_counted = index.isdecimal() and int(index) < len(media)
    one = media[int(index)] if is_counted else media[0]
    kind = Kind.MODEL_NOT_SUPPORTED if error.code is Code.UNSUPPORTED else Kind.INVALID_REQUEST
    if error.code not in (Code.PARSE, Code.UNSUPPORTED):
        kind = Kind.INTERNAL
    return RunnerError(
        kind, f"{one.param}: {reason if is_counted else error.message}", param=one.param
    )
