"""``docker model`` is this program, under the real ``docker`` client; no engine is needed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL, Daemon, environment, until

DOCKER = shutil.which("docker")
NEEDS_DOCKER = "needs the docker client, no engine: apt-get install docker-cli (or docker.io)"

pytestmark = pytest.mark.skipif(DOCKER is None, reason=NEEDS_DOCKER)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder of Docker's settings that has our plugin."""
    folder = tmp_path / "docker config"
    done = subprocess.run(
        [sys.executable, "-m", "runner", "install-plugin"],
        env=environment(tmp_path, DOCKER_CONFIG=str(folder)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == f"{folder}/cli-plugins/docker-model\n"
    return folder


def command(config: Path, home: Path, url: str, *words: str) -> tuple[list[str], dict[str, str]]:
    """The command line, and an environment whose Docker settings are ours."""
    env = environment(home, DOCKER_CONFIG=str(config), MODEL_RUNNER_HOST=url)
    return [str(DOCKER), "model", *words], env


def docker(config: Path, tmp_path: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``docker model …`` in a folder that holds a trap: a package called like ours."""
    trap = tmp_path / "runner"
    trap.mkdir(exist_ok=True)
    (trap / "__init__.py").write_text("raise SystemExit(99)")
    line, env = command(config, tmp_path, url, *words)
    return subprocess.run(
        line, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )


def test_version_and_help_need_no_server(config: Path, tmp_path: Path) -> None:
    version = docker(config, tmp_path, "127.0.0.1:9", "version")
    assert version.returncode == 0
    assert version.stdout.startswith("Client:\n Version:")
    assert " Version:    (not reachable)\n" in version.stdout
    helped = docker(config, tmp_path, "127.0.0.1:9", "--help")
    assert helped.returncode == 0
    assert "  pull " in helped.stdout


def test_a_command_that_there_is_not(config: Path, tmp_path: Path) -> None:
    done = docker(config, tmp_path, "127.0.0.1:9", "lis")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no command 'lis'; did you mean list?" in done.stderr


def test_docker_lists_and_completes_the_plugin(config: Path, tmp_path: Path) -> None:
    env = environment(tmp_path, DOCKER_CONFIG=str(config))
    listed = subprocess.run(
        [str(DOCKER), "--help"], env=env, capture_output=True, text=True, check=True, timeout=30
    )
    assert "  model*      Language models on your own machine\n" in listed.stdout
    line = [str(DOCKER), "__complete", "model", "unl"]
    completed = subprocess.run(
        line, env=env, capture_output=True, text=True, check=True, timeout=30
    )
    assert completed.stdout == "unload\tunload models from memory\n:4\n"


@pytest.mark.model
def test_models_are_listed_run_and_told_of(config: Path, tmp_path: Path, daemon: Daemon) -> None:
    answer = docker(config, tmp_path, daemon.url, "run", "--max-tokens", "4", MODEL, "Say hello.")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.strip()
    models = json.loads(docker(config, tmp_path, daemon.url, "ls", "--json").stdout)
    assert len(models) == 1
    status = docker(config, tmp_path, daemon.url, "status", "--json")
    assert (status.returncode, status.stderr) == (0, "")
    told = json.loads(status.stdout)
    assert told["running"] is True
    assert told["endpoint"] == told["endpointHost"] == f"{daemon.url}/v1/"
    assert docker(config, tmp_path, daemon.url, "ps").stdout.startswith("MODEL NAME")


@pytest.mark.model
def test_ctrl_c_ends_docker_and_the_plugin(config: Path, tmp_path: Path, daemon: Daemon) -> None:
    """Without a terminal Docker alone gets the signal, and closes the plugin's socket."""
    line, env = command(config, tmp_path, daemon.url, "run", MODEL, "Count from 1 to 5000.")
    running = subprocess.Popen(
        line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        assert running.stdout is not None
        assert running.stdout.read(1)
        plugin = children_of(running.pid)
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(timeout=20) == 130
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in plugin))
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    assert found
    return found


def test_another_program_s_plugin_stays(tmp_path: Path) -> None:
    plugin = tmp_path / ".docker" / "cli-plugins" / "docker-model"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("#!/bin/sh\n")
    line = [sys.executable, "-m", "runner", "install-plugin"]

    def install(*flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*line, *flags],
            env=environment(tmp_path),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    refused = install()
    assert (refused.returncode, plugin.read_text()) == (1, "#!/bin/sh\n")
    assert "belongs to another program" in refused.stderr
    assert install("--force").returncode == 0
    assert install().returncode == 0  # it is ours now
    assert install("--remove").returncode == 0
    assert not plugin.exists()
