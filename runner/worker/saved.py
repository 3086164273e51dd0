"""Texts that lost their slot: the bytes of their KV, by key, and what copying them cost."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runner.binding import Code, Context, NativeError
from runner.engine.backend import SavedKey, SlotId, StepResult

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedText:
    """A slot's content: its tokens, and their state as the native library writes it."""

    tokens: tuple[int, ...]
    state: NDArray[np.uint8]


class SavedTexts:
    """Carries out saves and restores on one context. The engine thread owns it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._texts: dict[SavedKey, SavedText] = {}
        self._done: list[SavedKey] = []  # saves since the last report
        self._copied_bytes = 0
        self._copy_s = 0.0

    def save(self, slot: SlotId, key: SavedKey, tokens: tuple[int, ...]) -> None:
        """Keep a slot's content. Where that fails the report does not name the key."""
        began_s = time.perf_counter()
        try:
            state = self._context.state(slot)
        except (NativeError, MemoryError) as error:
            LOG.warning("a cached prefix of %d tokens is lost: %s", len(tokens), error)
            return
        self._texts[key] = SavedText(tokens, state)
        self._done.append(key)
        self._count(state.nbytes, began_s)

    def restore(self, key: SavedKey, slot: SlotId, length: int) -> None:
        """Put the first ``length`` tokens of a text into an empty slot; raise NativeError."""
        began_s = time.perf_counter()
        text = self._texts.get(key)
        if text is None:
            raise NativeError(Code.STATE, f"no text was saved as {key}")
        self._context.set_state(slot, text.state, text.tokens)
        if length < len(text.tokens) and not self._context.seq_rm(slot, length):
            raise NativeError(Code.STATE, f"sequence {slot} cannot be cut back to {length} tokens")
        self._count(text.state.nbytes, began_s)

    def put(self, key: SavedKey, text: SavedText) -> None:
        """Take a text that was saved by an earlier context of the same kind."""
        self._texts[key] = text

    def get(self, key: SavedKey) -> SavedText | None:
        """Return a text; None for one that is not there."""
        return self._texts.get(key)

    def take_down(self, slot: SlotId, tokens: tuple[int, ...]) -> SavedText | None:
        """Write a slot's content down, for somebody else to keep; None where that fails."""
        try:
            return SavedText(tokens, self._context.state(slot))
        except (NativeError, MemoryError) as error:
            LOG.warning("a cached prefix of %d tokens is not kept: %s", len(tokens), error)
            return None

    def drop(self, key: SavedKey) -> None:
        """Forget a text; a key that is not there is ignored."""
        self._texts.pop(key, None)

    def report(self, result: StepResult) -> StepResult:
        """Add to a step's result what was copied since the last report."""
        if not self._copied_bytes:
            return result
        told = replace(
            result,
            saved=tuple(self._done),
            copied_bytes=self._copied_bytes,
            copy_s=self._copy_s,
        )
        self._done, self._copied_bytes, self._copy_s = [], 0, 0.0
        return told

    def _count(self, size_bytes: int, began_s: float) -> None:
        self._copied_bytes += size_bytes
        self._copy_s += time.perf_counter() - began_s
