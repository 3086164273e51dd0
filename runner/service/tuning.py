"""Measured settings on disk: one small file for each model, machine, library and set of wishes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import structs

from runner.service.records import read_record
from runner.store.layout import write_whole
from runner.wire.messages import EngineWishes, Measured, Tuned, TunedSettings

FORMAT = 1
WORTH_RELOADING = 1.1  # a gain for which a loaded model gives up its cached prefixes
# Any other wish has settings of its own, also one that nobody thought of here.
NOT_STEERING = (
    "context_size",
    "target_gap_ms",
    "max_queue",
    "speculation",
    "draft_model_path",
    "prefix_ram_bytes",
    "prefix_disk_bytes",
    "chat_template",
)

LOG = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds: the settings, and for people where they come from."""

    format: int
    model: str  # "sha256:…"
    machine: dict[str, str]
    wishes: EngineWishes  # those that steer the search
    settings: TunedSettings
    gain: float  # over the settings that were in force
    duration_s: float
    measured: tuple[Measured, ...]
    tuned_s: float  # Unix time


class Tuning:
    """Keeps and recalls what was measured. A file that is lost or damaged is measured again."""

    def __init__(self, folder: Path, machine: Mapping[str, str], *, after_s: float = 5.0) -> None:
        """``machine`` tells this machine and library apart; ``after_s`` of idleness to measure."""
        self.after_s = after_s
        self._folder = folder
        self._machine = dict(machine)

    async def recall(self, model_id: str, wishes: EngineWishes) -> Record | None:
        """Return what was measured of a model on this machine under these wishes."""
        return await asyncio.to_thread(self._read, model_id, steering(wishes))

    async def keep(
        self, model_id: str, wishes: EngineWishes, tuned: Tuned, measured: tuple[Measured, ...]
    ) -> None:
        """Write a result down; a disk that does not take it is logged."""
        assert tuned.settings is not None, "a search without a result is kept"
        record = Record(
            format=FORMAT,
            model=model_id,
            machine=self._machine,
            wishes=steering(wishes),
            settings=tuned.settings,
            gain=round(tuned.gain, 3),
            duration_s=round(tuned.duration_s, 1),
            measured=measured,
            tuned_s=time.time(),
        )
        try:
            await asyncio.to_thread(self._write, record)
        except OSError as error:
            LOG.warning("the measured settings are not kept: %s", error)

    def _read(self, model_id: str, wishes: EngineWishes) -> Record | None:
        record = read_record(self._path(model_id, wishes), Record)
        if record is None:
            return None
        # A file that was copied or edited must not speak for another machine.
        named = (record.format, record.model, record.machine, record.wishes)
        return record if named == (FORMAT, model_id, self._machine, wishes) else None

    def _write(self, record: Record) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(record.model, record.wishes)
        write_whole(path, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")

    def _path(self, model_id: str, wishes: EngineWishes) -> Path:
        key = msgspec.json.encode([FORMAT, model_id, self._machine, wishes], order="sorted")
        return self._folder / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


def steering(wishes: EngineWishes) -> EngineWishes:
    """Keep the wishes that steer a search: what is wished is fixed, or shapes what is measured."""
    return structs.replace(wishes, **dict.fromkeys(NOT_STEERING))
