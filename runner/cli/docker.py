"""What is different about a command line that comes from Docker (docker/cli, ``cli-plugins``).

As a plugin we get Docker's whole command line, its own options and our name ``model`` included. By
itself, which is how Compose calls it, the program takes Docker's options and no ``model``.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from runner.cli import main as commands

NAME = "model"
PLUGIN_VARIABLE = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
SOCKET_VARIABLE = "DOCKER_CLI_PLUGIN_SOCKET"
CONFIG_VARIABLE = "DOCKER_CONFIG"

# Docker's own options. They choose a Docker Engine, which we have no use for; only the folder of
# Docker's settings matters, for the logins to registries.
_WITH_VALUE = frozenset(
    {
        *("-c", "--context", "-H", "--host", "-l", "--log-level", "--config"),
        *("--tlscacert", "--tlscert", "--tlskey"),
    }
)
_ALONE = frozenset({"-D", "--debug", "--tls", "--tlsverify"})


class CommandLine(NamedTuple):
    """A command of ours, and the folder of Docker's settings if one was named."""

    arguments: tuple[str, ...]
    config: str | None = None


def main(arguments: Sequence[str]) -> int:
    """Obey a command line of Docker's and return the exit code."""
    is_plugin = PLUGIN_VARIABLE in os.environ
    if arguments and arguments[0] in commands.COMPLETIONS:
        return commands.main((arguments[0], *strip_name(arguments[1:])))
    line = read_command_line(arguments, is_plugin=is_plugin)
    if line.config:
        os.environ[CONFIG_VARIABLE] = line.config
    _leave_with_docker(os.environ)
    return commands.main(line.arguments)


def read_command_line(arguments: Sequence[str], *, is_plugin: bool) -> CommandLine:
    """Take Docker's options, and our name, from the front of a command line."""
    rest, config = list(arguments), None
    while rest:
        option, has_value, value = rest[0].partition("=")
        if option in _WITH_VALUE:
            del rest[0]
            if not has_value:
                value = rest.pop(0) if rest else ""
            config = value if option == "--config" else config
        elif rest[0] in _ALONE:
            del rest[0]
        else:
            break
    return CommandLine(strip_name(rest) if is_plugin else tuple(rest), config)


def strip_name(words: Sequence[str]) -> tuple[str, ...]:
    """Drop our own name, as which Docker calls us, from the front; also of ``help model``."""
    if list(words[:2]) == ["help", NAME]:
        return ("help", *words[2:])
    return tuple(words[1:] if list(words[:1]) == [NAME] else words)


def _leave_with_docker(env: MutableMapping[str, str]) -> None:
    """End as at Ctrl-C when Docker is told to end: it closes the socket that it gave us."""
    path = env.pop(SOCKET_VARIABLE, "")
    if not path:
        return
    bond = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bond.connect("\0" + path[1:] if path.startswith("@") else path)
    except OSError:
        bond.close()
        return
    threading.Thread(target=_await_end, args=(bond,), daemon=True).start()


def _await_end(bond: socket.socket) -> None:
    with bond, suppress(OSError):
        while bond.recv(64):
            pass
    os.kill(os.getpid(), signal.SIGINT)
