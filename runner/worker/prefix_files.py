"""Texts kept across unload and restart: one file each, in a folder of one model.

The native library trusts a state, so a file is believed only when its header names this model,
these settings and this library, and its content has the hash of the header. Anything else is
deleted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runner.engine.prefix import PrefixTree
from runner.wire.messages import EngineSettings
from runner.worker.saved import SavedText

LOG = logging.getLogger(__name__)

MAGIC = b"RNPREFIX"
VERSION = 1
HEAD = struct.Struct("<8sII32s32s")  # magic, version, tokens, fingerprint, hash of what follows
SUFFIX = ".prefix"
MAX_FILES = 512
MAX_TOKENS = 1 << 20
LEAST_GAIN_TOKENS = 32  # fewer are computed as fast as a file is read


def fingerprint(model: Iterable[Path], library: Path, settings: EngineSettings) -> bytes:
    """Hash what a state depends on: the model's files, the library, the settings that shape it."""
    stats = [(str(path.resolve()), path.stat()) for path in model]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    shape = (settings.kv_type, settings.kv_layout, settings.slots, settings.flash_attention)
    digest = hashlib.sha256(repr((files, shape, settings.context_size)).encode())
    digest.update(library.read_bytes())
    return digest.digest()


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    tokens: tuple[int, ...]


class PrefixFiles:
    """The folder of one model. Any thread may call :meth:`fetch`."""

    def __init__(
        self, folder: Path, *, fingerprint: bytes, limit_bytes: int, can_cut: bool = True
    ) -> None:
        """``fingerprint`` is a SHA-256 of all that a state depends on.

        Without ``can_cut`` a text is of use only to prompts that begin with all of it.
        """
        self._folder = folder
        self._fingerprint = fingerprint
        self._limit_bytes = limit_bytes
        self._can_cut = can_cut
        self._lock = threading.Lock()
        self._tree = PrefixTree(MAX_FILES)  # of the files that were not fetched yet
        self._files: dict[int, _File] = {}  # by place in the tree
        self._survey()

    def fetch(self, prompt: tuple[int, ...]) -> SavedText | None:
        """Read the text that shares the longest beginning with a prompt; each is given once."""
        tokens = list(prompt)
        with self._lock:
            if self._can_cut:
                length, place, _ = self._tree.match(tokens, len(tokens))
            else:
                length, place, _ = self._tree.whole(tokens, len(tokens) - 1)
            if place is None or length < LEAST_GAIN_TOKENS:
                return None
            file = self._files.pop(place)
            self._tree.trim(place, 0)
        return self._read(file)

    def keep(self, texts: Iterable[SavedText], *, until_s: float) -> None:
        """Write texts, most useful first, until a time of the monotonic clock."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written: list[SavedText] = []
        for text in texts:
            if time.monotonic() >= until_s:
                break
            if not self._is_useless(text.tokens, written):
                self._write(text)
                written.append(text)
        self._sweep({_name(text.tokens) for text in written}, written)

    def _survey(self) -> None:
        for path in _newest_first(self._folder):
            tokens = self._read_tokens(path)
            if tokens is None or len(self._files) == MAX_FILES:
                _delete(path)
                continue
            place = len(self._files)
            self._tree.append(place, tokens)
            self._files[place] = _File(path, tokens)

    def _read_tokens(self, path: Path) -> tuple[int, ...] | None:
        """Read a header; None for a file that is not one of ours."""
        try:
            with path.open("rb") as file:
                head = file.read(HEAD.size)
                if len(head) != HEAD.size:
                    return None
                magic, version, count, fingerprint, _ = HEAD.unpack(head)
                if (magic, version, fingerprint) != (MAGIC, VERSION, self._fingerprint):
                    return None
                if not 0 < count <= MAX_TOKENS:
                    return None
                data = file.read(4 * count)
        except OSError:
            return None
        if len(data) != 4 * count:
            return None
        return tuple(np.frombuffer(data, "<i4").tolist())

    def _read(self, file: _File) -> SavedText | None:
        try:
            data = np.fromfile(file.path, np.uint8)
            os.utime(file.path)  # it was of use: the last to give way
        except OSError:
            return None
        content = data[HEAD.size :]
        state = content[4 * len(file.tokens) :]
        hashed = HEAD.unpack(data[: HEAD.size].tobytes())[4] if data.size > HEAD.size else b""
        if not state.size or hashlib.sha256(content.data).digest() != hashed:
            LOG.warning("deleting %s: it is damaged", file.path)
            _delete(file.path)
            return None
        return SavedText(file.tokens, state.copy())

    def _write(self, text: SavedText) -> None:
        """Write a file under another name first: a crash leaves no half of one behind."""
        tokens = np.array(text.tokens, "<i4").tobytes()
        size_bytes = HEAD.size + len(tokens) + text.state.nbytes
        if size_bytes > self._limit_bytes:
            return
        digest = hashlib.sha256(tokens)
        digest.update(text.state.data)
        head = HEAD.pack(MAGIC, VERSION, len(text.tokens), self._fingerprint, digest.digest())
        path = self._folder / _name(text.tokens)
        partial = path.with_suffix(".partial")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(head)
                file.write(tokens)
                file.write(text.state.data)
            partial.replace(path)
        except OSError as error:
            LOG.warning("a prefix cannot be kept: %s", error)
            _delete(partial)

    def _sweep(self, new: set[str], written: list[SavedText]) -> None:
        """Delete what the new texts begin with, and the oldest beyond the limit."""
        left_bytes = self._limit_bytes
        for path in _newest_first(self._folder):
            tokens = self._read_tokens(path)
            is_useless = tokens is None or (
                path.name not in new and self._is_useless(tokens, written)
            )
            left_bytes -= 0 if is_useless else path.stat().st_size
            if is_useless or left_bytes < 0:
                _delete(path)

    def _is_useless(self, tokens: tuple[int, ...], written: list[SavedText]) -> bool:
        """Whether another text begins with these tokens and can be cut to them."""
        return self._can_cut and any(text.tokens[: len(tokens)] == tokens for text in written)


def _name(tokens: tuple[int, ...]) -> str:
    return hashlib.sha256(np.array(tokens, "<i4").tobytes()).hexdigest()[:32] + SUFFIX


def _newest_first(folder: Path) -> list[Path]:
    """List the files of the folder; what a crash left half written is deleted."""
    try:
        paths = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
        for path in paths:
            if path.suffix != SUFFIX:
                _delete(path)
        found = [path for path in paths if path.suffix == SUFFIX]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError:
        return []


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        LOG.warning("cannot delete %s: %s", path, error)
