"""A blob, or a part of one, as it streams in. Unverified: who writes it down hashes it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor
from runner.registry.answer import Answer
from runner.registry.failures import Cause, unavailable
from runner.registry.session import Session

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)")


@dataclass(frozen=True, slots=True)
class Blob:
    """An answer that holds bytes of a blob: a :class:`~runner.registry.stream.BlobStream`."""

    start: int
    size_bytes: int | None
    answer: Answer

    def chunks(self) -> Iterator[bytes]:
        """Yield what arrives; raise RunnerError(REGISTRY_UNAVAILABLE) for a stall or a break."""
        return self.answer.chunks()


@contextlib.contextmanager
def open_blob(
    session: Session, path: str, descriptor: Descriptor, start: int, stop: int | None
) -> Iterator[Blob]:
    """Ask for the bytes from ``start`` to before ``stop``; give what the server sends instead, too.

    Every call begins at the registry, which signs a new URL where its storage is elsewhere.
    Raises RunnerError of :meth:`Session.refusal`.
    """
    what = f"blob {descriptor.digest.short}"
    headers = range_headers(start, stop)
    with contextlib.ExitStack() as stack:
        answer = stack.enter_context(session.open("GET", path, headers=headers))
        if answer.status == 416:  # it cannot serve parts, or not this one: from the beginning
            stack.close()
            answer = stack.enter_context(session.open("GET", path))
        if answer.status == 206 and headers:
            yield read_part(answer, size_bytes=descriptor.size_bytes, what=str(descriptor.digest))
        elif answer.status == 200:
            yield Blob(0, answer.size_bytes, answer)
        else:
            raise absent_is_broken(session.refusal(answer, what), what)


def range_headers(start: int, stop: int | None) -> dict[str, str]:
    """Ask for the bytes from ``start`` to before ``stop``, RFC 9110 section 14.2; none for all."""
    if start == 0 and stop is None:
        return {}
    return {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def absent_is_broken(error: RunnerError, what: str) -> RunnerError:
    """Tell that a blob is missing where its manifest is: the registry is broken, not the name."""
    if error.kind is not Kind.MODEL_NOT_FOUND:
        return error
    return unavailable(
        Cause.STATUS,
        f"the registry has the manifest but not its {what}",
        "whoever pushed the model has to push it again",
    )


def read_part(answer: Answer, *, size_bytes: int, what: str) -> Blob:
    """Read where a part of ``what`` lies: RFC 9110 section 14.4. One that does not say is no use.

    Raises RunnerError: REGISTRY_UNAVAILABLE; INTEGRITY where the whole has another size.
    """
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if match is None:
        raise unavailable(
            Cause.ANSWER, f"{answer.route} sent a part of {what} without saying which part"
        )
    size = None if match[3] is None else int(match[3])
    if size is not None and size != size_bytes:
        raise RunnerError(
            Kind.INTEGRITY,
            f"{answer.route} has {size} bytes of {what}, where {size_bytes} are expected",
            hint="the server, or a cache before it, has a damaged file",
        )
    return Blob(int(match[1]), size, answer)
