"""`launch`: what each program is told, and how it is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.apps import APPS
from tests.support.console import run_command
from tests.support.scripted_daemon import ScriptedDaemon

HERE = ("--host", "http://127.0.0.1:9000")


def plan(*arguments: str, **env: str) -> dict[str, object]:
    code, out, err, _ = run_command({}, "launch", "--json", *HERE, *arguments, env=env)
    assert code == 0, err
    value: dict[str, object] = json.loads(out)
    return value


def test_without_a_name_they_are_listed() -> None:
    code, out, err, _ = run_command({}, "launch")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["APP", *(app.name for app in APPS)]
    listed = json.loads(run_command({}, "launch", "--json")[1])
    assert [one["name"] for one in listed] == [app.name for app in APPS]


def test_claude_is_told_in_its_variables() -> None:
    assert plan("claude", "--model", "ai/qwen3") == {
        "command": ["claude"],
        "env": {
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9000/anthropic",
            "ANTHROPIC_AUTH_TOKEN": "sk-docker-model-runner",
            "ANTHROPIC_MODEL": "ai/qwen3",
            "ANTHROPIC_DEFAULT_OPUS_MODEL": "ai/qwen3",
            "ANTHROPIC_DEFAULT_SONNET_MODEL": "ai/qwen3",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "ai/qwen3",
        },
    }


def test_codex_is_told_in_its_settings_and_takes_arguments_of_its_own() -> None:
    told = plan("codex", "--model", "m", "--", "exec", "--json", RUNNER_API_KEY="k1")
    assert told == {
        "command": [
            "codex",
            "-c",
            'model_provider="runner"',
            "-c",
            'model_providers.runner.name="runner"',
            "-c",
            'model_providers.runner.base_url="http://127.0.0.1:9000/v1"',
            "-c",
            'model_providers.runner.env_key="OPENAI_API_KEY"',
            "-c",
            'model_providers.runner.wire_api="responses"',
            "-m",
            "m",
            "exec",
            "--json",
        ],
        "env": {"OPENAI_API_KEY": "k1"},
    }


def test_opencode_is_told_in_its_own_json() -> None:
    told = plan("opencode", "--model", "ai/qwen3")
    config = json.loads(told["env"]["OPENCODE_CONFIG_CONTENT"])  # type: ignore[index]
    assert config["model"] == "runner/ai/qwen3"
    assert config["provider"]["runner"]["options"]["baseURL"] == "http://127.0.0.1:9000/v1"


def test_a_container_gets_its_variables_by_name_and_the_person_a_warning() -> None:
    options = ["--port", "8081", "--detach", "--image", "mine:1"]
    code, out, err, _ = run_command({}, "launch", "openwebui", "--dry-run", *options, *HERE)
    assert code == 0
    assert out.splitlines() == [
        "export OPENAI_API_BASE_URL=http://127.0.0.1:9000/v1",
        "export OPENAI_API_KEY=sk-docker-model-runner",
        "export ENABLE_OLLAMA_API=false",
        "docker run --rm --name open-webui -d -p 127.0.0.1:8081:8080 -v "
        "open-webui:/app/backend/data --add-host host.docker.internal:host-gateway "
        "-e OPENAI_API_BASE_URL -e OPENAI_API_KEY -e ENABLE_OLLAMA_API mine:1",
    ]
    assert err.startswith("Containers may not reach http://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("app", "lines"),
    [
        (
            "openai",
            "export OPENAI_BASE_URL=http://127.0.0.1:9000/v1\nexport OPENAI_API_KEY='a$b'\n",
        ),
        ("ollama", "export OLLAMA_HOST=http://127.0.0.1:9000\n"),
    ],
)
def test_variables_are_lines_for_a_shell(app: str, lines: str) -> None:
    env = {"RUNNER_API_KEY": "a$b"}
    code, out, _, _ = run_command({}, "launch", app, "--dry-run", *HERE, env=env)
    assert (code, out) == (0, lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "there is no program 'none' (one of: claude, codex,"),
        (["claude"], "claude needs a model: --model NAME"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], message: str) -> None:
    code, _, err, _ = run_command({}, "launch", *arguments, *HERE)
    assert code == 2
    assert message in err


def test_a_program_that_is_not_installed_is_named_with_the_remedy(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path)}
    code, _, err, _ = run_command({}, "launch", "claude", "--model", "m", *HERE, env=env)
    assert (code, err) == (
        2,
        "claude is not installed (npm install -g @anthropic-ai/claude-code)\n",
    )


def test_the_program_takes_our_place(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text('#!/bin/sh\necho "$ANTHROPIC_BASE_URL $ANTHROPIC_MODEL $*"\nexit 7\n')
    program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    with ScriptedDaemon() as daemon:
        command = ["launch", "claude", "--model", "m", "--host", daemon.url, "--", "-p", "hi"]
        done = subprocess.run(
            [sys.executable, "-m", "runner", *command],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (7, f"{daemon.url}/anthropic m -p hi\n")
