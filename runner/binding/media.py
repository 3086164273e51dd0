"""Images and sounds to rows that a model takes in the place of tokens, by its projector."""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .handles import Handle, Model
from .library import Library, json_bytes
from .prototypes import Buf, File


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file as it was sent; ``id`` names its content."""

    id: str
    data: bytes
    is_sound: bool


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a projector takes."""

    vision: bool
    audio: bool
    n_embd: int  # numbers of a row


class Projector(Handle):
    """The projector of a model. Any thread may :meth:`read`; one encodes at a time."""

    _free = "rn_media_free"

    def __init__(self, model: Model, settings: Mapping[str, Any]) -> None:
        """``settings`` as ``rn_media_new`` takes them."""
        library = model.library
        handle = library.rn_media_new(model.pointer, json_bytes(settings))
        super().__init__(library, library.check_handle(handle))
        self.info = MediaInfo(**library.read(library.rn_media_info, self.pointer))

    def read(self, text: str, files: Sequence[MediaFile]) -> Parts:
        """Take a prompt apart that has the marker in the place of each file, in order.

        Raises NativeError: PARSE (``INDEX: reason`` where it is about one file), UNSUPPORTED.
        """
        references = (File * len(files))()
        ids = [file.id.encode() for file in files]
        for reference, file, id in zip(references, files, ids, strict=True):
            reference.data = c.cast(c.c_char_p(file.data), c.c_void_p)
            reference.len = len(file.data)
            reference.id = c.cast(c.c_char_p(id), c.c_void_p)
            reference.is_sound = file.is_sound
        data, buf = text.encode(), Buf()
        handle = self.library.rn_media_read(
            self.pointer, data, len(data), references, len(files), c.byref(buf)
        )
        return Parts(self, self.library.check_handle(handle), buf)


class Parts(Handle):
    """A prompt in parts, as ``rn_media_read`` tells them: tokens and pieces of media in turn."""

    _free = "rn_parts_free"

    def __init__(self, projector: Projector, pointer: int, buf: Buf) -> None:
        library: Library = projector.library
        super().__init__(library, pointer)
        self._projector = projector
        self.parts: list[dict[str, Any]] = library.read_json(buf)

    def encode(self, index: int) -> NDArray[np.float32]:
        """Compute the rows of one part. Takes long, and holds nobody else up."""
        rows = np.empty((self.parts[index]["rows"], self._projector.info.n_embd), np.float32)
        numbers = rows.ctypes.data_as(c.POINTER(c.c_float))
        self.library.check(
            self.library.rn_media_encode(
                self._projector.pointer, self.pointer, index, numbers, rows.size
            )
        )
        return rows
