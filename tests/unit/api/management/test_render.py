from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from runner.api.management import render
from runner.service import Phase, RunningModel
from runner.wire.messages import Beat, Ready
from tests.support.fake_engine import FACTS, SETTINGS

READY = Ready(pid=7, model=FACTS, settings=SETTINGS, system_info="AVX2", devices=(), load_ms=9.5)
BEAT = Beat(
    step_running_s=0.0,
    running=2,
    waiting=1,
    cells_used=100,
    cells_total=64,
    prompt_tokens=10,
    cached_tokens=4,
    completion_tokens=20,
    steps=30,
    resident_bytes=5_000,
)
NOW_S = 1767225600.0  # 2026-01-01T00:00:00Z


def running(**fields: Any) -> RunningModel:
    base: dict[str, Any] = {
        "name": "ai/x",
        "id": "sha256:00",
        "tags": ("docker.io/ai/x:latest",),
        "phase": Phase.READY,
        "fraction": 1.0,
        "leases": 0,
        "waiting": 0,
        "idle_s": 60.0,
        "expires_in_s": 240.0,
        "keep_alive_s": 300.0,
        "size_bytes": 1000,
        "pid": 7,
        "ready": READY,
        "beat": None,
        "tokens_per_s": None,
    }
    return RunningModel(**(base | fields))


def test_an_idle_model_tells_when_it_was_used_and_when_it_goes() -> None:
    row = render.running_model(running(), now_s=NOW_S)
    assert (row["last_used"], row["expires_at"]) == ("2025-12-31T23:59:00Z", "2026-01-01T00:04:00Z")
    assert (row["keep_alive"], "in_use" in row, "loading" in row) == ("5m0s", False, False)
    assert row["system_info"] == "AVX2"


def test_a_busy_model_is_in_use_and_was_never_last_used() -> None:
    busy = running(leases=3, waiting=2, idle_s=None, expires_in_s=None, beat=BEAT)
    row = render.running_model(busy, now_s=NOW_S)
    assert (row["last_used"], row["in_use"]) == ("0001-01-01T00:00:00Z", True)
    assert "expires_at" not in row
    assert (row["requests"], row["running"], row["waiting"]) == (3, 2, 3)
    assert (row["cells_used"], row["cells_total"], row["memory_bytes"]) == (100, 64, 5_000)


def test_what_a_model_took_of_a_gpu_is_told_where_it_took_some() -> None:
    on_gpu = running(ready=replace(READY, device_bytes=2_000))
    assert render.running_model(on_gpu, now_s=NOW_S)["device_memory_bytes"] == 2_000
    assert "device_memory_bytes" not in render.running_model(running(), now_s=NOW_S)


def test_a_loading_model_tells_how_far_it_is() -> None:
    loading = running(
        phase=Phase.LOADING, fraction=0.25, idle_s=None, expires_in_s=None, pid=None, ready=None
    )
    row = render.running_model(loading, now_s=NOW_S)
    assert (row["loading"], row["fraction"], row["pid"]) == (True, 0.25, None)
    assert "settings" not in row
