"""Prefixes that outlive the worker: from one life of a model to the next by way of the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from runner.wire.messages import Ended, Ready, Stop
from tests.process.worker_client import WISHES, WorkerClient, model_path, text

pytestmark = [pytest.mark.native, pytest.mark.model]

PROMPT = "Once upon a time, in a small village by the sea, there lived a girl named Ann. " * 4
LASTING = replace(WISHES, parallel=1, prefix_ram_bytes=64 * 1024**2, prefix_disk_bytes=64 * 1024**2)


def live(folder: Path) -> tuple[Ended, str]:
    """Load, ask once, stop; return what was answered."""
    with WorkerClient() as worker:
        worker.load(model_path(), LASTING, prefix_dir=str(folder))
        worker.wait_for(Ready)
        worker.send(text(1, PROMPT, max_tokens=6))
        [event] = worker.wait_for_last(1)
        assert isinstance(event, Ended), event
        worker.send(Stop(grace_s=0.0))
        assert worker.wait_for_exit() == 0
        return event, worker.text(1)


def test_a_prompt_comes_from_the_disk_after_a_restart_with_the_same_answer(tmp_path: Path) -> None:
    folder = tmp_path / "prefixes" / "model"
    first, answer = live(folder)
    assert first.cached_tokens == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    second, again = live(folder)
    assert second.cached_tokens == second.prompt_tokens - 1
    assert again == answer

    [file] = folder.iterdir()
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    third, anew = live(folder)
    assert third.cached_tokens == 0
    assert anew == answer
