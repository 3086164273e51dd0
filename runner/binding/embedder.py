"""Texts to vectors or ranks, by models that pool."""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .handles import Handle, Model
from .library import json_bytes


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What an embedder really has, which may differ from what was asked."""

    n_batch: int  # tokens of one pass
    n_ubatch: int
    n_text: int  # tokens of one text
    n_seq_max: int  # texts of one pass
    n_out: int  # numbers a text gives: the dimensions of a vector, or 1 for most that rank


class Embedder(Handle):
    """A model that pools, ready to compute. One engine thread owns it; any may :meth:`abort`."""

    _free = "rn_embedder_free"

    def __init__(self, model: Model, settings: Mapping[str, Any]) -> None:
        """``settings`` as ``rn_embedder_new`` takes them; UNSUPPORTED for a model without pools."""
        library = model.library
        handle = library.rn_embedder_new(model.pointer, json_bytes(settings))
        super().__init__(library, library.check_handle(handle))
        self.info = EmbedderInfo(**library.read(library.rn_embedder_info, self.pointer))

    def embed(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Compute texts in one pass: a row of ``n_out`` numbers each, not normalised.

        A row may hold NaN, also for another text's sake. Raises NativeError: ARGUMENT for texts
        that do not fit one pass, CANCELLED after :meth:`abort`.
        """
        tokens = np.fromiter((token for text in texts for token in text), np.int32)
        offsets = np.fromiter(accumulate(map(len, texts), initial=0), np.int32)
        out = np.empty((len(texts), self.info.n_out), np.float32)
        ints, floats = c.POINTER(c.c_int32), c.POINTER(c.c_float)
        self.library.check(
            self.library.rn_embed(
                self.pointer,
                tokens.ctypes.data_as(ints),
                offsets.ctypes.data_as(ints),
                len(texts),
                out.ctypes.data_as(floats),
                out.size,
            )
        )
        return out

    def set_threads(self, threads: int) -> None:
        """Compute with so many threads from the next pass on."""
        self.library.check(self.library.rn_embedder_threads_set(self.pointer, threads))

    def abort(self) -> None:
        """Make the running pass end with CANCELLED. Any thread."""
        self.library.check(self.library.rn_embedder_abort(self.pointer))
