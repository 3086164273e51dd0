"""The disk tier of the prefix cache: what a request finds there, and what is kept at the end.

Files are read by the threads that prepare requests, so that no running stream waits for a disk; the
engine then treats the text like one that it saved itself. They are written when the engine stops.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.engine.slots import Slots
from runner.wire.messages import Load
from runner.worker.loading import Loaded
from runner.worker.prefix_files import PrefixFiles, fingerprint
from runner.worker.prompts import Prepared
from runner.worker.saved import SavedText, SavedTexts

LOG = logging.getLogger(__name__)

KEEP_S = 1.5  # the daemon waits a little longer than that before it ends a worker the hard way


def open_prefix_files(message: Load, loaded: Loaded) -> PrefixFiles | None:
    """Open the folder of the model's prefixes; None where none is wanted or can be used."""
    settings = loaded.ready.settings
    if (
        message.prefix_dir is None
        or not settings.prefix_disk_bytes
        or not settings.prefix_ram_bytes
    ):
        return None
    library = loaded.model.library.path
    return PrefixFiles(
        Path(message.prefix_dir),
        fingerprint=fingerprint(
            [Path(path) for path in (message.model_path, *message.adapter_paths)], library, settings
        ),
        limit_bytes=settings.prefix_disk_bytes,
        can_cut=loaded.memory["can_trim"] and not loaded.memory["window_tokens"],
    )


def with_stored(prepare: Callable[..., Prepared], files: PrefixFiles) -> Callable[..., Prepared]:
    """Let prepared requests bring the text along that the disk has for them."""

    def prepare_with_stored(*arguments: Any) -> Prepared:
        prepared = prepare(*arguments)
        if not prepared.request.shares_prefix or prepared.request.adapters is not None:
            return prepared
        return replace(prepared, stored=files.fetch(prepared.request.prompt))

    return prepare_with_stored


def stock(slots: Slots, saved: SavedTexts, text: SavedText) -> None:
    """Give the engine a text that the disk had, where it is of use."""
    key = slots.stock(list(text.tokens))
    if key is not None:
        saved.put(key, text)


def keep(files: PrefixFiles, slots: Slots, saved: SavedTexts) -> None:
    """Write what slots and memory hold, the latest used first, as long as the time lasts."""

    def texts() -> Iterator[SavedText]:
        for slot, key, tokens in slots.kept():
            if slot is not None:
                text = saved.take_down(slot, tuple(tokens))
            else:
                text = saved.get(key) if key is not None else None
            if text is not None:
                yield text

    began_s = time.monotonic()
    files.keep(texts(), until_s=began_s + KEEP_S)
    LOG.info("kept prefixes in %.2f s", time.monotonic() - began_s)
