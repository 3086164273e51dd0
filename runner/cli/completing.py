"""What the last word of a command line may become: for shells, and for Docker's completion.

The lines are cobra's: a candidate each, with a tab and its description, and last ``:`` and a
directive that says whether names of files would do, too.
"""

from __future__ import annotations

import importlib
from argparse import SUPPRESS
from collections.abc import Callable, Iterator, Sequence

from runner.cli import main as commands
from runner.cli.console import Console
from runner.cli.output import display_name
from runner.cli.parser import Parser
from runner.errors import RunnerError

FILES = 0  # cobra's ShellCompDirectiveDefault
NO_FILES = 4  # cobra's ShellCompDirectiveNoFileComp
PATIENCE_S = 2.0  # a person waits

_MODELS = ("MODEL", "SOURCE", "MODEL [-- FLAG...]", "MODEL|REGISTRY")  # what arguments are called

Candidates = Iterator[tuple[str, str]]  # a word and what it means


def complete(
    words: Sequence[str], find_models: Callable[[], Sequence[str]], *, is_described: bool
) -> Iterator[str]:
    """Yield the lines for a command line without the program's name."""
    begun = words[-1] if words else ""
    candidates, directive = _find(words[:-1], begun, find_models)
    for word, meaning in candidates:
        if word.startswith(begun):
            yield f"{word}\t{meaning}\n" if is_described and meaning else f"{word}\n"
    yield f":{directive}\n"


def stored_models(console: Console) -> list[str]:
    """Return the names of the stored models, none if no server answers in time."""
    try:
        models = console.remote(None).call("GET", "/models", timeout_s=PATIENCE_S)
    except RunnerError:
        return []
    return sorted(display_name(tag) for model in models for tag in model.get("tags") or ())


def _find(
    before: Sequence[str], begun: str, find_models: Callable[[], Sequence[str]]
) -> tuple[Candidates, int]:
    if not before:
        return ((command.name, command.summary) for command in commands.COMMANDS), NO_FILES
    try:
        command = commands.find_command(before[0])
    except RunnerError:
        return iter(()), FILES
    parser = Parser(command.name, command.summary)
    importlib.import_module(command.module).configure(parser)
    if begun.startswith("-"):
        return _options(parser), NO_FILES
    for action in parser.declared():
        if action.option_strings and before[-1] in action.option_strings and action.nargs != 0:
            return ((str(choice), "") for choice in action.choices or ()), FILES
    positional = [action for action in parser.declared() if not action.option_strings]
    if any(action.metavar in _MODELS for action in positional):
        return ((name, "") for name in find_models()), NO_FILES
    choices = [str(choice) for action in positional for choice in action.choices or ()]
    return ((choice, "") for choice in choices), NO_FILES if choices else FILES


def _options(parser: Parser) -> Candidates:
    for action in parser.declared():
        if action.help != SUPPRESS:
            for option in action.option_strings:
                yield option, (action.help or "").replace("\n", " ")
