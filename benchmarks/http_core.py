"""The HTTP core against uvicorn with httptools: CPU time of the server for a request, an event.

Both serve on asyncio's own loop, in turn, one process each. A keep-alive client asks for a small
JSON, with the same head each time and with a new one each time; then 200 readers follow one source
of Server-Sent Events. The client is Python and slower than the servers, so what counts is not
requests a second but what the server's process spends on one. uvicorn is installed by
``make bench``; ``--uvicorn-python`` names another interpreter that has it.
"""

from __future__ import annotations

import argparse
import contextlib
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks import harness, machine, processes
from benchmarks.http_programs import BODY, EVENT, PROGRAMS
from benchmarks.servers import free_port

START_S = 15.0
WAIT_S = 60.0
CONNECTIONS = 8
READERS = 200

Measure = Callable[[int, int], float]  # port, process id; CPU seconds of one request or event


def main(argv: list[str]) -> int:
    """Compare; 2 when there is nothing to compare with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks http_core", description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="of one measurement")
    parser.add_argument("--events", type=int, default=50, help="that each reader gets")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--uvicorn-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    harness.warn_if_busy()
    works: dict[str, Measure] = {
        "GET, the same head": partial(get, count=options.requests, is_new=False),
        "GET, a new head": partial(get, count=options.requests, is_new=True),
        f"event to {READERS} readers": partial(follow, count=options.events),
    }
    pythons = {"uvicorn": options.uvicorn_python, "ours": sys.executable}
    with serving(pythons) as servers:
        rows = [
            {"work": name, **compare(work, servers, options.pairs).row("uvicorn us", "ours us")}
            for name, work in works.items()
        ]
    harness.report("http_core", vars(options), rows, options.json)
    return 0


def compare(
    work: Measure, servers: Mapping[str, tuple[int, int]], count: int
) -> harness.Comparison:
    """Measure both in turn, in microseconds, warm."""
    for port, pid in servers.values():
        work(port, pid)
    theirs, ours = (partial(_microseconds, work, *servers[name]) for name in ("uvicorn", "ours"))
    return harness.pairs(theirs, ours, count=count)


@contextlib.contextmanager
def serving(pythons: Mapping[str, str]) -> Iterator[dict[str, tuple[int, int]]]:
    """Run each program; give its port and process id."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in PROGRAMS:
            port = free_port()
            command = [pythons[name], "-m", "benchmarks.http_programs", name, str(port)]
            process = subprocess.Popen(command, cwd=machine.ROOT, start_new_session=True)
            stack.callback(processes.stop, process)
            _await(port, process)
            found[name] = (port, process.pid)
        yield found


def get(port: int, pid: int, *, count: int, is_new: bool) -> float:
    """Send so many requests on a few connections, each after the answer to the one before."""
    head = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Number: "
    asked = answered = 0
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:

        def ask(connection: socket.socket) -> None:
            nonlocal asked
            asked += 1
            connection.sendall(f"{head}{asked if is_new else 0:08}\r\n\r\n".encode())

        connections = [stack.enter_context(_connect(port)) for _ in range(CONNECTIONS)]
        before_s = cpu_s(pid)
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
            ask(connection)
        while answered < count:
            for key, _ in selector.select(WAIT_S):
                data = key.data.recv(65536)
                if not data:
                    raise SystemExit("the server closed the connection")
                if not data.endswith(BODY[-2:]):
                    continue  # uvicorn sends a head and a body by themselves
                answered += 1
                if asked < count:
                    ask(key.data)
        return (cpu_s(pid) - before_s) / count


def follow(port: int, pid: int, *, count: int) -> float:
    """Let the readers follow the source for so many events."""
    request = f"GET /events?{count} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        readers = [stack.enter_context(_connect(port)) for _ in range(READERS)]
        before_s = cpu_s(pid)
        left = dict.fromkeys(readers, count)
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ, reader)
            reader.sendall(request)
        while left:
            for key, _ in selector.select(WAIT_S):
                data = key.data.recv(65536)
                left[key.data] -= data.count(EVENT)
                if not left[key.data]:
                    del left[key.data]
                    selector.unregister(key.data)
        return (cpu_s(pid) - before_s) / (count * READERS)


def cpu_s(pid: int) -> float:
    """CPU time of a process with one thread, to the nanosecond: ``/proc/PID/schedstat``."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


def _microseconds(work: Measure, port: int, pid: int) -> float:
    return 1e6 * work(port, pid)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), WAIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        with contextlib.suppress(OSError), _connect(port):
            return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} does not serve; is uvicorn installed? make bench")
