"""The built-in page: the files of ``runner/web``, read once, for browsers.

Nothing of it may be anything but ours: no other origin is named in the Content-Security-Policy,
no inline script or style runs, and Trusted Types forbid the page's own code to make nodes of text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.api.call import Call, Handler
from runner.api.faults import Header
from runner.api.routes import Route
from runner.errors import Kind, RunnerError

FOLDER = Path(__file__).resolve().parent.parent / "web"
PREFIX = "/web/"
INDEX = "index.html"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

SECURITY: tuple[Header, ...] = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, ready to be sent."""

    content_type: str
    etag: str  # as in the header, with its quotes
    content: bytes


class Page:
    """The handlers of the page's files."""

    def __init__(self) -> None:
        """Read all files, so that no request ever names a path on disk."""
        self._files = {
            path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES
        }

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes; ``/`` is :class:`~runner.api.management.system.System`'s."""
        yield Route("GET", PREFIX + "{name}", None, self.file, "send a file of the built-in page")

    async def index(self, call: Call) -> None:
        """Send the page itself."""
        await self._send(call, self._files[INDEX])

    async def file(self, call: Call) -> None:
        """Send one of its files."""
        found = self._files.get(call.name)
        if found is None:
            raise RunnerError(Kind.NOT_FOUND, f"the page has no file {call.name[:200]!r}")
        await self._send(call, found)

    async def _send(self, call: Call, file: File) -> None:
        headers: list[Header] = [
            ("ETag", file.etag),
            ("Cache-Control", "no-cache"),  # kept, and asked for again: an update shows at once
            ("Vary", "Accept"),
            *SECURITY,
        ]
        known = call.exchange.request.headers.get("if-none-match") or ""
        # RFC 9110 section 13.1.2: compared weakly; a proxy may have weakened it.
        if known.strip() == "*" or file.etag in re.findall(r'"[^"]*"', known):
            await call.reply(b"", status=304, headers=headers)
            return
        await call.reply(file.content, headers=[("Content-Type", file.content_type), *headers])


def wants_page(accept: str) -> bool:
    """Whether an ``Accept`` header is a browser's: it names HTML, which no other client does."""
    types = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return "text/html" in types


def _read(path: Path) -> File:
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return File(TYPES[path.suffix], etag, content)
