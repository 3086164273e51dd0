"""A registry on loopback that misbehaves as a test tells it: a real socket, HTTP by hand.

Honest until ``on_blob`` or ``on_manifest`` answers in its place: each gets the exchange, and says
whether it dealt with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support import loopback

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
GGUF = "application/vnd.docker.ai.gguf.v3"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Exchange:
    """One request, and means to answer it wrongly."""

    def __init__(self, handler: BaseHTTPRequestHandler, data: bytes, gate: threading.Event) -> None:
        self._handler = handler
        self._gate = gate
        self.method = handler.command
        self.path = handler.path
        self.data = data
        match = _RANGE.fullmatch(handler.headers.get("Range", ""))
        self.start = int(match[1]) if match else None
        self.end = int(match[2]) + 1 if match and match[2] else len(data)

    @property
    def part(self) -> bytes:
        """What was asked for."""
        return self.data[self.start or 0 : self.end]

    def answer_honestly(self, media_type: str = "application/octet-stream") -> None:
        """200, or 206 with the range."""
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(self.data)}
        if self.start is None:
            self.answer(200, self.data, headers)
        else:
            span = f"bytes {self.start}-{self.end - 1}/{len(self.data)}"
            self.answer(206, self.part, headers | {"Content-Range": span})

    def answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        length: int | None = None,
    ) -> None:
        """Answer anything; ``length`` is what the head says of the body."""
        self._handler.send_response(status)
        for name, value in (headers or {}).items():
            self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(len(body) if length is None else length))
        self._handler.end_headers()
        if self.method != "HEAD":
            self._handler.wfile.write(body)
            self._handler.wfile.flush()

    def begin(self, status: int, length: int | None) -> None:
        """Send a head; without a length, the body has no end."""
        self._handler.send_response(status)
        if length is None:
            self._handler.send_header("Connection", "close")
        else:
            self._handler.send_header("Content-Length", str(length))
        self._handler.end_headers()

    def send(self, body: bytes) -> None:
        """Send some of the body."""
        self._handler.wfile.write(body)
        self._handler.wfile.flush()

    def answer_endlessly(self) -> None:
        """200 with a body that has no end."""
        self.begin(200, None)
        with contextlib.suppress(OSError):
            while not self._gate.is_set():
                self.send(b"x" * 65536)

    def stall(self) -> None:
        """Say nothing more until the registry is closed."""
        self._gate.wait()

    def drop(self) -> None:
        """End the connection in the middle."""
        self._handler.close_connection = True
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)


Misbehave = Callable[[Exchange], bool]


def honest(exchange: Exchange) -> bool:
    return False


@dataclass
class HostileRegistry:
    """What it has, and how it answers."""

    port: int
    gate: threading.Event
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, bytes] = field(default_factory=dict)
    on_blob: Misbehave = honest
    on_manifest: Misbehave = honest
    asked: list[str] = field(default_factory=list)  # "METHOD path", with "start-" for a range

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def seed(self, tag: str, *layers: bytes, config: bytes | None = None) -> bytes:
        """Offer a model; return its manifest."""
        config = config if config is not None else self._config(layers)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._descriptor(CONFIG, config),
                "layers": [self._descriptor(GGUF, layer) for layer in layers],
            }
        ).encode()
        self.tags[tag] = self.tags[digest_of(manifest)] = manifest
        return manifest

    def blob_requests(self) -> list[str]:
        return [line for line in self.asked if "/blobs/" in line]

    def _descriptor(self, media_type: str, data: bytes) -> dict[str, object]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def _config(self, layers: tuple[bytes, ...]) -> bytes:
        diff_ids = [digest_of(layer) for layer in layers]
        value = {
            "config": {"format": "gguf"},
            "descriptor": {},
            "rootfs": {"type": "rootfs", "diff_ids": diff_ids},
        }
        return json.dumps(value).encode()


@contextlib.contextmanager
def serve_hostile_registry() -> Iterator[HostileRegistry]:
    """Serve on a free port of loopback, and end with every connection."""
    gate = threading.Event()

    class Misbehaving(loopback.Handler):
        timeout = 20

        def _answer(self) -> None:
            with contextlib.suppress(OSError):
                _serve(registry, self, gate)

        do_GET = do_HEAD = _answer  # noqa: N815

    with loopback.running(loopback.Server(Misbehaving)) as port:
        registry = HostileRegistry(port, gate)
        try:
            yield registry
        finally:
            gate.set()


def _serve(
    registry: HostileRegistry, handler: BaseHTTPRequestHandler, gate: threading.Event
) -> None:
    kind, name = handler.path.split("/")[-2:]
    table, misbehave, media_type = (
        (registry.tags, registry.on_manifest, MANIFEST)
        if kind == "manifests"
        else (registry.blobs, registry.on_blob, "application/octet-stream")
    )
    exchange = Exchange(handler, table.get(name, b""), gate)
    span = "" if exchange.start is None else f" {exchange.start}-"
    registry.asked.append(f"{handler.command} {handler.path}{span}")
    if handler.path == "/v2/":
        exchange.answer(200, b"{}")
    elif misbehave(exchange):
        return
    elif name in table:
        exchange.answer_honestly(media_type)
    else:
        exchange.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}')
