"""An upload of a blob: what a registry's answers mean, and what to send next. Pure.

A session is opened by POST and moves with each answer's Location. A blob goes in one PUT; after a
break in PATCH chunks from where the registry says that it is, where it still knows the upload.
Source: distribution-spec 1.1, "Pushing blobs"; RFC 3986 5 and RFC 9110 10.2.2 for Location.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import SplitResult, urljoin, urlsplit

from runner.errors import Kind, RunnerError
from runner.oci.digest import Digest

# Below the 100 MB that a well-known front end takes at most in one request.
CHUNK_BYTES = 64 * 1024 * 1024
LEAST_CHUNK_BYTES = 1024 * 1024
MAX_IDLE_TRIES = 6  # in a row that brought the registry no byte further
MAX_LOCATION_CHARACTERS = 16 * 1024  # some registries keep the upload's state in it

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})", re.ASCII)
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that the registry knows: where the next request goes, and what it has."""

    location: str  # absolute
    offset: int = 0  # bytes
    min_chunk_bytes: int = 0  # of each chunk but the last, as the registry asks

    def moved(self, base_url: str, location: str | None, offset: int) -> Self:
        """Follow an answer to a request at ``base_url``; without Location the session stays."""
        target = self.location if location is None else resolve_location(base_url, location)
        return replace(self, location=target, offset=offset)


@dataclass(frozen=True, slots=True)
class Send:
    """The next request's body: a part of the blob. ``is_whole``: one PUT, which ends the upload.

    Without ``is_whole`` an empty part means that all is sent: an empty PUT ends the upload.
    """

    start: int
    stop: int
    is_whole: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the body."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Pace:
    """How an upload goes on: in one piece (None) or in chunks, and how long nothing was gained."""

    chunk_bytes: int | None = None
    takes_chunks: bool = True
    idle_tries: int = 0
    furthest: int = 0  # the highest offset that the registry has told

    def without_chunks(self) -> Self:
        """Go on in one piece only: the registry refused a chunk."""
        return replace(self, chunk_bytes=None, takes_chunks=False)

    def after_break(self, offset: int) -> Self | None:
        """Slow down after a request that failed, the registry being at ``offset``; None: give up.

        Many front ends close the connection on a body that is too long and their 413 is lost, so
        a break without gain makes the chunks smaller, down to what nginx takes when not told.
        """
        is_gain = offset > self.furthest
        if not is_gain and self.idle_tries + 1 >= MAX_IDLE_TRIES:
            return None
        chunk_bytes = self.chunk_bytes
        if self.takes_chunks:
            chunk_bytes = (chunk_bytes or CHUNK_BYTES) if is_gain else _smaller(chunk_bytes)
        return replace(
            self,
            chunk_bytes=chunk_bytes,
            idle_tries=0 if is_gain else self.idle_tries + 1,
            furthest=max(offset, self.furthest),
        )


def plan_send(upload: Upload, size_bytes: int, pace: Pace) -> Send:
    """Decide on the next request's body.

    One PUT of everything is what every registry takes, chunks are not; so chunks only come after
    a break, or where the session has begun.
    """
    if upload.offset == 0 and pace.chunk_bytes is None:
        return Send(0, size_bytes, is_whole=True)
    chunk_bytes = max(pace.chunk_bytes or CHUNK_BYTES, upload.min_chunk_bytes)
    return Send(upload.offset, min(upload.offset + chunk_bytes, size_bytes))


def parse_received(text: str | None) -> int | None:
    """Read a session's Range header, ``0-LAST``: how many bytes the registry has.

    None when there is none, or none that can be read. ``0-0`` is no byte: registries say so of an
    upload that has just begun.
    """
    match = _RANGE.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last else 0


def resolve_location(base_url: str, location: str) -> str:
    """Resolve a Location of an upload against the URL that was asked; raise RunnerError.

    REGISTRY_UNAVAILABLE where it is no URL, or leads from https to http. On the registry's own
    host ``http:`` is read as ``https:``: a registry behind a front end that ends TLS may not know.
    """
    base = urlsplit(base_url)
    if len(location) > MAX_LOCATION_CHARACTERS or not _VISIBLE.fullmatch(location):
        raise _refuse(base, "is no URL")
    try:
        target = urlsplit(urljoin(base_url, location))
        hostname, _ = target.hostname, target.port  # a port that is none is found when asked for
    except ValueError as error:
        raise _refuse(base, "is no URL") from error
    if target.scheme not in ("http", "https") or not hostname or target.username is not None:
        raise _refuse(base, "is no plain http or https URL")
    if base.scheme == "https" and target.scheme == "http":
        if hostname != base.hostname:
            raise _refuse(base, "leads from https to http")
        target = target._replace(scheme=base.scheme, netloc=base.netloc)
    return target._replace(fragment="").geturl()


def with_digest(location: str, digest: Digest) -> str:
    """Add the digest that ends an upload. What the Location's query holds stays as it is."""
    return f"{location}{'&' if urlsplit(location).query else '?'}digest={digest}"


def content_range(send: Send) -> str:
    """Write a chunk's Content-Range: ``FIRST-LAST``, both inclusive, unlike RFC 9110's."""
    return f"{send.start}-{send.stop - 1}"


def _smaller(chunk_bytes: int | None) -> int:
    return CHUNK_BYTES if chunk_bytes is None else max(chunk_bytes // 4, LEAST_CHUNK_BYTES)


def _refuse(base: SplitResult, problem: str) -> RunnerError:
    return RunnerError(
        Kind.REGISTRY_UNAVAILABLE,
        f"{base.netloc} sent the upload to a Location that {problem}",
        hint="the registry, or the proxy before it, is set up wrongly: tell who runs it",
    )
