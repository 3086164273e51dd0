"""Starting and stopping the daemon as a person, or a supervisor, does."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.e2e.conftest import Daemon, environment, is_alive, running_daemon, text_of, until

ENDLESS = {"max_tokens": 900, "ignore_eos": True}


@pytest.mark.model
def test_e6_sigterm_lets_answers_finish_and_leaves_no_process(own_daemon: Daemon) -> None:
    with own_daemon.stream("Count to ten.", max_tokens=64, ignore_eos=True) as stream:
        first = next(stream)
        [row] = own_daemon.running()
        own_daemon.process.send_signal(signal.SIGTERM)
        events = [first, *stream]
    assert events[-1] == "[DONE]"
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert len(text_of(events)) > 20
    assert own_daemon.process.wait(10) == 0
    assert not is_alive(row["pid"])
    assert not own_daemon.socket_path.exists()


@pytest.mark.model
def test_e7_a_second_signal_does_not_wait(own_daemon: Daemon) -> None:
    with own_daemon.stream("Tell a long story.", **ENDLESS) as stream:
        next(stream)
        [row] = own_daemon.running()
        began = time.monotonic()
        own_daemon.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        own_daemon.process.send_signal(signal.SIGINT)
        *_, last = stream
    assert last["error"]["code"] == "unavailable"
    assert own_daemon.process.wait(10) == 0
    assert time.monotonic() - began < 5
    assert not is_alive(row["pid"])


@pytest.mark.model
def test_e11_a_daemon_that_is_killed_takes_its_workers_along(own_daemon: Daemon) -> None:
    own_daemon.chat("Hi", max_tokens=1)
    [row] = own_daemon.running()
    own_daemon.process.kill()
    own_daemon.process.wait()
    until(lambda: not is_alive(row["pid"]), timeout_s=5)


def test_e7_a_terminal_that_closes_does_not_end_it(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.get("/health") == {"status": "ok"}
        assert daemon.stop() == 0


def test_e18_without_a_home_it_says_what_to_set(tmp_path: Path) -> None:
    env = environment(tmp_path)
    del env["HOME"]
    command = [sys.executable, "-m", "runner", "serve", "--port", "0"]
    refused = subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "runner: HOME is not set, so there is no place for models; "
        "set MODELS_PATH to a folder, or HOME"
    ]


@pytest.mark.model
def test_e18_without_a_place_for_scratch_files_it_serves(_engine: None, tmp_path: Path) -> None:
    # Python falls back to /tmp and others: here it finds none.
    site = "import tempfile\ntempfile.tempdir = '/proc/nowhere'\n"
    (tmp_path / "sitecustomize.py").write_text(site)
    variables = {"PYTHONPATH": str(tmp_path), "TMPDIR": "/proc/nowhere", "RUNNER_TUNING": "off"}
    with running_daemon(tmp_path, **variables) as daemon:
        assert daemon.chat("Hi", max_tokens=1).status_code == 200
        assert daemon.stop() == 0


@pytest.mark.model
def test_e18_without_descriptors_for_a_worker_the_request_is_told_and_the_daemon_serves_on(
    _engine: None, own_daemon: Daemon
) -> None:
    pid = own_daemon.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened + 2, limits[1]))  # one for a client
    refused = own_daemon.chat("Hi", max_tokens=1)
    assert refused.status_code in (500, 503)
    assert "Too many open files" in refused.json()["error"]["message"]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    until(lambda: own_daemon.chat("Hi", max_tokens=1).status_code == 200)


JUMPING_CLOCK = """
import time
import pathlib

_true = time.time
_jump = pathlib.Path(__file__).with_name("jump")
time.time = lambda: _true() + float(_jump.read_text())
"""


@pytest.mark.model
@pytest.mark.parametrize("jump_s", [-86400, 86400])
def test_e15_a_clock_that_jumps_unloads_nothing_and_cuts_nobody_off(
    _engine: None, tmp_path: Path, jump_s: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
    jump, scratch = tmp_path / "jump", tmp_path / "scratch"

    def set_clock(offset_s: int) -> None:
        scratch.write_text(str(offset_s))
        scratch.replace(jump)  # at once: the daemon reads it all the time

    set_clock(0)
    with running_daemon(tmp_path, PYTHONPATH=str(tmp_path), RUNNER_TUNING="off") as daemon:
        with daemon.stream("Count to ten.", max_tokens=64, ignore_eos=True) as stream:
            events = [next(stream)]
            [before] = daemon.running()
            set_clock(jump_s)
            events += stream
        assert events[-1] == "[DONE]"
        answer = daemon.chat("Hi", max_tokens=1).json()
        assert abs(answer["created"] - time.time() - jump_s) < 3600  # it did jump
        until(lambda: "expires_at" in daemon.running()[0])
        set_clock(0)  # back, while it is idle
        [after] = daemon.running()
        assert after["pid"] == before["pid"]
        leaves_in_s = datetime.fromisoformat(after["expires_at"]).timestamp() - time.time()
        assert 200 < leaves_in_s <= 300
        assert daemon.stop() == 0


def test_another_address_needs_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runner", "serve", "--host", "0.0.0.0", "--port", "0"]
    refused = subprocess.run(
        command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert refused.returncode == 2
    assert "no API key" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_keys_of_a_file_have_their_scopes(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# ours\nboss\nguest:infer\n")
    with running_daemon(tmp_path, "--api-key-file", str(keys)) as daemon:

        def status(path: str, key: str | None) -> int:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return requests.get(daemon.url + path, headers=headers, timeout=10).status_code

        assert status("/v1/models", None) == 401
        assert status("/v1/models", "thief") == 401
        assert status("/v1/models", "guest") == 200
        assert status("/logs", "guest") == 403
        assert status("/logs", "boss") == 200
        assert status("/health", None) == 200
        assert daemon.stop() == 0


def test_e14_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    home = tmp_path / "first"
    home.mkdir()
    with running_daemon(home) as daemon:
        port = daemon.url.rpartition(":")[2]
        command = [sys.executable, "-m", "runner", "serve", "--port", port, "--socket", "off"]
        second = subprocess.run(
            command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=30
        )
        assert second.returncode == 1
        assert port in second.stderr
        if sys.platform == "linux":
            assert f"process {daemon.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert daemon.get("/health") == {"status": "ok"}
