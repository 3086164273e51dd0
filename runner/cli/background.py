"""Starts the daemon in the background, detached from this terminal, and waits until it is ready."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from runner.cli.console import Console
from runner.cli.endpoint import explicit_endpoint
from runner.cli.progress import waiting
from runner.cli.remote import NoDaemon, Remote
from runner.cli.settings import read_settings
from runner.config import CONTAINER_BRIDGES, Settings
from runner.errors import Kind, RunnerError

READY_S = 30.0
POLL_S = 0.05

_LAST_LINES = 5
_TAIL_BYTES = 4096


def reach(console: Console, host_flag: str | None, *, containers: bool = False) -> Remote:
    """Return a daemon that is ready, started here if none answers where one may be started.

    With ``containers`` a daemon that is started listens for them, too.
    """
    remote = console.remote(host_flag)
    try:
        if _refusal(remote) is not None:
            _await_ready(console, host_flag, None)
        return remote
    except NoDaemon:
        settings = _plan(console, host_flag, containers=containers)
        if settings is None:
            raise
    return _start(console, host_flag, settings)


def _plan(console: Console, host_flag: str | None, *, containers: bool) -> Settings | None:
    """Decide what to start: a daemon for the address that was asked for, None if it is not here."""
    flags: dict[str, str] = {}
    wanted = explicit_endpoint(console.env, host_flag)
    if wanted is not None:
        if not wanted.is_here or wanted.is_tls:  # a server of ours has no TLS
            return None
        if wanted.port is None:
            flags["socket_path"] = wanted.host
        else:
            flags = {"host": wanted.host, "port": str(wanted.port)}
    settings = read_settings(console.env, flags)
    if containers and not settings.containers:
        settings = settings._replace(containers=CONTAINER_BRIDGES)
    return settings


def _start(console: Console, host_flag: str | None, settings: Settings) -> Remote:
    log = settings.log_path
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.touch(mode=0o600)
    with log.open("ab") as output:
        began_at = output.tell()
        process = subprocess.Popen(
            _command(settings),
            env=dict(console.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # survives this terminal, and its Ctrl-C
        )
    with waiting(console.err, "Starting the server"):
        try:
            remote = _await_ready(console, host_flag, process)
        except RunnerError as error:
            said = _tail(log, began_at)
            raise RunnerError(
                error.kind, f"{error.message}: {said}", hint=f"its log is {log}"
            ) from None
    console.say(
        f"Started a server in the background at {remote.endpoint} "
        f"(log: {log}; to stop it: kill {process.pid})"
    )
    return remote


def _command(settings: Settings) -> list[str]:
    address = ["--host", settings.host, "--port", str(settings.port)]
    socket = ["--socket", str(settings.socket_path or "off")]
    bridges = ["--containers", ",".join(settings.containers) or "off"]
    return [sys.executable, "-m", "runner", "serve", "--background", *address, *socket, *bridges]


def _await_ready(
    console: Console, host_flag: str | None, process: subprocess.Popen[bytes] | None
) -> Remote:
    """Return the daemon when it is ready; RunnerError when ``process`` ended or time is up."""
    deadline = time.monotonic() + READY_S
    reason: RunnerError | None = None
    while time.monotonic() < deadline:
        # Asked before the daemon is: another `run` may have started one and won the port.
        exit_code = process.poll() if process else None
        remote = console.remote(host_flag)
        with suppress(NoDaemon):
            reason = _refusal(remote)
            if reason is None:
                return remote
        if exit_code is not None:
            raise RunnerError(Kind.UNAVAILABLE, f"the server ended with exit code {exit_code}")
        time.sleep(POLL_S)
    if process:
        process.terminate()
    message = f"the server was not ready within {READY_S:g} s"
    if reason is None:
        raise RunnerError(Kind.TIMEOUT, message)
    raise RunnerError(Kind.TIMEOUT, f"{message}: {reason.message}", hint=reason.hint)


def _refusal(remote: Remote) -> RunnerError | None:
    """Say why the daemon takes no requests, None if it does; NoDaemon when nothing listens."""
    try:
        with remote.stream("GET", "/readyz"):
            return None
    except NoDaemon:
        raise
    except RunnerError as error:
        # A daemon that is not ours, or wants a key, has no such route; it will say so itself.
        return error if error.kind is Kind.UNAVAILABLE else None


def _tail(log: Path, began_at: int) -> str:
    """Return the last lines written since the start, joined into one."""
    with log.open("rb") as file:
        file.seek(max(began_at, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return " | ".join(line for line in lines[-_LAST_LINES:] if line) or "it said nothing"
