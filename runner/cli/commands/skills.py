"""``skills``: give coding agents the text that tells them how to use this program."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.cli.console import Console
from runner.errors import Kind, RunnerError
from runner.places import clean

NAME = "runner"  # of the skill, and so of its folder (agentskills.io)
SOURCE = Path(__file__).parents[1] / "skill.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--codex", action="store_true", help="for Codex")
    parser.add_argument("--claude", action="store_true", help="for Claude Code")
    parser.add_argument("--opencode", action="store_true", help="for OpenCode")
    parser.add_argument("--dest", metavar="DIR", help="into a folder of skills")
    parser.add_argument("-f", "--force", action="store_true", help="replace another text there")


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the skill for each agent that is named."""
    folders = list(_folders(args, console.env))
    if not folders:
        raise RunnerError(
            Kind.USAGE, "for which agent? --claude, --codex, --opencode or --dest DIR"
        )
    text = SOURCE.read_bytes()
    for folder in folders:
        path = folder / NAME / "SKILL.md"
        if path.exists() and not args.force and path.read_bytes() != text:
            raise RunnerError(
                Kind.CONFLICT, f"{path} has another text", hint="to replace it: --force"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        console.write(f"{path}\n")
    return 0


def _folders(args: argparse.Namespace, env: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders where the agents look for a user's skills; RunnerError(USAGE)."""
    if args.dest:
        yield Path(args.dest).expanduser()
    if args.claude:
        yield _settings(env, "CLAUDE_CONFIG_DIR", ".claude") / "skills"
    if args.codex:
        yield _settings(env, "CODEX_HOME", ".codex") / "skills"
    if args.opencode:
        yield _settings(env, "XDG_CONFIG_HOME", ".config") / "opencode" / "skills"


def _settings(env: Mapping[str, str], variable: str, default: str) -> Path:
    named, home = clean(env.get(variable)), clean(env.get("HOME"))
    if not (named or home):
        raise RunnerError(
            Kind.USAGE, f"neither {variable} nor HOME says where to", hint="--dest DIR"
        )
    return Path(named) if named else Path(home, default)
