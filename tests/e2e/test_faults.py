"""What goes wrong with clients and workers, and who notices: nobody else."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket

import pytest

from tests.e2e.conftest import MODEL, Daemon, is_alive, until

pytestmark = pytest.mark.model

ENDLESS = {"max_tokens": 900, "ignore_eos": True}


def test_e12_a_client_that_leaves_frees_its_work(daemon: Daemon) -> None:
    with daemon.stream("Tell a long story.", **ENDLESS) as events:
        next(events)
        assert daemon.running()[0]["in_use"]
    until(lambda: "in_use" not in daemon.running()[0], timeout_s=2)
    until(lambda: daemon.running()[0]["running"] == 0, timeout_s=5)  # as the worker's beat tells


def test_e12_a_client_that_leaves_an_answer_in_one_piece_frees_it_too(daemon: Daemon) -> None:
    daemon.chat("Hi", max_tokens=1)
    messages = [{"role": "user", "content": "Tell a long story."}]
    body = json.dumps({"model": MODEL, "messages": messages, **ENDLESS})
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall((head + body).encode())
        until(lambda: "in_use" in daemon.running()[0])
    until(lambda: "in_use" not in daemon.running()[0], timeout_s=2)


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
