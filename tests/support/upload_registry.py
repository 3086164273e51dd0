"""A registry that takes uploads as the specification allows, and misbehaves as it is told.

Unlike docker-registry it keeps what came before a connection broke, so uploads can be resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.support import loopback

READ_BYTES = 64 * 1024
ROUTE = re.compile(
    r"/v2/(?P<repository>.+?)/(?:(?P<kind>blobs|manifests)/(?P<name>[^/]+)|blobs/uploads/(?P<id>\w*))"
)


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case


@dataclass(frozen=True)
class Reply:
    """An answer in place of the right one, given before the body is read."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class UploadRegistry:
    """What the registry has, and how it is to behave."""

    port: int = 0
    blobs: dict[str, set[str]] = field(default_factory=dict)  # digests by repository
    content: dict[str, bytes] = field(default_factory=dict)  # by digest
    manifests: dict[str, bytes] = field(default_factory=dict)  # by ``repository:tag``
    uploads: dict[str, bytearray] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    replies: dict[str, list[Reply]] = field(default_factory=dict)  # by method, each given once
    cuts: list[int] = field(default_factory=list)  # of bodies: break off after so many bytes
    location: str = "/v2/{repository}/blobs/uploads/{id}?_state={step}"
    max_body_bytes: int | None = None
    takes_chunks: bool = True
    min_chunk_bytes: int = 0
    tells_digests: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """The methods that were asked for, in order."""
        return [asked.method for asked in self.asked]

    def find(self, method: str, part: str = "") -> list[Asked]:
        """The requests with a method whose path holds a text."""
        return [one for one in self.asked if one.method == method and part in one.path]

    def reply(self, method: str, *replies: Reply) -> None:
        """Answer the next requests with this method so."""
        self.replies.setdefault(method, []).extend(replies)


class _Handler(loopback.Handler):
    registry: UploadRegistry

    def _serve(self) -> None:
        registry, path = self.registry, urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        match = ROUTE.fullmatch(path.path)
        with registry.lock:
            registry.asked.append(Asked(self.command, self.path, headers))
            waiting = registry.replies.get(self.command)
            reply = waiting.pop(0) if waiting else None
        size = int(headers.get("content-length", 0))
        if reply is None and (match is None or "transfer-encoding" in headers):
            reply = Reply(400)
        if reply is None and size > (registry.max_body_bytes or size):
            reply = Reply(413)
        if reply is not None:
            self.close_connection = size > 0  # its body stays unread
            self._answer(reply.status, reply.body, *reply.headers)
            return
        assert match is not None
        query = {name: values[0] for name, values in parse_qs(path.query).items()}
        if match["kind"] == "blobs":
            self._blob(match["repository"], match["name"])
        elif match["kind"] == "manifests":
            self._manifest(match["repository"], match["name"], size)
        else:
            self._upload(match["repository"], match["id"], query, headers, size)

    do_HEAD = do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

    def _blob(self, repository: str, digest: str) -> None:
        if digest in self.registry.blobs.get(repository, set()):
            self._answer(200, self.registry.content[digest], ("Docker-Content-Digest", digest))
        else:
            self._fail(404, "BLOB_UNKNOWN")

    def _manifest(self, repository: str, name: str, size: int) -> None:
        key = f"{repository}:{name}"
        if self.command == "PUT":
            raw = self.rfile.read(size)
            self.registry.manifests[key] = raw
            self._answer(201, b"", *self._told(raw))
        elif key in self.registry.manifests:
            raw = self.registry.manifests[key]
            kind = "application/vnd.oci.image.manifest.v1+json"
            self._answer(200, raw, ("Content-Type", kind), *self._told(raw))
        else:
            self._fail(404, "MANIFEST_UNKNOWN")

    def _upload(
        self, repository: str, name: str, query: dict[str, str], headers: dict[str, str], size: int
    ) -> None:
        registry = self.registry
        if self.command == "POST":
            if query.get("mount", "") in registry.blobs.get(query.get("from", ""), set()):
                self._store(repository, registry.content[query["mount"]])
                return
            with registry.lock:
                name = f"u{len(registry.uploads)}"
                registry.uploads[name] = bytearray()
            self._progress(202, repository, name)
            return
        if name not in registry.uploads:
            self.close_connection = True
            self._fail(404, "BLOB_UPLOAD_UNKNOWN")
            return
        data = registry.uploads[name]
        first = headers.get("content-range", f"{len(data)}-").partition("-")[0]
        if self.command == "GET":
            self._progress(204, repository, name)
        elif self.command == "PATCH" and not registry.takes_chunks:
            self.close_connection = True
            self._fail(405, "UNSUPPORTED")
        elif int(first) != len(data):
            self.close_connection = True
            self._progress(416, repository, name)
        elif self._receive(data, size):
            if self.command == "PATCH":
                self._progress(202, repository, name)
            elif f"sha256:{hashlib.sha256(data).hexdigest()}" == query["digest"]:
                del registry.uploads[name]
                self._store(repository, bytes(data))
            else:
                self._fail(400, "DIGEST_INVALID")

    def _receive(self, data: bytearray, size: int) -> bool:
        """Take a body; False when the line broke."""
        with self.registry.lock:
            cut = self.registry.cuts.pop(0) if self.registry.cuts and size else None
        rest = size if cut is None else min(cut, size)
        while rest and (piece := self.rfile.read(min(rest, READ_BYTES))):
            data += piece
            rest -= len(piece)
        if cut is None and not rest:
            return True
        self.close_connection = True
        return False

    def _store(self, repository: str, data: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.registry.content[digest] = data
        self.registry.blobs.setdefault(repository, set()).add(digest)
        self._answer(201, b"", *self._told(data))

    def _told(self, data: bytes) -> list[tuple[str, str]]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return [("Docker-Content-Digest", digest)] if self.registry.tells_digests else []

    def _progress(self, status: int, repository: str, name: str) -> None:
        size = len(self.registry.uploads[name])
        location = self.registry.location.format(
            repository=repository, id=name, step=len(self.registry.asked), port=self.registry.port
        )
        headers = [("Location", location), ("Range", f"0-{max(0, size - 1)}")]
        if self.registry.min_chunk_bytes:
            headers.append(("OCI-Chunk-Min-Length", str(self.registry.min_chunk_bytes)))
        self._answer(status, b"", *headers)

    def _fail(self, status: int, code: str) -> None:
        body = f'{{"errors":[{{"code":"{code}","message":"{code.lower()}"}}]}}'.encode()
        self._answer(status, body, ("Content-Type", "application/json"))

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def serving(registry: UploadRegistry) -> Iterator[UploadRegistry]:
    """Serve on a free port of loopback."""
    handler = type("Handler", (_Handler,), {"registry": registry})
    with loopback.running(loopback.Server(handler)) as registry.port:
        yield registry
