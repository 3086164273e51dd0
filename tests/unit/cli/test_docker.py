"""Command lines as Docker gives them to a plugin, and as Compose calls one."""

from __future__ import annotations

import json

import pytest

from runner.cli import plugin
from runner.cli.docker import CommandLine, read_command_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model ls", CommandLine(("ls",))),
        ("--context foo model ls --json", CommandLine(("ls", "--json"))),
        ("-c foo --debug --config=/c model ps", CommandLine(("ps",), "/c")),
        (
            "--config /c --tlscacert ca -H tcp://x model run m -c",
            CommandLine(("run", "m", "-c"), "/c"),
        ),
        ("model --help", CommandLine(("--help",))),
        ("help model", CommandLine(("help",))),
        ("help model pull", CommandLine(("help", "pull"))),
        ("model", CommandLine(())),
        ("model model", CommandLine(("model",))),
        ("-l", CommandLine(())),
    ],
)
def test_a_plugin_is_given_all_of_docker_s_command_line(line: str, expected: CommandLine) -> None:
    assert read_command_line(line.split(), is_plugin=True) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ls --json", CommandLine(("ls", "--json"))),
        ("--config /c status --json", CommandLine(("status", "--json"), "/c")),
        (
            "compose --project-name=p up --model=m llm",
            CommandLine(("compose", "--project-name=p", "up", "--model=m", "llm")),
        ),
        ("", CommandLine(())),
    ],
)
def test_by_itself_it_has_no_name_before_the_command(line: str, expected: CommandLine) -> None:
    assert read_command_line(line.split(), is_plugin=False) == expected


def test_the_metadata_is_what_docker_and_compose_look_for() -> None:
    metadata = json.loads(plugin.METADATA)
    assert metadata == {
        "SchemaVersion": "0.1.0",
        "Vendor": "runner",
        "Version": "v1.1.0",
        "ShortDescription": "Language models on your own machine",
    }
