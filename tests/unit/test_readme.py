"""README against the code: what people read first must not be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.cli.main import COMMANDS
from runner.config import OPTIONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_commands_is_the_parsers(readme: str) -> None:
    # A row begins with the command and its arguments: | `rm MODEL…` | …
    named = re.findall(r"^\| `(?:python -m )?(?:runner )?([a-z][a-z-]*)[ `]", readme, re.MULTILINE)
    assert sorted(named) == sorted(command.name for command in COMMANDS)


def test_every_variable_is_told(readme: str) -> None:
    variables = {variable for option in OPTIONS for variable in option.variables}
    assert {variable for variable in variables if variable not in readme} == set()


@pytest.mark.parametrize("name", ["requests_chat.py", "openai_chat.py"])
def test_an_example_is_shown_as_it_is(readme: str, name: str) -> None:
    assert (ROOT / "examples" / name).read_text(encoding="utf-8").strip() in readme
