"""The service of a user: its files, and the commands that are run."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.service import Program, launchd, quote, systemd
from runner.errors import Kind, RunnerError
from tests.support.console import run_command

PROGRAM = Program("/opt/my env/bin/python", "/opt/100% ours")
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "{log}"
test "$2" != {failing} || {{ echo "Failed to connect to bus" >&2; exit 1; }}
"""


def test_words_of_units_are_quoted() -> None:
    assert quote('a "b" 5% \\') == '"a \\"b\\" 5%% \\\\"'
    assert quote("two\nlines\tof \\n 'it'") == "\"two\\nlines\\tof \\\\n 'it'\""


def read_environment(unit: str) -> list[str]:
    """Read the variables of a unit as ``systemd.syntax(7)`` and ``systemd.unit(5)`` say."""
    [line] = [line for line in unit.splitlines() if line.startswith("Environment=")]
    words = re.findall(r'"((?:[^"\\]|\\.)*)"(?: |$)', line.removeprefix("Environment="))
    assert " ".join(f'"{word}"' for word in words) == line.removeprefix("Environment=")
    for word in words:
        assert set(re.findall(r"\\(.)", word)) <= set('\\"nt')
        assert re.fullmatch("(?:[^%]|%%)*", word)
    escapes = {"n": "\n", "t": "\t"}
    return [
        re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), word).replace("%%", "%")
        for word in words
    ]


VALUES = {
    "LINES": "one\n[Service]\nExecStart=/bin/false",
    "QUOTES": 'a "b" \'c\' " ',
    "PERCENT": "%h 5%% %",
    "BACKSLASH": 'C:\\new \\"x\\',
    "TAB": "\ta\t",
    "PLAIN": "$HOME ${X} #x; =  é\u3000",
    "MARKUP": "</string>&amp;<key>",
}


def test_files_of_services_hold_variables_as_they_are(tmp_path: Path) -> None:
    program = Program("/python", "/opt/100% ours", VALUES)
    service = systemd(program, tmp_path, address="127.0.0.1:1", socket_path=None)
    assert read_environment(service.files[1].text) == [
        "PYTHONPATH=/opt/100% ours",
        *(f"{name}={text}" for name, text in VALUES.items()),
    ]
    [agent] = launchd(program, tmp_path, user_id=501, log_path=Path("/log")).files
    read = plistlib.loads(agent.text.encode())["EnvironmentVariables"]
    assert read == {"PYTHONPATH": "/opt/100% ours", **VALUES}


@pytest.mark.parametrize("path", ["run/r.sock", "/run/r\n.sock", "/run/r.sock ", "/run/r\\"])
def test_a_socket_that_no_unit_can_name_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="cannot be written for systemd") as caught:
        systemd(PROGRAM, tmp_path, address="127.0.0.1:1", socket_path=Path(path))
    assert caught.value.kind is Kind.USAGE


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"),
    reason="systemd-analyze is not installed: apt-get install systemd",
)
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = Program(sys.executable, "/opt/100% ours", VALUES)
    service = systemd(
        program, tmp_path, address="127.0.0.1:12434", socket_path=Path("/run/user/0/r.sock")
    )
    for file in service.files:
        file.path.write_text(file.text)
    units = [str(file.path) for file in service.files]
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def verify(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", "--user", "verify", *units],
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    checked = verify()
    ours = [line for line in checked.stderr.splitlines() if "runner." in line]
    assert (checked.returncode, ours) == (0, [])
    read = verify(SYSTEMD_LOG_LEVEL="debug").stdout  # tells units as they were understood
    for name, text in {"PYTHONPATH": program.folder, **VALUES}.items():
        assert f"\tEnvironment: {name}={text}\n" in read


def test_systemd_opens_both_sockets(tmp_path: Path) -> None:
    service = systemd(PROGRAM, tmp_path, address="[::1]:9000", socket_path=Path("/r.sock"))
    sockets, daemon = (file.text.splitlines() for file in service.files)
    assert [line for line in sockets if line.startswith("Listen")] == [
        "ListenStream=[::1]:9000",
        "ListenStream=/r.sock",
    ]
    assert 'Environment="PYTHONPATH=/opt/100%% ours"' in daemon
    assert 'ExecStart="/opt/my env/bin/python" -P -m runner serve' in daemon


def test_launchd_gets_an_agent_that_is_kept_alive_unless_it_was_stopped(tmp_path: Path) -> None:
    service = launchd(PROGRAM, tmp_path, user_id=501, log_path=Path("/log"))
    [file] = service.files
    assert plistlib.loads(file.text.encode()) == {
        "Label": "dev.runner.runner",
        "ProgramArguments": [PROGRAM.python, "-P", "-m", "runner", "serve", "--background"],
        "EnvironmentVariables": {"PYTHONPATH": PROGRAM.folder},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": 45,
        "ProcessType": "Interactive",
        "StandardErrorPath": "/log",
    }
    assert service.install == (("launchctl", "bootstrap", "gui/501", str(file.path)),)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``systemctl`` that notes what it is asked for."""
    log = tmp_path / "calls"
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(log=log, failing="none"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return log


@pytest.mark.skipif(sys.platform != "linux", reason="services are systemd's on Linux alone")
def test_a_service_is_installed_restarted_and_removed(tmp_path: Path, calls: Path) -> None:
    env = {"HOME": str(tmp_path)}
    units = tmp_path / ".config/systemd/user"
    run_command({}, "install-runner", env=env)
    assert sorted(path.name for path in units.iterdir()) == ["runner.service", "runner.socket"]
    run_command({}, "restart-runner", env=env)
    run_command({}, "uninstall-runner", env=env)
    assert list(units.iterdir()) == []
    assert calls.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable runner.socket",
        "--user start runner.socket runner.service",
        "--user restart runner.service",
        "--user disable --now runner.socket",
        "--user stop runner.service",
        "--user daemon-reload",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="services are systemd's on Linux alone")
def test_a_manager_that_fails_is_told_in_its_words(tmp_path: Path, calls: Path) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(log=calls, failing="enable"))
    code, _, said, _ = run_command({}, "install-runner", env={"HOME": str(tmp_path)})
    assert code == 1
    assert said == "systemctl --user enable runner.socket: Failed to connect to bus\n"


@pytest.mark.skipif(sys.platform != "linux", reason="services are systemd's on Linux alone")
def test_docker_s_flags_are_settings_of_the_service(tmp_path: Path, calls: Path) -> None:
    env = {"HOME": str(tmp_path)}
    units = tmp_path / ".config/systemd/user"

    def unit_lines(name: str) -> list[str]:
        return (units / f"runner.{name}").read_text().splitlines()

    flags = ("--port", "9000", "--debug", "--gpu", "none", "--backend", "llama.cpp")
    assert run_command({}, "install-runner", *flags, env=env)[0] == 0
    assert "ListenStream=127.0.0.1:9000" in unit_lines("socket")
    [line] = [line for line in unit_lines("service") if line.startswith("Environment=")]
    assert line.endswith(
        '" "MODEL_RUNNER_PORT=9000" "RUNNER_GPU_LAYERS=0" "RUNNER_LOG_LEVEL=debug"'
    )
    for command in ("install-runner", "start-runner", "restart-runner"):
        code, _, said, _ = run_command({}, command, "--port", "9001", env=env)
        assert (code, "the service is installed, and keeps its settings" in said) == (2, True)
    assert run_command({}, "reinstall-runner", "--host", "::1", env=env)[0] == 0
    assert "ListenStream=[::1]:12434" in unit_lines("socket")
    assert "--user disable --now runner.socket" in calls.read_text().splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="services are systemd's on Linux alone")
def test_a_shell_s_settings_are_kept_and_its_secrets_left_out(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {
        "HOME": str(tmp_path),
        "MODELS_PATH": "my models",
        "RUNNER_SHARED_MODELS": "one, /two,~/three,~four",
        "MODEL_RUNNER_SOCK": "run/r.sock",
        "RUNNER_API_KEY_FILE": "keys\x1b",
        "RUNNER_ALLOWED_HOSTS": "of-bytes-\udcff",
        "RUNNER_CONFIG": "off",
        "MODEL_RUNNER_REGISTRY_MIRRORS": "https://mirror.example",
        "HTTPS_PROXY": "http://me:a-secret-of-mine@proxy.example",
        "RUNNER_PARALLEL": "2",
        "RUNNER_API_KEY": "a-secret-of-mine",
        "LANG": "C",
    }
    code, _, said, _ = run_command({}, "install-runner", "--port", "9000", env=env)
    unit = (tmp_path / ".config/systemd/user/runner.service").read_text()
    [line] = [line for line in unit.splitlines() if line.startswith("Environment=")]
    assert code == 0, said
    assert line.split('" "', 1)[1] == (
        f'MODEL_RUNNER_SOCK={tmp_path}/run/r.sock" "MODELS_PATH={tmp_path}/my models"'
        f' "RUNNER_SHARED_MODELS={tmp_path}/one,/two,~/three,{tmp_path}/~four"'
        ' "RUNNER_PARALLEL=2"'
        ' "MODEL_RUNNER_REGISTRY_MIRRORS=https://mirror.example" "RUNNER_CONFIG=off"'
        ' "MODEL_RUNNER_PORT=9000"'
    )
    assert said.splitlines()[:2] == [
        "Kept from this shell, over the configuration file: "
        "MODEL_RUNNER_SOCK, MODELS_PATH, RUNNER_SHARED_MODELS, RUNNER_PARALLEL, "
        "MODEL_RUNNER_REGISTRY_MIRRORS, RUNNER_CONFIG",
        "Left out, as files of services hold no secrets: RUNNER_API_KEY",
    ]
    assert (
        "Left out, as no file of a service can hold such characters: RUNNER_API_KEY_FILE, "
        "RUNNER_ALLOWED_HOSTS; the configuration file counts instead\n"
    ) in said
    assert (
        f"ListenStream={tmp_path}/run/r.sock\n"
        in (tmp_path / ".config/systemd/user/runner.socket").read_text()
    )
    assert "a-secret-of-mine" not in unit + said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "x"], "expected a port, 0 to 65535, got 'x'"),
        (["--gpu", "cuda"], "python build_native.py --backend cuda"),
        (["--backend", "vllm"], "argument --backend: invalid choice: 'vllm'"),
    ],
)
def test_flags_that_cannot_be_meant_change_nothing(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    code, _, err, _ = run_command({}, "install-runner", *flags, env={"HOME": str(tmp_path)})
    assert (code, said in err, list(tmp_path.iterdir())) == (2, True, []), err


def test_models_of_another_machine_s_server_are_not_removed(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "MODEL_RUNNER_HOST": "http://box:12434"}
    code, _, err, remote = run_command({}, "stop-runner", "--models", env=env)
    assert (code, remote.requests) == (2, [])
    assert "--models is for this machine's server, and http://box:12434 is another" in err
