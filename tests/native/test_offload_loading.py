"""A load where a GPU is said to be: its size is made up, the load is a real one on the CPU."""

from __future__ import annotations

import time
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

from runner.binding import Library, LoadWatch
from runner.gguf import describe, read_header
from runner.wire.messages import Beat, EngineSettings, EngineWishes, Load, Stop
from runner.worker.footprint import need, on_device, settings_for
from runner.worker.host import Host
from runner.worker.loading import load
from runner.worker.machine import survey
from runner.worker.offload import ALL, MARGIN_BYTES
from runner.worker.outbox import Outbox

pytestmark = [pytest.mark.native, pytest.mark.model]

WISHES = EngineWishes(context_size=256, parallel=2, threads=1, batch_size=32)


class WithGpu:
    """A library that tells of a GPU with so much free; llama.cpp goes on to see none."""

    def __init__(self, library: Library, free_bytes: int) -> None:
        self._library = library
        self._free_bytes = free_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def system(self) -> dict[str, Any]:
        told = self._library.system()
        size = {"free_bytes": self._free_bytes, "total_bytes": 2 * self._free_bytes}
        gpu = {"name": "GPU0", "description": "of a test", "type": "gpu", **size}
        return told | {"devices": [gpu, *told["devices"]]}


def message(path: Path, wishes: EngineWishes = WISHES) -> Load:
    return Load(version=1, model_path=str(path), library_path=None, wishes=wishes)


def settings_with(
    library: Library, path: Path, free_bytes: int, wishes: EngineWishes = WISHES
) -> EngineSettings:
    gpu = WithGpu(library, free_bytes)
    loaded = load(message(path, wishes), gpu, LoadWatch())  # type: ignore[arg-type]
    loaded.context.close()  # type: ignore[union-attr]
    loaded.model.close()
    assert loaded.ready.device is not None
    assert (loaded.ready.device.free_bytes, loaded.ready.device_bytes) == (free_bytes, 0)
    return loaded.ready.settings


def bytes_of(path: Path, layers: int) -> int:
    """What a GPU must have free for so many layers."""
    data = path.read_bytes()
    metadata = describe(read_header(data, len(data)))
    gpu = survey([{"type": "gpu", "free_bytes": 2**40, "total_bytes": 2**40}])
    takes = need(settings_for(metadata, WISHES, gpu), metadata)
    return MARGIN_BYTES + on_device(takes, metadata.weights, layers)


def test_as_many_layers_go_there_as_fit(library: Library, model_path: Path) -> None:
    settings = settings_with(library, model_path, bytes_of(model_path, 12))
    assert (settings.gpu_layers, settings.kv_layout) == (12, "unified")


def test_with_room_for_all_the_model_goes_there_as_a_whole(
    library: Library, model_path: Path
) -> None:
    assert settings_with(library, model_path, 2**40).gpu_layers == ALL


def test_a_full_gpu_is_left_alone(library: Library, model_path: Path) -> None:
    settings = settings_with(library, model_path, 2**20)
    assert (settings.gpu_layers, settings.kv_layout, settings.flash_attention) == (
        0,
        "streams",
        False,
    )


def test_a_draft_model_keeps_its_room(library: Library, model_path: Path) -> None:
    with_draft = EngineWishes(
        context_size=256, parallel=2, threads=1, batch_size=32, draft_model_path=str(model_path)
    )
    free_bytes = bytes_of(model_path, 12) + bytes_of(model_path, ALL) - MARGIN_BYTES
    without = settings_with(library, model_path, free_bytes)
    assert without.gpu_layers == ALL
    assert settings_with(library, model_path, free_bytes, with_draft).gpu_layers == 12


@pytest.mark.parametrize("free_bytes", [2**20, None])
def test_a_worker_tells_what_is_free_there_with_every_beat(
    library: Library, model_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int | None
) -> None:
    seen = library if free_bytes is None else WithGpu(library, free_bytes)
    monkeypatch.setattr("runner.worker.host.open_library", lambda *_, **__: seen)
    beats: SimpleQueue[Beat] = SimpleQueue()
    outbox = Outbox(lambda data: None)
    outbox.send = lambda told: beats.put(told) if isinstance(told, Beat) else None
    host = Host(outbox, native_log_level=2)
    began_s = time.monotonic()
    threads = [Thread(target=host.run, args=[message(model_path)]), Thread(target=host.pulse)]
    for thread in threads:
        thread.start()
    beat = beats.get(timeout=60)
    host.receive(Stop(grace_s=0.0))
    threads[0].join()
    host.close()
    threads[1].join()
    if free_bytes is None:
        assert beat.device is None
    else:
        assert beat.device is not None
        assert beat.device.free_bytes == free_bytes
        assert began_s < beat.device.at_s < time.monotonic()
