"""``skills``: the text for coding agents, and that what it says is so."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from runner.cli.commands.skills import SOURCE
from runner.cli.main import find_command
from runner.cli.parser import Parser
from tests.support.console import run_command

TEXT = SOURCE.read_text(encoding="utf-8")


def test_each_agent_gets_it_where_it_looks(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "CODEX_HOME": str(tmp_path / "codex")}
    flags = ("--claude", "--codex", "--opencode", "--dest", str(tmp_path / "mine"))
    code, out, err, _ = run_command({}, "skills", *flags, env=env)
    paths = [tmp_path / each for each in ("mine", ".claude/skills", "codex/skills")]
    paths = [*paths, tmp_path / ".config/opencode/skills"]
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{path}/runner/SKILL.md" for path in paths]
    assert {Path(line).read_text(encoding="utf-8") for line in out.splitlines()} == {TEXT}


def test_another_text_is_replaced_by_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "runner/SKILL.md"
    path.parent.mkdir()
    path.write_text("mine")
    code, _, err, _ = run_command({}, "skills", "--dest", str(tmp_path))
    assert (code, path.read_text()) == (1, "mine")
    assert "has another text (to replace it: --force)" in err
    for flags in (["-f"], []):
        assert run_command({}, "skills", "--dest", str(tmp_path), *flags)[0] == 0
        assert path.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(
    ("flags", "env", "said"),
    [
        ([], {}, "for which agent? --claude, --codex, --opencode or --dest DIR"),
        (["--claude"], {}, "neither CLAUDE_CONFIG_DIR nor HOME says where to"),
    ],
)
def test_without_a_place_nothing_is_written(
    flags: list[str], env: dict[str, str], said: str
) -> None:
    code, out, err, _ = run_command({}, "skills", *flags, env=env)
    assert (code, out) == (2, "")
    assert said in err


def test_its_head_is_what_agents_read() -> None:
    match = re.match(r"---\nname: runner\ndescription: (.+)\n---\n", TEXT)
    assert match is not None
    assert len(match[1]) <= 1024  # agentskills.io


SCRIPTS = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"\brunner [a-z][^\n#)]*", SCRIPTS)


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_ours(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = find_command(name)
    parser = Parser(command.name, command.summary)
    importlib.import_module(command.module).configure(parser)
    parser.parse_intermixed_args(arguments)


def test_no_script_of_it_is_overlooked() -> None:
    assert len(COMMANDS) == len(SCRIPTS.strip().splitlines())
