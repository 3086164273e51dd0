"""Opens listening sockets, and says what to do when that fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from runner.errors import Kind, RunnerError
from runner.net.holder import find_holder

BACKLOG = 1024  # connections the kernel keeps for us, as far as its own limit allows
_PROBE_S = 1.0


async def open_tcp(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of ``host``. Raise ``RunnerError``: CONFLICT, UNAVAILABLE."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: not even the form of a name
        raise RunnerError(
            Kind.UNAVAILABLE, f"{host} has no address to listen on: {error}"
        ) from error
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listeners.append(_open_inet(family, address))
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise _cannot_listen(host, port, error) from error
    return listeners


def open_unix(path: Path) -> socket.socket:
    """Listen on a unix socket of mode 0600. Replace a file there only if nobody listens on it.

    Raise ``RunnerError``: CONFLICT when somebody does, UNAVAILABLE when the path cannot be used.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(0o600)  # before listen(): until then nobody can connect
        listener.listen(BACKLOG)
    except RunnerError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise RunnerError(
            Kind.UNAVAILABLE,
            f"cannot listen on the unix socket {path}: {error.strerror or error}",
            hint="choose another path with --socket (at most about 100 bytes long)",
        ) from error
    return listener


def _open_inet(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        if os.name == "posix":
            # Without it a restarted server waits for the old connections to time out.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> RunnerError:
    if error.errno == errno.EADDRINUSE:
        holder = find_holder(port)
        program = f"{holder.program}, process {holder.pid}" if holder else "another program"
        return RunnerError(
            Kind.CONFLICT,
            f"{host}:{port} is already in use by {program}",
            hint="is a runner up already? stop that program or choose another --port",
        )
    if error.errno == errno.EACCES:
        return RunnerError(
            Kind.UNAVAILABLE,
            f"this user may not listen on {host}:{port}",
            hint="choose a --port over 1023",
        )
    return RunnerError(
        Kind.UNAVAILABLE,
        f"cannot listen on {host}:{port}: {error.strerror or error}",
        hint="--host must be an address of this machine",
    )


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise RunnerError(
            Kind.CONFLICT,
            f"{path} exists and is not a socket",
            hint="choose another path with --socket, or move the file away",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise RunnerError(
        Kind.CONFLICT,
        f"another server listens on the unix socket {path}",
        hint="is a runner up already? stop it or choose another path with --socket",
    )


class UnixFile(NamedTuple):
    """The file of a unix socket that we made, told from one that somebody put in its place."""

    path: Path
    identity: tuple[int, int]  # device, inode

    @classmethod
    def of(cls, path: Path) -> UnixFile:
        """Note which file is there now."""
        status = path.lstat()
        return cls(path, (status.st_dev, status.st_ino))

    def remove(self) -> None:
        """Remove the file if it is still ours."""
        with contextlib.suppress(FileNotFoundError):
            if UnixFile.of(self.path) == self:
                self.path.unlink()
