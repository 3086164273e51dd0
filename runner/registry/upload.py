"""Puts blobs and manifests into a repository: what is there is skipped, the rest mounted or sent.

Source: distribution-spec 1.1, "Pushing blobs", "Mounting a blob", "Pushing manifests"; the status
of an upload (GET) is docker-registry's, and the specification's since 1.1.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, media
from runner.oci.retry import Patience
from runner.oci.upload import (
    MAX_IDLE_TRIES,
    Pace,
    Send,
    Upload,
    content_range,
    parse_received,
    plan_send,
    resolve_location,
    with_digest,
)
from runner.registry.answer import Answer
from runner.registry.failures import Cause, is_passing, unavailable
from runner.registry.session import Session

# After the last byte a registry hashes the blob, and copies it where it keeps blobs.
STORING_S, STORED_BYTES_PER_S = 30.0, 20_000_000
MAX_MOUNT_SOURCES = 4  # repositories that are asked for a blob before it is sent
OCTETS = {"Content-Type": "application/octet-stream"}

T = TypeVar("T")
ReadRange = Callable[[int, int], Iterator[bytes]]  # the blob's bytes from an offset to another
OnProgress = Callable[[int], None]  # how many bytes of the blob are sent; falls after a break

_NO_CHUNKS = (400, 405, 415, 501)  # to a PATCH: this registry takes a blob in one piece only
# The upload is forgotten, a body too long, an offset wrong; and "later", as every 5xx says.
_PASSING = (404, 408, 410, 413, 416, 425, 429)
_HINTS = {
    400: "it may not take artifacts of this kind: ask who runs it",
    404: "it may want the repository made first, or the host may be no registry",
    405: "it takes no uploads: it may be read-only, a mirror or a cache",
    413: "it, or something before it, limits how much it takes: ask who runs it",
    415: "it may not take artifacts of this kind: ask who runs it",
}

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a blob came into the repository."""

    PRESENT = "present"
    MOUNTED = "mounted"
    SENT = "sent"


@dataclass(frozen=True)
class Body:
    """A part of a blob as the body of a request, which may be begun more than once."""

    source: ReadRange  # not `read`: that would make it a file to the HTTP library
    part: Send
    on_progress: OnProgress

    def __len__(self) -> int:
        return self.part.size_bytes

    def __iter__(self) -> Iterator[bytes]:
        at = self.part.start
        self.on_progress(at)
        for piece in self.source(at, self.part.stop):
            yield piece
            at += len(piece)
            self.on_progress(at)


class Uploader:
    """Puts a model's blobs, then its manifest, into one repository. For use by several threads."""

    def __init__(self, session: Session, repository: str) -> None:
        self._session, self._repository = session, repository

    def put_blob(
        self,
        blob: Descriptor,
        read: ReadRange,
        *,
        mount_from: Sequence[str] = (),
        on_progress: OnProgress,
    ) -> Outcome:
        """Have the blob in the repository when this returns.

        ``mount_from`` are repositories of the same registry that may hold it. What ``read``
        raises stops the upload. Raises RunnerError: REGISTRY_DENIED, RATE_LIMITED; INTEGRITY when
        our own blob is damaged; REGISTRY_UNAVAILABLE when the line breaks again and again.
        """
        if self._has(self._repository, blob):
            return Outcome.PRESENT
        holders = (name for name in mount_from[:MAX_MOUNT_SOURCES] if self._may_mount(name, blob))
        upload = self._patiently(partial(self._begin, blob, next(holders, None)))
        if upload is None:
            return Outcome.MOUNTED
        self._send_all(upload, blob, read, on_progress)
        return Outcome.SENT

    def serves(self, name: str, digest: Digest) -> bool:
        """Say whether a tag, or a digest, names this manifest there already."""
        url = f"/v2/{self._repository}/manifests/{name}"
        headers = {"Accept": ", ".join(media.MANIFESTS)}
        with self._session.open("HEAD", url, headers=headers) as answer:
            return answer.status == 200 and _told(answer) == str(digest)

    def put_manifest(self, raw: bytes, media_type: str, name: str) -> None:
        """Store a manifest, all of its blobs being there, under a tag or its digest.

        Raises RunnerError as :meth:`put_blob`; INTEGRITY when the registry stored other bytes.
        """
        url = f"/v2/{self._repository}/manifests/{name}"
        headers = {"Content-Type": media_type}

        def put() -> None:
            with self._session.open("PUT", url, headers=headers, body=raw) as answer:
                if answer.status != 201:
                    raise self._refusal(answer)
                _check_told(answer, Digest.of(raw))

        self._patiently(put)

    def _send_all(
        self, upload: Upload, blob: Descriptor, read: ReadRange, on_progress: OnProgress
    ) -> None:
        """Send a blob, over however many requests it takes."""
        pace, was_damaged = Pace(), False
        while True:
            body = Body(read, plan_send(upload, blob.size_bytes, pace), on_progress)
            try:
                following = self._send(upload, blob, body)
            except _Setback as setback:
                if setback.is_damaged:
                    _check_source(blob, read)
                    if was_damaged:
                        raise setback.error from setback
                    was_damaged = True
                if setback.refuses_chunks:
                    pace = pace.without_chunks()
                self._pause(setback.error, pace.idle_tries + 1)
                following = self._recover(upload, blob, setback)
                offset = following.offset if following else blob.size_bytes
                slower = pace.after_break(offset)
                if slower is None:
                    raise setback.error from setback
                pace = slower
                self._session.caller.tell(
                    f"{setback.error.message}; going on from byte {offset} of {blob.size_bytes}"
                )
            if following is None:
                return
            upload = following

    def _send(self, upload: Upload, blob: Descriptor, body: Body) -> Upload | None:
        """Make one request of an upload; None when the blob is there. Raises _Setback."""
        try:
            if body.part.is_whole or not len(body):
                self._finish(with_digest(upload.location, blob.digest), blob, body)
                return None
            return self._send_chunk(upload, body)
        except RunnerError as error:
            if error.kind is Kind.REGISTRY_UNAVAILABLE:
                raise _Setback(error) from error
            raise

    def _finish(self, url: str, blob: Descriptor, body: Body) -> None:
        answer_s = STORING_S + blob.size_bytes / STORED_BYTES_PER_S
        with self._session.open("PUT", url, headers=OCTETS, body=body, answer_s=answer_s) as answer:
            if answer.status == 201:
                _check_told(answer, blob.digest)
                return
            # DIGEST_INVALID: other bytes arrived, or were sent.
            raise self._setback(answer, is_damaged=answer.status == 400)

    def _send_chunk(self, upload: Upload, body: Body) -> Upload:
        headers = {**OCTETS, "Content-Range": content_range(body.part)}
        with self._session.open("PATCH", upload.location, headers=headers, body=body) as answer:
            if answer.status != 202:
                raise self._setback(answer, refuses_chunks=answer.status in _NO_CHUNKS)
            received = parse_received(answer.headers.get("Range"))
            # docker-registry appends a chunk wherever the client believes to be.
            if received not in (None, body.part.stop):
                raise _Setback(_miscounted(answer, body.part, received))
            return upload.moved(answer.url, answer.headers.get("Location"), body.part.stop)

    def _recover(self, upload: Upload, blob: Descriptor, setback: _Setback) -> Upload | None:
        """Find out where an upload is after a break, or begin it anew; None: the blob is there."""
        if self._has(self._repository, blob):
            return None  # only the answer was lost
        found = None
        if not (setback.is_damaged or setback.refuses_chunks):
            with self._session.open("GET", upload.location) as answer:
                received = parse_received(answer.headers.get("Range"))
                if answer.status == 204 and received is not None and received <= blob.size_bytes:
                    found = upload.moved(answer.url, answer.headers.get("Location"), received)
        return found or self._patiently(partial(self._begin, blob))

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do what the transport does not do again of itself, not knowing that it is harmless."""
        for attempt in itertools.count(1):
            try:
                return action()
            except RunnerError as error:
                if not is_passing(error) and error.details.get("status", 0) < 500:
                    raise
                self._pause(error, attempt)
        raise AssertionError("attempts end in _pause")

    def _pause(self, error: RunnerError, attempt: int) -> None:
        """Wait after a failed attempt, as long as the registry wishes; raise after the last one."""
        delay_s = Patience(attempts=MAX_IDLE_TRIES + 1).delay_s(
            attempt, dice=random.random(), retry_after_s=error.retry_after_s
        )
        if delay_s is None:
            raise error
        self._session.wait(delay_s)

    def _begin(self, blob: Descriptor, mount_from: str | None = None) -> Upload | None:
        """Open an upload; None when the registry took the blob from another repository."""
        url = f"/v2/{self._repository}/blobs/uploads/"
        if mount_from is not None:
            url += f"?mount={blob.digest}&from={quote(mount_from, safe='/')}"
        with self._session.open("POST", url) as answer:
            if answer.status == 201:
                return None
            location = answer.headers.get("Location")
            if answer.status == 202 and location:
                least = answer.headers.get("OCI-Chunk-Min-Length", "")
                return Upload(
                    resolve_location(answer.url, location),
                    min_chunk_bytes=int(least) if least.isdecimal() and len(least) < 12 else 0,
                )
            refusal = self._refusal(answer)
        if mount_from is None:
            raise refusal
        return self._begin(blob)

    def _has(self, repository: str, blob: Descriptor) -> bool:
        url = f"/v2/{repository}/blobs/{blob.digest}"
        with self._session.open("HEAD", url) as answer:
            if answer.status == 200:
                return answer.headers.get("Content-Length") in (None, str(blob.size_bytes))
            if answer.status == 404:
                return False
            raise self._refusal(answer)

    def _may_mount(self, repository: str, blob: Descriptor) -> bool:
        try:
            return repository != self._repository and self._has(repository, blob)
        except RunnerError as error:
            log.debug("no blob is taken from %s: %s", repository, error)
            return False

    def _refusal(self, answer: Answer) -> RunnerError:
        """Build the error of an answer, with what it means to somebody who pushes."""
        error = self._session.refusal(answer)
        error.hint = _HINTS.get(answer.status, error.hint)
        if error.kind is Kind.MODEL_NOT_FOUND:
            error.kind = Kind.REGISTRY_UNAVAILABLE  # it is the repository that is not there
        return error

    def _setback(
        self, answer: Answer, *, is_damaged: bool = False, refuses_chunks: bool = False
    ) -> Exception:
        """Turn an answer into a setback where another try may do better, else into its error."""
        error = self._refusal(answer)
        is_passing = answer.status >= 500 or answer.status in _PASSING
        if is_passing or is_damaged or refuses_chunks:
            return _Setback(error, is_damaged=is_damaged, refuses_chunks=refuses_chunks)
        return error


@dataclass
class _Setback(Exception):
    """A request of an upload failed, and the next may not."""

    error: RunnerError
    is_damaged: bool = False  # the registry got other bytes than the digest's
    refuses_chunks: bool = False


def _check_source(blob: Descriptor, read: ReadRange) -> None:
    """Hash our own bytes; raise RunnerError(INTEGRITY) when it is they that are damaged."""
    hasher = blob.digest.hasher()
    for piece in read(0, blob.size_bytes):
        hasher.update(piece)
    if hasher.hexdigest() != blob.digest.hex:
        raise RunnerError(
            Kind.INTEGRITY,
            f"blob {blob.digest} is damaged in the store: its bytes hash to {hasher.hexdigest()}",
            hint="add or pull the model again to repair it; nothing was pushed",
            details={"digest": str(blob.digest)},
        )


def _told(answer: Answer) -> str | None:
    return answer.headers.get("Docker-Content-Digest")


def _check_told(answer: Answer, digest: Digest) -> None:
    """Compare the digest of what was stored, where the registry tells it."""
    told = _told(answer)
    if told not in (None, str(digest)):
        raise RunnerError(
            Kind.INTEGRITY,
            f"the registry stored {told[:160]!a} instead of {digest}",
            hint="it changes what it is given, or a proxy before it does: tell who runs it",
        )


def _miscounted(answer: Answer, part: Send, received: int | None) -> RunnerError:
    return unavailable(
        Cause.ANSWER,
        f"{answer.route} has {received} bytes of an upload after byte {part.stop} was sent",
        "try again; if it stays so, something before the registry cuts uploads short",
    )
