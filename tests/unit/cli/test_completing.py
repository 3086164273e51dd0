"""Completion: what is offered, and bash asked for it as a person's would be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.commands.completion import SCRIPTS
from runner.cli.completing import complete
from runner.cli.endpoint import Endpoint
from runner.cli.remote import NoDaemon
from tests.support.console import run_command

MODELS = [{"tags": ["docker.io/ai/smollm2:latest", "docker.io/ai/smollm2:360M"]}]


def offered(*words: str) -> list[str]:
    return list(complete(words, lambda: ["qwen3", "smollm2:360M"], is_described=False))


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("unl",), ["unload\n", ":4\n"]),
        (("ls", "sm"), ["smollm2:360M\n", ":4\n"]),
        (("list", "--js"), ["--json\n", ":4\n"]),
        (("run", "--color", "a"), ["auto\n", ":0\n"]),
        (("completion", "z"), ["zsh\n", ":4\n"]),
        (("context", "cr"), ["create\n", ":4\n"]),
        (("save", "smollm2", "-o", ""), [":0\n"]),
        (("nope", "x"), [":0\n"]),
    ],
)
def test_what_a_word_may_become(words: tuple[str, ...], lines: list[str]) -> None:
    assert offered(*words) == lines


def test_models_are_asked_of_the_server_and_none_is_no_error() -> None:
    code, out, err, _ = run_command({"GET /models": MODELS}, "__complete", "rm", "")
    assert (code, out, err) == (0, "smollm2\nsmollm2:360M\n:4\n", "")
    down = NoDaemon(Endpoint("127.0.0.1", 1))
    assert run_command({"GET /models": down}, "__complete", "rm", "")[:3] == (0, ":4\n", "")


def test_commands_are_described_where_that_is_wanted() -> None:
    lines = list(complete(["lis"], list, is_described=True))
    assert lines == ["list\tlist the stored models\n", ":4\n"]
    assert len(list(complete([], list, is_described=True))) > 20


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_one_that_its_shell_reads(shell: str, tmp_path: Path) -> None:
    code, out, err, _ = run_command({}, "completion", shell)
    assert (code, out, err) == (0, SCRIPTS[shell], "")
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    (tmp_path / "script").write_text(out)
    subprocess.run([program, "-n", str(tmp_path / "script")], check=True, timeout=20)


@pytest.mark.skipif(
    shutil.which("bash") is None, reason="bash is not installed: apt-get install bash"
)
@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("runner unl", ["unload"]),
        ("runner list --js", ["--json"]),
        ("runner completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(line: str, replies: list[str], tmp_path: Path) -> None:
    program = tmp_path / "runner"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m runner "$@"\n')
    program.chmod(0o755)
    script = f"{SCRIPTS['bash']}\nCOMP_LINE='{line}' COMP_POINT={len(line)}\n_runner\n"
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == replies
