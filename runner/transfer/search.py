"""Finds models to pull: what Docker Hub and Hugging Face offer, how large it is, whether it fits.

Sources are asked at the same time, and each row's sizes too. A source that fails or is slow costs
its own rows and a warning, never the others' rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, TypeVar

from runner.errors import Kind, RunnerError
from runner.registry.listing import Listed
from runner.transfer.fit import Fit, judge_fit

PATIENCE_S = 15.0  # for everything
MAX_REQUESTS = 8  # at once
MAX_LIMIT = 200  # rows

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a pull of a repository would bring. Empty and None: not known."""

    quantization: str = ""  # of the default
    size_bytes: int | None = None  # of the default
    quantizations: tuple[str, ...] = ()  # all of them


@dataclass(frozen=True, slots=True)
class Found:
    """A row of the result."""

    name: str  # as ``pull`` takes it
    source: str  # ``Docker Hub`` or ``HuggingFace``
    listed: Listed
    offer: Offer = Offer()
    fit: Fit | None = None  # None: the size, or this machine's memory, is not known


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Rows, most downloaded first, and what kept others away."""

    found: tuple[Found, ...]
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """A place to search. Its methods block, in several threads, and may raise RunnerError."""

    @property
    def title(self) -> str:
        """The source's name, as people know it."""
        ...

    def find(self, term: str, *, limit: int) -> Sequence[Listed]:
        """List up to ``limit`` repositories, most downloaded first; an empty term lists any."""
        ...

    def pull_name(self, listed: Listed) -> str:
        """Return the name that ``pull`` takes."""
        ...

    def survey(self, listed: Listed) -> Offer:
        """Look up quantisations and size of one repository."""
        ...


def search(
    sources: Sequence[Source],
    term: str,
    *,
    limit: int,
    memory_bytes: int | None,
    patience_s: float = PATIENCE_S,
) -> SearchResult:
    """Search all sources; wait at most ``patience_s`` in all.

    Raises RunnerError: INVALID_REQUEST for a limit out of range; and the first source's error when
    every source failed.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise RunnerError(
            Kind.INVALID_REQUEST, f"limit must be 1 to {MAX_LIMIT}, got {limit}", param="limit"
        )
    deadline_s = time.monotonic() + patience_s
    pool = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="search")
    try:
        lists, errors = _settle(
            {source: pool.submit(source.find, term.strip(), limit=limit) for source in sources},
            deadline_s,
        )
        rows = [(source, listed) for source, found in lists.items() for listed in found]
        rows = sorted(rows, key=lambda row: -row[1].downloads)[:limit]
        offers, _ = _settle({row: pool.submit(row[0].survey, row[1]) for row in rows}, deadline_s)
    finally:
        # A thread that still waits ends with its request's own timeout.
        pool.shutdown(wait=False, cancel_futures=True)
    if errors and not lists:
        raise next(iter(errors.values()))
    return SearchResult(
        tuple(_found(*row, offers.get(row, Offer()), memory_bytes) for row in rows),
        tuple(f"{source.title} is left out: {error}" for source, error in errors.items()),
    )


def _settle(
    futures: Mapping[_Key, Future[_Value]], deadline_s: float
) -> tuple[dict[_Key, _Value], dict[_Key, RunnerError]]:
    """Wait until the deadline; return the results, and why others have none."""
    wait(futures.values(), timeout=max(0.0, deadline_s - time.monotonic()))
    values, errors = {}, {}
    for key, future in futures.items():
        try:
            values[key] = future.result(timeout=0)
        except TimeoutError:
            errors[key] = RunnerError(Kind.REGISTRY_UNAVAILABLE, "no answer in time")
        except RunnerError as error:
            errors[key] = error
    return values, errors


def _found(source: Source, listed: Listed, offer: Offer, memory_bytes: int | None) -> Found:
    fit = None
    if offer.size_bytes is not None and memory_bytes is not None:
        fit = judge_fit(offer.size_bytes, memory_bytes=memory_bytes)
    return Found(source.pull_name(listed), source.title, listed, offer, fit)
