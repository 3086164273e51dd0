"""The places where a repository may be: Docker Hub's mirrors in their order, then the registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from runner.errors import Kind
from runner.oci.reference import DEFAULT_DOMAIN
from runner.registry.address import Origin
from runner.registry.caller import Caller
from runner.registry.endpoint import Endpoints

REST_S = 300.0  # how long a mirror that failed is left alone

# What the next place may do better.
PASSED_ON = frozenset(
    {Kind.REGISTRY_UNAVAILABLE, Kind.REGISTRY_DENIED, Kind.RATE_LIMITED, Kind.MODEL_NOT_FOUND}
)


class Place(NamedTuple):
    """One place: whose login counts there, and its base URL."""

    host: str
    base_url: str
    is_mirror: bool = False


class Places:
    """Knows the places of a registry, and which mirrors failed lately. Thread-safe."""

    def __init__(
        self,
        endpoints: Endpoints,
        mirrors: tuple[str, ...],
        *,
        default_registry: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoints = endpoints
        self._default_registry = default_registry
        self._mirrors = tuple(Place(Origin.of(url).authority, url, True) for url in mirrors)
        self._clock = clock
        self._resting: dict[Place, float] = {}
        self._lock = threading.Lock()

    def all_of(self, domain: str, caller: Caller) -> Iterator[Place]:
        """Yield where to ask, best first; the registry itself comes last and always."""
        if domain == DEFAULT_DOMAIN and self._default_registry:
            domain = self._default_registry  # in the Hub's place, whose mirrors do not have it
        elif domain == DEFAULT_DOMAIN:
            with self._lock:
                now = self._clock()
                awake = [place for place in self._mirrors if self._resting.get(place, now) <= now]
            yield from awake
        yield Place(domain, self.endpoints.base_url(domain, caller))

    def rest(self, place: Place) -> None:
        """Leave a mirror alone for a while: it cannot be reached."""
        with self._lock:
            self._resting[place] = self._clock() + REST_S
