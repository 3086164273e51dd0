"""Models' options on disk: a small file for each model, written whole or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from runner.errors import Kind, RunnerError
from runner.service.options import Options, Origin
from runner.service.records import read_record
from runner.store.layout import write_whole

FORMAT = 1
MAX_RECORDS = 10_000


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    format: int
    model: str  # the name in full, or "sha256:…" of a model without one
    layers: dict[Origin, Options]
    written_s: float  # Unix time


class Configured:
    """Keeps options by model name, so that they outlive unloading, restart and another pull.

    Daemons may share the folder: it is looked at again whenever it has changed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen_ns: int | None = None
        self._records: dict[str, Record] = {}

    def records(self) -> Mapping[str, Record]:
        """Return what is kept, by model. A file that cannot be used is logged and left out."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:
            return {}  # nothing was ever written
        if changed_ns != self._seen_ns:
            paths = sorted(self._folder.glob("*.json"))[:MAX_RECORDS]
            records = [record for path in paths if (record := _read(path)) is not None]
            self._records = {record.model: record for record in records}
            self._seen_ns = changed_ns
        return self._records

    def write(self, model: str, layers: Mapping[Origin, Options]) -> None:
        """Keep a model's options; without any, forget it. Raises RunnerError(STORE)."""
        self._seen_ns = None
        stated = {origin: options for origin, options in layers.items() if options.stated()}
        record = Record(format=FORMAT, model=model, layers=stated, written_s=time.time())
        try:
            if not stated:
                self._path(model).unlink(missing_ok=True)
                return
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = msgspec.json.format(msgspec.json.encode(record), indent=2)
            write_whole(self._path(model), data + b"\n")
        except OSError as error:
            raise RunnerError(
                Kind.STORE,
                f"the settings of {model} cannot be kept in {self._folder}: {error.strerror}",
                hint="make the folder writable",
            ) from error

    def _path(self, model: str) -> Path:
        return self._folder / f"{hashlib.sha256(model.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> Record | None:
    record = read_record(path, Record)
    return record if record is not None and record.format == FORMAT else None
