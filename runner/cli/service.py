"""The daemon as a service of this user: which files and commands systemd and launchd want. Pure."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runner.errors import Kind, RunnerError

NAME = "runner"
LABEL = "dev.runner.runner"
STOP_S = 45  # running answers have 30 s, workers 5

Argv = tuple[str, ...]


class File(NamedTuple):
    """A file of a service, and what stands in it."""

    path: Path
    text: str


class Service(NamedTuple):
    """A service: its files, and the commands to run, in their order."""

    files: tuple[File, ...]
    install: tuple[Argv, ...]  # once the files are there
    start: tuple[Argv, ...]
    stop: tuple[Argv, ...]
    restart: tuple[Argv, ...]
    uninstall: tuple[Argv, ...]  # while the files are still there
    forget: tuple[Argv, ...] = ()  # when they are gone

    @property
    def is_installed(self) -> bool:
        """Whether its files are there."""
        return all(file.path.exists() for file in self.files)


class Program(NamedTuple):
    """What is to be run: this Python, with this installation of ours."""

    python: str
    folder: str  # that holds the package
    variables: Mapping[str, str] = {}  # the settings it is given

    @property
    def environment(self) -> dict[str, str]:
        """Return what it needs of an environment."""
        return {"PYTHONPATH": self.folder, **self.variables}


def systemd(program: Program, units: Path, *, address: str, socket_path: Path | None) -> Service:
    """Describe a user service whose sockets systemd opens: it starts with the first client.

    ``address`` is HOST:PORT as systemd writes it; ``units`` the folder of the user's units.
    Raises RunnerError(USAGE) for a socket whose path no line of a unit can hold.
    """
    control = ("systemctl", "--user")
    both = (f"{NAME}.socket", f"{NAME}.service")
    return Service(
        files=(
            File(units / both[0], _SOCKET.format(listen=_listen(address, socket_path))),
            File(
                units / both[1],
                _SERVICE.format(
                    python=quote(program.python),
                    environment=" ".join(
                        quote(f"{name}={value}") for name, value in program.environment.items()
                    ),
                    stop_s=STOP_S,
                ),
            ),
        ),
        install=((*control, "daemon-reload"), (*control, "enable", both[0])),
        start=((*control, "start", *both),),
        stop=((*control, "stop", *both),),
        restart=((*control, "restart", both[1]),),
        uninstall=((*control, "disable", "--now", both[0]), (*control, "stop", both[1])),
        forget=((*control, "daemon-reload"),),
    )


def launchd(program: Program, agents: Path, *, user_id: int, log_path: Path) -> Service:
    """Describe an agent of a macOS user. It ends with exit code 0 when it was asked to."""
    domain = f"gui/{user_id}"
    path = agents / f"{LABEL}.plist"
    agent = {
        "Label": LABEL,
        "ProgramArguments": [program.python, "-P", "-m", "runner", "serve", "--background"],
        "EnvironmentVariables": program.environment,
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": STOP_S,
        "ProcessType": "Interactive",
        "StandardErrorPath": str(log_path),
    }
    return Service(
        files=(File(path, plistlib.dumps(agent).decode()),),
        install=(("launchctl", "bootstrap", domain, str(path)),),
        start=(("launchctl", "kickstart", f"{domain}/{LABEL}"),),
        stop=(("launchctl", "kill", "SIGTERM", f"{domain}/{LABEL}"),),
        restart=(("launchctl", "kickstart", "-k", f"{domain}/{LABEL}"),),
        uninstall=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
    )


def quote(text: str) -> str:
    """Quote a word of a unit's line (``systemd.syntax(7)``); a program's path knows no ``$``."""
    return f'"{text.translate(_ESCAPES)}"'


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\t": "\\t"})


def _listen(address: str, socket_path: Path | None) -> str:
    """Return the lines of a unit's addresses, which know specifiers, but no quotes or escapes."""
    if socket_path is None:
        return f"ListenStream={address}"
    path = str(socket_path)
    if not path.startswith("/") or not path.isprintable() or path != path.strip().rstrip("\\"):
        raise RunnerError(
            Kind.USAGE,
            f"the unix socket's path cannot be written for systemd: {path!r}",
            hint="give an absolute one of plain characters with MODEL_RUNNER_SOCK, or off",
        )
    return "\n".join(f"ListenStream={each}" for each in (address, path.replace("%", "%%")))


_SOCKET = """\
# Made by: runner install-runner
[Unit]
Description=Language models on this machine: who calls starts the server

[Socket]
{listen}
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
"""

_SERVICE = """\
# Made by: runner install-runner. Settings: python -m runner config
[Unit]
Description=Language models on this machine
Requires=runner.socket
After=runner.socket

[Service]
Type=notify
Environment={environment}
ExecStart={python} -P -m runner serve
Restart=on-failure
# Workers are ended by the server, when running answers are complete.
KillMode=mixed
TimeoutStopSec={stop_s}
NoNewPrivileges=yes
"""
