"""What the ``*-runner`` commands do: carry out the plan of a service on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import runner
from runner.cli import background
from runner.cli.commands.purge import purge
from runner.cli.console import Console
from runner.cli.endpoint import explicit_endpoint, read_state
from runner.cli.remote import NoDaemon
from runner.cli.service import STOP_S, Argv, Program, Service, launchd, systemd
from runner.cli.service_flags import kept_variables
from runner.cli.settings import read_settings
from runner.errors import Kind, RunnerError
from runner.places import clean

POLL_S = 0.05
_NONE: Mapping[str, str] = {}
MANAGER_S = STOP_S + 15  # to start or end the server, by a service manager


def find_service(
    console: Console, variables: Mapping[str, str] = _NONE, platform: str = sys.platform
) -> Service:
    """Describe this user's service, with settings by their variables.

    Raises RunnerError(USAGE) where no manager of services is known.
    """
    console = _with(console, variables)
    home = clean(console.env.get("HOME"))
    if platform not in ("linux", "darwin") or not home:
        raise RunnerError(
            Kind.USAGE, "services of users are known on Linux and macOS, below a HOME"
        )
    package = Path(runner.__file__).resolve().parent
    program = Program(sys.executable, str(package.parent), variables)
    settings = read_settings(console.env, {})
    if platform == "darwin":
        agents = Path(home, "Library", "LaunchAgents")
        return launchd(program, agents, user_id=os.getuid(), log_path=settings.log_path)
    config = clean(console.env.get("XDG_CONFIG_HOME")) or f"{home}/.config"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    host = "127.0.0.1" if host == "localhost" else host  # systemd looks no names up
    return systemd(
        program,
        Path(config, "systemd", "user"),
        address=f"{host}:{settings.port}",
        socket_path=settings.socket_path,
    )


def install(console: Console, variables: Mapping[str, str]) -> None:
    """Write the service's files, and start it now and with every login."""
    found = kept_variables(console.env)
    kept = {name: text for name, text in found.variables.items() if name not in variables}
    service = find_service(console, {**kept, **variables})
    _refuse_change(service, variables)
    for file in service.files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.text, encoding="utf-8")
        console.write(f"{file.path}\n")
    if kept:
        console.say(f"Kept from this shell, over the configuration file: {', '.join(kept)}")
    if found.secret:
        console.say(f"Left out, as files of services hold no secrets: {', '.join(found.secret)}")
        console.say("To have a key: RUNNER_API_KEY_FILE=FILE, then reinstall-runner")
    if found.unwritable:
        console.say(
            "Left out, as no file of a service can hold such characters: "
            f"{', '.join(found.unwritable)}; the configuration file counts instead"
        )
    _obey(service.install)
    _obey(service.start)
    console.say("The server runs, and will after every login. To end that: uninstall-runner")


def reinstall(console: Console, variables: Mapping[str, str]) -> None:
    """Make the service anew, with these settings."""
    if find_service(console).is_installed:
        uninstall(console)
    install(console, variables)


def start(console: Console, variables: Mapping[str, str]) -> None:
    """Start the service, or a server in the background where none is installed."""
    service = find_service(console)
    _refuse_change(service, variables)
    console = _with(console, variables)
    if variables and _answers(console):
        raise RunnerError(
            Kind.CONFLICT,
            "a server runs there already, and keeps its settings",
            hint="to end it first: runner restart-runner, with the same flags",
        )
    if service.is_installed:
        _obey(service.start)
    remote = background.reach(console, None)
    console.say(f"The server runs at {remote.endpoint}.")


def stop(console: Console) -> None:
    """End the server: running answers are finished first."""
    service = find_service(console)
    if service.is_installed:
        _obey(service.stop)
    state = read_state(console.env)
    if state is None or not _is_server(state.pid):
        console.say("The server is stopped." if service.is_installed else "No server runs here.")
        return
    # A second signal would cut running answers: launchd has sent the first, and does not wait.
    if not (service.is_installed and sys.platform == "darwin"):
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while read_state(console.env) == state:
        if time.monotonic() > deadline:
            raise RunnerError(
                Kind.TIMEOUT,
                f"the server, process {state.pid}, does not end",
                hint=f"see: runner logs; to end it without waiting: kill -KILL {state.pid}",
            )
        time.sleep(POLL_S)
    console.say("The server is stopped.")


def _is_server(pid: int) -> bool:
    """Whether a process is a server, as far as Linux tells.

    A server that was killed leaves its state file; after a restart its number is somebody else's.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return sys.platform != "linux"
    return b"serve" in words


def restart(console: Console, variables: Mapping[str, str]) -> None:
    """End the server, and start it with the settings that are in force now."""
    service = find_service(console)
    _refuse_change(service, variables)
    if service.is_installed:
        _obey(service.restart)
        console.say("The server was restarted.")
    else:
        stop(console)
        start(console, variables)


def uninstall(console: Console) -> None:
    """End the service and remove its files; models and settings stay."""
    service = find_service(console)
    if not service.is_installed:
        console.say("The service is not installed.")
        return
    _obey(service.uninstall)
    for file in service.files:
        file.path.unlink(missing_ok=True)
    _obey(service.forget)
    console.say("The service is removed; settings stay, and so do models that were not removed.")


def remove_models(console: Console) -> None:
    """Remove all models of this machine's server; one that is started for it is stopped again."""
    named = explicit_endpoint(console.env, None)
    if named is not None and not named.is_here:
        raise RunnerError(
            Kind.USAGE,
            f"--models is for this machine's server, and {named} is another",
            hint="to remove that one's models: runner purge",
        )
    is_running = read_state(console.env) is not None
    purge(background.reach(console, None))
    console.say("All models are removed.")
    if not is_running:
        stop(console)


def _refuse_change(service: Service, variables: Mapping[str, str]) -> None:
    """Raise RunnerError(USAGE) for settings that an installed service would not hear of."""
    if service.is_installed and variables:
        raise RunnerError(
            Kind.USAGE,
            "the service is installed, and keeps its settings",
            hint="to make it anew with others: runner reinstall-runner, with the same flags",
        )


def _answers(console: Console) -> bool:
    try:
        console.remote(None).call("GET", "/version")
    except NoDaemon:
        return False
    return True


def _with(console: Console, variables: Mapping[str, str]) -> Console:
    return console._replace(env={**console.env, **variables})


def _obey(commands: Sequence[Argv]) -> None:
    for argv in commands:
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=MANAGER_S
            )
        except subprocess.TimeoutExpired:
            raise RunnerError(
                Kind.TIMEOUT,
                f"{' '.join(argv)}: no end after {MANAGER_S} s",
                hint="run it by hand to see what it waits for",
            ) from None
        except OSError as error:
            raise RunnerError(
                Kind.UNAVAILABLE,
                f"cannot run {argv[0]}: {error.strerror}",
                hint="without a manager of services: python -m runner start-runner",
            ) from None
        if done.returncode:
            said = " | ".join(done.stderr.split("\n")[:3]).strip(" |") or "it said nothing"
            raise RunnerError(Kind.UNAVAILABLE, f"{' '.join(argv)}: {said}")
