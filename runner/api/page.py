"""The built-in page: the files of ``runner/web``, read once, for browsers.

The index is asked for each time; it carries the styles, so that the first paint waits for no other
file, and names the rest below a version made of all their bytes, so that browsers keep those for
ever and never mix two versions.

Nothing of it may be anything but ours: no other origin is named in the Content-Security-Policy,
no script runs but from our files, no style but the one whose hash the policy names, and Trusted
Types forbid the page's own code to make nodes of text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from runner.api.call import Call, Handler
from runner.api.faults import Header
from runner.api.routes import Route
from runner.errors import Kind, RunnerError

FOLDER = Path(__file__).resolve().parent.parent / "web"
PREFIX = "/web/"  # as the index names it, without a version
INDEX = "index.html"
STYLES = re.compile(rb'(?:<link rel="stylesheet" href="/web/[a-z]+\.css">\n)+')
STYLE = re.compile(rb'href="/web/([a-z]+\.css)"')

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

FOREVER: Header = ("Cache-Control", "public, max-age=31536000, immutable")


class Page:
    """The handlers of the page's files."""

    def __init__(self) -> None:
        """Read all files, so that no request ever names a path on disk."""
        paths = sorted(path for path in FOLDER.iterdir() if path.suffix in TYPES)
        files = {path.name: path.read_bytes() for path in paths}
        index = (FOLDER / INDEX).read_bytes()
        style = b"".join((FOLDER / name.decode()).read_bytes() for name in STYLE.findall(index))
        index = STYLES.sub(lambda _: b"<style>" + style + b"</style>\n", index)
        version = _digest(index, *files.values())
        self._index = index.replace(PREFIX.encode(), f"{PREFIX}{version}/".encode())
        self._etag = f'"{version}"'
        self._files = {f"{version}/{name}": content for name, content in files.items()}
        self._security = _security(style)

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes; ``/`` is :class:`~runner.api.management.system.System`'s."""
        yield Route("GET", PREFIX + "{name}", None, self.file, "send a file of the built-in page")

    async def index(self, call: Call) -> None:
        """Send the page itself, unless the browser has this version of it."""
        headers: list[Header] = [
            ("ETag", self._etag),
            ("Cache-Control", "no-cache"),  # kept, and asked for again: an update shows at once
            ("Vary", "Accept"),
            *self._security,
        ]
        known = call.exchange.request.headers.get("if-none-match") or ""
        # RFC 9110 section 13.1.2: compared weakly; a proxy may have weakened it.
        if known.strip() == "*" or self._etag in re.findall(r'"[^"]*"', known):
            await call.reply(b"", status=304, headers=headers)
            return
        await call.reply(
            self._index, headers=[("Content-Type", "text/html; charset=utf-8"), *headers]
        )

    async def file(self, call: Call) -> None:
        """Send one of the files that the index names."""
        content = self._files.get(call.name)
        if content is None:
            raise RunnerError(
                Kind.NOT_FOUND,
                f"the page has no file {call.name[:200]!r}",
                hint="load the page again: the server may have been updated",
            )
        content_type = TYPES[Path(call.name).suffix]
        headers = [("Content-Type", content_type), FOREVER, *self._security]
        await call.reply(content, headers=headers)


def wants_page(accept: str) -> bool:
    """Whether an ``Accept`` header is a browser's: it names HTML, which no other client does."""
    types = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return "text/html" in types


def _security(style: bytes) -> tuple[Header, ...]:
    """Give the headers that keep everything out but our files and this one style (CSP3 2.3.1)."""
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    return (
        (
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self'; style-src 'sha256-{digest}';"
            " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )


def _digest(*contents: bytes) -> str:
    whole = hashlib.sha256()
    for content in contents:
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]
