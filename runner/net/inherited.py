"""What a service manager gives: sockets that listen already, and an ear for our readiness."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from runner.errors import Kind, RunnerError

FIRST_FD = 3  # SD_LISTEN_FDS_START


class Inherited(NamedTuple):
    """A listening socket that was opened for us, and where it listens."""

    listener: socket.socket
    address: tuple[str, int] | None  # of TCP
    path: str  # of a unix socket's file; empty where it has none


def take_inherited(
    env: Mapping[str, str], *, pid: int, first_fd: int = FIRST_FD
) -> list[Inherited]:
    """Return the sockets that are meant for process ``pid`` (``sd_listen_fds(3)``), often none.

    They are ours from now on, and no child's. Raises RunnerError(USAGE) for what does not listen.
    """
    if env.get("LISTEN_PID") != str(pid):
        return []
    count = env.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        raise RunnerError(Kind.USAGE, f"LISTEN_FDS: expected a number, got {count!r}")
    return [_take(fd) for fd in range(first_fd, first_fd + int(count))]


def notify_ready(env: Mapping[str, str]) -> None:
    """Tell a service manager that waits for it that connections are accepted (``sd_notify(3)``)."""
    if name := env.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, suppress(OSError):
            manager.sendto(f"READY=1\nMAINPID={os.getpid()}".encode(), name.replace("@", "\0", 1))


def _take(fd: int) -> Inherited:
    try:
        os.set_inheritable(fd, False)
        taken = socket.socket(fileno=fd)
        is_listening = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise RunnerError(
            Kind.USAGE, f"LISTEN_FDS: descriptor {fd} is no socket: {error.strerror}"
        ) from error
    if not is_listening or taken.type != socket.SOCK_STREAM:
        taken.close()
        raise RunnerError(Kind.USAGE, f"LISTEN_FDS: descriptor {fd} does not listen for streams")
    taken.setblocking(False)
    name = taken.getsockname()
    if taken.family in (socket.AF_INET, socket.AF_INET6):
        return Inherited(taken, name[:2], "")
    return Inherited(taken, None, name if isinstance(name, str) else "")
