"""Dispatch: the first word names a command, and its module alone is imported.

The one place where errors become a line on stderr and an exit code: 0 success, 1 failure, 2 a wrong
argument or file, 130 Ctrl-C.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

from runner.cli.console import Console, system_console
from runner.cli.output import one_line, printable
from runner.cli.parser import PROGRAM, Parser
from runner.errors import Kind, RunnerError

INTERRUPTED = 130  # 128 + SIGINT, as shells count
COMPLETIONS = ("__complete", "__completeNoDesc")  # as shells and Docker ask, after cobra
BROKEN_PIPE = 141  # 128 + SIGPIPE


class Command(NamedTuple):
    """A command's name, what its help says, and the other names it goes by."""

    name: str
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Where it is written."""
        return f"runner.cli.commands.{_MODULES.get(self.name, self.name)}"


_MODULES = {
    "install-runner": "install_runner",
    "start-runner": "start_runner",
    "stop-runner": "stop_runner",
    "restart-runner": "restart_runner",
    "reinstall-runner": "reinstall_runner",
    "uninstall-runner": "uninstall_runner",
    "import": "import_models",
    "install-plugin": "install_plugin",
    "mv-store": "mv_store",
}  # what Python would not take

COMMANDS = (
    Command("serve", "run the server in the foreground"),
    Command("run", "ask a model once, or chat with it; starts a server if none answers"),
    Command("pull", "bring a model from a registry, or from Hugging Face, into the store"),
    Command("push", "send a stored model to the registry that its name says"),
    Command("search", "find models on Docker Hub and Hugging Face, and whether they fit here"),
    Command("login", "keep a login to a registry, where Docker keeps them"),
    Command("logout", "forget a login to a registry"),
    Command("doctor", "find out step by step why a registry cannot be reached"),
    Command("package", "make a model of files, or of a stored model"),
    Command("save", "write a stored model to a tar archive"),
    Command("load", "store the models of a tar archive"),
    Command("import", "take models over from files, Docker, Ollama or Hugging Face's cache"),
    Command("list", "list the stored models", ("ls",)),
    Command("inspect", "show what is known of a stored model, as JSON"),
    Command("show", "show a stored model on a page, with the engine's settings"),
    Command("configure", "set how a model is run, for good; or show what is set", ("config",)),
    Command("tag", "give a stored model another name"),
    Command("rm", "remove models from the store"),
    Command("ps", "list the models in memory"),
    Command("unload", "unload models from memory", ("stop",)),
    Command("bench", "measure how fast a model answers one client, and many at once"),
    Command("tune", "measure which settings of the engine are fastest here, and keep them"),
    Command("status", "tell whether the server runs, and with which engine"),
    Command("df", "show the disk space that models take"),
    Command("prune", "free the disk space that no model needs"),
    Command("fsck", "check every byte of the store, and repair it"),
    Command("mv-store", "move the store to another folder or disk"),
    Command("purge", "remove all models from the store"),
    Command("context", "name servers, and choose the one that is asked"),
    Command("launch", "run a program configured for this server: claude, codex, openwebui"),
    Command("skills", "tell coding agents how to use this program"),
    Command("logs", "show the server's log"),
    Command("requests", "show recorded requests with their texts; serve --record-requests N"),
    Command("install-runner", "make the server a service of this user, and start it"),
    Command("start-runner", "start the server in the background"),
    Command("stop-runner", "stop the server, once running answers are finished"),
    Command("restart-runner", "restart the server with the settings in force"),
    Command("reinstall-runner", "make the service anew, with other settings"),
    Command("uninstall-runner", "remove the service; models and settings stay"),
    Command("install-plugin", "let the docker client's `docker model` be this program"),
    Command("compose", "what Docker Compose asks of a provider of models"),
    Command("completion", "print what bash, zsh or fish must know to complete our command lines"),
    Command("version", "show the versions of client and server"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Obey a command line and return the exit code."""
    console = system_console()
    try:
        return dispatch(sys.argv[1:] if arguments is None else arguments, console)
    except RunnerError as error:
        console.say(f"{PROGRAM}: {one_line(error)}")
        return error.row.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`runner list | head -1`): nothing to say, and nothing
        # for the interpreter to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        console.say(f"{PROGRAM}: {printable(_describe(error))}")
        return RunnerError(Kind.USAGE, "").row.exit_code


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart.

    That costs half of what starting it does and is felt at every ``list``; whatever a command
    opened, it has closed (mypy does so too).
    """
    with suppress(OSError):  # a reader that has left
        sys.stdout.flush()
    os._exit(code)


def dispatch(arguments: Sequence[str], console: Console) -> int:
    """Find the command, parse its arguments and run it; raises RunnerError."""
    word, rest = (arguments[0], arguments[1:]) if arguments else ("help", ())
    if word in ("help", "-h", "--help"):
        return dispatch([rest[0], "--help"], console) if rest else _help(console)
    if word == "--version":
        word = "version"
    if word in COMPLETIONS:
        return _complete(rest, console, is_described=word == COMPLETIONS[0])
    command = find_command(word)
    module = importlib.import_module(command.module)
    parser = Parser(command.name, command.summary)
    module.configure(parser)
    try:
        parsed = parser.parse_intermixed_args(rest)  # options may stand anywhere
    except SystemExit:  # argparse has printed --help
        return 0
    code: int = module.run(parsed, console)
    return code


def find_command(word: str) -> Command:
    """Return the command of that name or alias; RunnerError(USAGE) names near ones."""
    for command in COMMANDS:
        if word == command.name or word in command.aliases:
            return command
    near = [c.name for c in COMMANDS if c.name.startswith(word[:2]) or word in c.name]
    hint = f"did you mean {near[0]}?" if near else "see: python -m runner help"
    raise RunnerError(Kind.USAGE, f"there is no command {word!r}", hint=hint)


def render_help() -> str:
    """Render what ``python -m runner`` without arguments prints."""
    names = [", ".join((command.name, *command.aliases)) for command in COMMANDS]
    width = max(map(len, names))
    lines = [
        f"  {name.ljust(width)}  {command.summary}"
        for name, command in zip(names, COMMANDS, strict=True)
    ]
    return "\n".join(
        [
            "Language models on your own machine.",
            "",
            f"Usage: python -m {PROGRAM} COMMAND [ARGUMENTS]",
            "",
            *lines,
            "",
            f"Try:   python -m {PROGRAM} run              chat with the built-in model",
            f"       python -m {PROGRAM} COMMAND --help   what a command takes",
            "",
        ]
    )


def _help(console: Console) -> int:
    console.write(render_help())
    return 0


def _complete(words: Sequence[str], console: Console, *, is_described: bool) -> int:
    completing = importlib.import_module("runner.cli.completing")
    models = functools.partial(completing.stored_models, console)
    console.write("".join(completing.complete(words, models, is_described=is_described)))
    return 0


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
