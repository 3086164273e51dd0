"""A registry with one large model, a slow line to it, and what a command that pulls costs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import requests

from benchmarks import machine, processes, servers

REPOSITORY, TAG = "bench/model", "latest"
CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
GGUF = "application/vnd.docker.ai.gguf.v3"
PIECE_BYTES = 1 << 20
HEADER = b"".join(  # of a GGUF file that has an architecture and nothing else
    (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1),
        struct.pack("<Q", 20) + b"general.architecture",
        struct.pack("<IQ", 8, 5) + b"llama",
    )
)
CALL_S = 300.0
START_S = 20.0
LOOK_S = 0.01

CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {data}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: 127.0.0.1:{port}, relativeurls: true, secret: benchmark}}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took from start to end."""

    wall_s: float
    cpu_s: float
    peak_mib: float  # of resident memory


def measure(command: Sequence[str], log: Path) -> Cost:
    """Run a command that must succeed."""
    begun = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=machine.ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    with _watched(process.pid) as peaks:
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise servers.ServerFailed(f"{command[0]} failed:\n{log.read_text(errors='replace')}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, max(peaks) / 1024)


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Note the most memory that a process had at any time, in KiB, again and again.

    The ru_maxrss of wait4 will not do: it begins with the memory of whoever started the process.
    """
    peaks = [0]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_S):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
                line = next(line for line in lines if line.startswith("VmHWM:"))
                peaks.append(int(line.split()[1]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[int]:
    """Run docker-registry with its data in ``folder``; give its port."""
    port = servers.free_port()
    configuration = folder / "registry.yml"
    configuration.write_text(CONFIGURATION.format(data=folder / "data", port=port))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(configuration)],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _await(f"http://127.0.0.1:{port}/v2/", process)
        yield port
    finally:
        processes.stop(process)


@contextlib.contextmanager
def slow_line(port: int, *, round_trip_ms: float, megabytes_per_s: float) -> Iterator[int]:
    """Run a proxy with latency, and a rate for each connection; give its port."""
    command = [
        sys.executable, "-m", "tests.support.throttle", str(port),
        "--round-trip-ms", str(round_trip_ms), "--megabytes-per-s", str(megabytes_per_s),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=machine.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        processes.stop(process)


def seed(port: int, size_bytes: int, file: Path) -> None:
    """Put a model of one layer there, random but for its header; ``file`` holds it for a moment."""
    root = f"http://127.0.0.1:{port}/v2/{REPOSITORY}"
    hasher = hashlib.sha256()
    with file.open("wb") as out:
        for at in range(0, size_bytes, PIECE_BYTES):
            piece = os.urandom(min(PIECE_BYTES, size_bytes - at))
            if at == 0:
                piece = HEADER + piece[len(HEADER) :]
            hasher.update(piece)
            out.write(piece)
    layer = _descriptor(GGUF, hasher.hexdigest(), size_bytes)
    with file.open("rb") as data:
        _put_blob(root, layer, data)
    file.unlink()
    raw = json.dumps(
        {
            "config": {"format": "gguf"},
            "descriptor": {"created": "2026-01-01T00:00:00Z"},
            "rootfs": {"type": "rootfs", "diff_ids": [layer["digest"]]},
        }
    ).encode()
    config = _descriptor(CONFIG, hashlib.sha256(raw).hexdigest(), len(raw))
    _put_blob(root, config, raw)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    answer = requests.put(
        f"{root}/manifests/{TAG}",
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST},
        timeout=CALL_S,
    )
    answer.raise_for_status()


def _put_blob(root: str, descriptor: dict[str, Any], data: bytes | IO[bytes]) -> None:
    begun = requests.post(f"{root}/blobs/uploads/", timeout=CALL_S)
    location = requests.compat.urljoin(root, begun.headers["Location"])
    requests.put(
        location, params={"digest": descriptor["digest"]}, data=data, timeout=CALL_S
    ).raise_for_status()


def _descriptor(media_type: str, hexadecimal: str, size_bytes: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hexadecimal}", "size": size_bytes}


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(url, timeout=CALL_S)
            return
        time.sleep(0.05)
    raise servers.ServerFailed("docker-registry did not start")
