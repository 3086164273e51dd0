from __future__ import annotations

import importlib

import pytest

from runner.cli import main
from runner.cli.parser import Parser
from runner.errors import Kind, RunnerError
from tests.support.console import make_console, run_command


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_without_a_command_there_is_help(arguments: list[str]) -> None:
    code, out, err, _ = run_command({}, *arguments)
    assert (code, err) == (0, "")
    assert out == main.render_help()


def test_the_help_names_every_command_and_alias() -> None:
    text = main.render_help()
    for command in main.COMMANDS:
        assert ", ".join([command.name, *command.aliases]) in text
        assert command.summary in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("command", main.COMMANDS, ids=lambda command: command.name)
def test_every_command_explains_itself(
    command: main.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.dispatch([command.name, "--help"], make_console()) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: runner {command.name} ")
    assert main.dispatch(["help", command.name], make_console()) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("command", main.COMMANDS, ids=lambda command: command.name)
def test_every_command_declares_and_runs(command: main.Command) -> None:
    module = importlib.import_module(command.module)
    module.configure(Parser(command.name, command.summary))
    assert callable(module.run)


@pytest.mark.parametrize(("alias", "name"), [("ls", "list"), ("stop", "unload")])
def test_an_alias_is_the_command(alias: str, name: str) -> None:
    assert main.find_command(alias).name == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lists"], "there is no command 'lists' (did you mean list?)"),
        (["zzz"], "there is no command 'zzz' (see: python -m runner help)"),
        (["list", "--jso"], "unrecognized arguments: --jso (see: python -m runner list --help)"),
        (
            ["inspect"],
            "the following arguments are required: MODEL (see: python -m runner inspect --help)",
        ),
        (["list", "--json", "--quiet"], "argument -q/--quiet: not allowed with argument --json"),
    ],
)
def test_a_usage_error_is_a_line_and_code_2(arguments: list[str], message: str) -> None:
    code, out, err, _ = run_command({}, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (RunnerError(Kind.NOT_FOUND, "no", hint="do"), 1, "runner: no; do\n"),
        (RunnerError(Kind.INVALID_MODEL, "bad file"), 2, "runner: bad file\n"),
        (KeyboardInterrupt(), 130, ""),
        (FileNotFoundError(2, "No such file", "a\x1bb"), 2, "runner: a\ufffdb: No such file\n"),
    ],
)
def test_errors_become_a_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(*_: object) -> int:
        raise raised

    monkeypatch.setattr(main, "dispatch", fail)
    assert main.main(["list"]) == code
    assert capsys.readouterr().err == said


def test_options_may_stand_among_arguments() -> None:
    answers = {
        "DELETE /models/a?force=true": [{"Untagged": "a"}],
        "DELETE /models/b?force=true": [{"Deleted": "sha256:b"}],
    }
    code, out, _, _ = run_command(answers, "rm", "a", "--force", "b")
    assert (code, out) == (0, "Untagged: a\nDeleted: sha256:b\n")
