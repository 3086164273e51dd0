"""`serve` and the daemon that `run` starts, with the real daemon and no model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gguf_maker import tiny_model

CLI = [sys.executable, "-m", "runner"]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")  # short: a socket's path has room for 103 bytes


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "MODEL_RUNNER_PORT": str(free_port()),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cli(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def serving(*arguments: str, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``serve``; gives the process and the line it said when it was ready."""
    process = subprocess.Popen(
        [*CLI, "serve", "--log-level", "warning", *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield process, process.stderr.readline()
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def test_in_json_stderr_is_one_object_a_line_and_a_request_is_found_by_its_id(
    env: dict[str, str],
) -> None:
    port = env["MODEL_RUNNER_PORT"]
    with serving("--log-format", "json", "--log-level", "info", env=env) as (process, said):
        assert json.loads(said)["message"].startswith(f"Listening on http://127.0.0.1:{port} ")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/models/none", headers={"X-Request-Id": "find-me"}
        )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=30)
        process.terminate()
        assert process.stderr is not None
        records = [json.loads(line) for line in process.stderr]
    [answered] = [record for record in records if record["logger"] == "runner.access"]
    assert (answered["request_id"], answered["status"]) == ("find-me", 404)
    assert (answered["method"], answered["target"]) == ("GET", "/models/none")


def test_serve_says_where_it_listens_and_leaves_nothing(env: dict[str, str], home: Path) -> None:
    state = home / ".local/state/runner/daemon.json"
    port = env["MODEL_RUNNER_PORT"]
    sockets = home / f".local/share/runner/run/runner-{port}.sock"
    with serving(env=env) as (process, said):
        assert said == (
            f"Listening on http://127.0.0.1:{port} and unix:{sockets} (Ctrl-C to stop)\n"
        )
        assert json.loads(state.read_text())["pid"] == process.pid
        listed = cli("list", "--json", env=env)
        assert (listed.returncode, listed.stdout, listed.stderr) == (0, "[]\n", "")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert not state.exists()
    assert not sockets.exists()


def test_clients_find_a_daemon_at_an_unusual_address(env: dict[str, str]) -> None:
    with serving("--socket", "off", "--port", "0", env=env) as (_, said):
        address = said.split()[2]
        elsewhere = {name: value for name, value in env.items() if name != "MODEL_RUNNER_PORT"}
        status = cli("status", "--json", env=elsewhere)
    assert json.loads(status.stdout)["running"] is True
    assert json.loads(status.stdout)["endpoint"] == f"{address}/v1/"


def test_a_port_in_use_is_named_with_what_to_do(env: dict[str, str]) -> None:
    with serving(env=env), serving(env=env) as (second, said):
        assert second.wait(timeout=30) == 1
    assert said.startswith("runner: ")
    assert f"127.0.0.1:{env['MODEL_RUNNER_PORT']}" in said
    assert "--port" in said


def test_an_open_address_needs_a_key(env: dict[str, str]) -> None:
    run = cli("serve", "--host", "0.0.0.0", env=env)
    assert run.returncode == 2
    assert "--insecure" in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_client_shows_the_key_of_its_environment(env: dict[str, str]) -> None:
    with serving(env=env | {"RUNNER_API_KEY": "sk-1"}):
        host = env | {"MODEL_RUNNER_HOST": f"http://127.0.0.1:{env['MODEL_RUNNER_PORT']}"}
        assert cli("list", env=host | {"RUNNER_API_KEY": "sk-1"}).returncode == 0
        refused = cli("list", env=host)
    assert refused.returncode == 1
    assert refused.stderr.endswith("set RUNNER_API_KEY to a key of this server\n")


@contextmanager
def stopping_the_daemon(home: Path) -> Iterator[Path]:
    """Give the state file of the daemon that a test makes the CLI start; stop that daemon."""
    state = home / ".local/state/runner/daemon.json"
    try:
        yield state
    finally:
        if state.exists():
            pid = json.loads(state.read_text())["pid"]
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 30
            while state.exists() and time.monotonic() < deadline:
                time.sleep(0.05)


def test_run_starts_a_daemon_that_outlives_it(env: dict[str, str], home: Path) -> None:
    with stopping_the_daemon(home) as state:
        missing = "127.0.0.1:1/nobody/nothing"  # where no registry listens
        run = cli("run", missing, "hello", env=env)
        assert run.returncode == 1
        started, pulling, refused = run.stderr.splitlines()
        pid = json.loads(state.read_text())["pid"]
        log = home / f".local/state/runner/runner-{env['MODEL_RUNNER_PORT']}.log"
        assert started.startswith("Started a server in the background at unix:")
        assert started.endswith(f"(log: {log}; to stop it: kill {pid})")
        assert pulling == f"Unable to find model '{missing}' locally. Pulling from the server."
        assert refused.startswith("runner: ")
        assert os.getsid(pid) == pid
        again = cli("run", missing, "hello", env=env)
        assert again.stderr.splitlines() == [pulling, refused]
        assert "Listening on" in cli("logs", env=env).stdout
        assert log.stat().st_mode & 0o077 == 0


def test_a_daemon_that_cannot_start_says_why(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")
    run = cli("run", "x", "hello", env=env | {"MODELS_PATH": str(tmp_path / "models")})
    assert run.returncode == 1
    assert run.stderr.startswith("runner: the server ended with exit code ")
    assert str(tmp_path / "models") in run.stderr
    assert run.stderr.count("\n") == 1


def test_e18_a_read_only_home_does_not_stop_a_server_in_the_foreground(env: dict[str, str]) -> None:
    with serving(env=env | {"XDG_STATE_HOME": "/proc/nowhere"}) as (process, said):
        assert said.startswith("cannot write the log /proc/nowhere/runner/runner-")
        assert process.stderr is not None
        assert process.stderr.readline().startswith("cannot write /proc/nowhere/runner/daemon")
        assert process.stderr.readline().startswith("Listening on ")


def hand_over(listener: socket.socket, *flags: str) -> list[str]:
    """Return a command that becomes ``serve`` with the listener as systemd hands it over."""
    program = (
        f"import os, sys; os.dup2({listener.fileno()}, 3); "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    return [sys.executable, "-c", program, "-m", "runner", "serve", *flags]


@pytest.mark.skipif(sys.platform != "linux", reason="services are systemd's on Linux alone")
def test_a_service_manager_opens_the_port_and_is_told_when_it_is_served(
    env: dict[str, str], home: Path
) -> None:
    """As systemd does it: the first connection is there before the server is."""
    notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notes.bind(str(home / "notify"))
    notes.settimeout(30)
    with notes, socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port), timeout=30)
        early.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        process = subprocess.Popen(
            hand_over(opened, "--socket", "off", "--log-level", "warning"),
            env=env | {"NOTIFY_SOCKET": str(home / "notify")},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[opened.fileno()],
        )
        try:
            assert notes.recv(100) == f"READY=1\nMAINPID={process.pid}".encode()
            with early:
                assert early.recv(1000).startswith(b"HTTP/1.1 200 ")
            assert process.stderr is not None
            said = process.stderr.readline()
            assert said == f"Listening on http://127.0.0.1:{port} (Ctrl-C to stop)\n"
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
        assert (process.returncode, log) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="services are systemd's on Linux alone")
def test_an_open_port_of_a_service_manager_needs_a_key_too(env: dict[str, str]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as opened:
        run = subprocess.run(
            hand_over(opened),
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            pass_fds=[opened.fileno()],
            check=False,
        )
    assert run.returncode == 2
    assert "no API key" in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart on Linux alone")
def test_a_process_that_got_the_number_of_a_killed_server_is_left_alone(
    env: dict[str, str], home: Path
) -> None:
    state = home / ".local/state/runner/daemon.json"
    state.parent.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        told = {"pid": stranger.pid, "addresses": ["http://127.0.0.1:1"], "bridges": []}
        state.write_text(json.dumps(told))
        stopped = cli("stop-runner", env=env)
        assert (stopped.returncode, stopped.stderr) == (0, "No server runs here.\n")
        stranger.communicate(b"\n", timeout=30)
        assert stranger.returncode == 0


def test_start_and_stop_work_without_a_service(env: dict[str, str], home: Path) -> None:
    with stopping_the_daemon(home) as state:
        started = cli("start-runner", env=env)
        assert started.returncode == 0, started.stderr
        first = json.loads(state.read_text())["pid"]
        assert cli("restart-runner", env=env).returncode == 0
        assert json.loads(state.read_text())["pid"] != first
        stopped = cli("stop-runner", env=env)
        assert (stopped.returncode, stopped.stderr) == (0, "The server is stopped.\n")
        assert not state.exists()
        assert cli("stop-runner", env=env).stderr == "No server runs here.\n"


def test_start_runner_takes_docker_s_flags_and_stop_runner_removes_models(
    env: dict[str, str], home: Path
) -> None:
    port = str(free_port())
    there = env | {"MODEL_RUNNER_PORT": port}
    assert cli("start-runner", "--port", port, "--debug", env=env).returncode == 0
    try:
        (home / "m.gguf").write_bytes(tiny_model())
        assert cli("package", "--gguf", str(home / "m.gguf"), "tiny", env=there).returncode == 0
        again = cli("start-runner", "--port", port, env=env)
        assert "a server runs there already, and keeps its settings" in again.stderr
    finally:
        stopped = cli("stop-runner", "--models", env=there)
    assert stopped.stderr == "All models are removed.\nThe server is stopped.\n"
    # Nothing runs: a server is started for it, and stopped again.
    gone = cli("uninstall-runner", "--models", "--images", env=there)
    assert "All models are removed.\nThe server is stopped.\n" in gone.stderr
    assert cli("list", env=there).returncode == 1
    with serving("--port", port, env=env):
        assert json.loads(cli("list", "--json", env=there).stdout) == []
