from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from runner.errors import Kind, RunnerError
from runner.registry.listing import Listed
from runner.transfer.fit import Fit
from runner.transfer.search import Found, Offer, search

GIB = 1024**3
DOWN = RunnerError(Kind.REGISTRY_UNAVAILABLE, "no route to it", hint="check your network")


@dataclass(frozen=True)
class ScriptedSource:
    """A source that knows its rows, or fails, or waits."""

    title: str
    rows: tuple[Listed, ...] = ()
    offers: dict[str, Offer | RunnerError] = field(default_factory=dict, hash=False)
    failure: RunnerError | None = field(default=None, hash=False)
    gate: threading.Event | None = None  # what `find` waits for

    def find(self, term: str, *, limit: int) -> Sequence[Listed]:
        if self.gate is not None:
            self.gate.wait(30)
        if self.failure is not None:
            raise self.failure
        return [row for row in self.rows if term in row.name][:limit]

    def pull_name(self, listed: Listed) -> str:
        return f"{self.title}/{listed.name}"

    def survey(self, listed: Listed) -> Offer:
        offer = self.offers.get(listed.name, Offer())
        if isinstance(offer, RunnerError):
            raise offer
        return offer


SMALL, LARGE = Listed("small", downloads=5), Listed("large", downloads=9)
OFFER = Offer("Q4_K_M", 2 * GIB, ("Q4_K_M", "Q8_0"))


def test_rows_of_all_sources_by_downloads_with_size_and_fit() -> None:
    first = ScriptedSource("a", (SMALL,), {"small": OFFER})
    second = ScriptedSource("b", (LARGE,), {"large": Offer("Q8_0", 40 * GIB)})
    result = search([first, second], "", limit=10, memory_bytes=8 * GIB)
    assert result.warnings == ()
    assert result.found == (
        Found("b/large", "b", LARGE, Offer("Q8_0", 40 * GIB), Fit.NO),
        Found("a/small", "a", SMALL, OFFER, Fit.YES),
    )


def test_the_limit_is_for_all_sources_together() -> None:
    sources = [ScriptedSource("a", (SMALL,)), ScriptedSource("b", (LARGE,))]
    result = search(sources, " ", limit=1, memory_bytes=None)
    assert [row.name for row in result.found] == ["b/large"]


def test_a_source_that_fails_costs_its_own_rows_only() -> None:
    sources = [ScriptedSource("a", failure=DOWN), ScriptedSource("b", (LARGE,))]
    result = search(sources, "large", limit=5, memory_bytes=None)
    assert [row.name for row in result.found] == ["b/large"]
    assert result.warnings == ("a is left out: no route to it (check your network)",)


def test_a_source_that_is_slow_costs_its_own_rows_only() -> None:
    gate = threading.Event()
    sources = [ScriptedSource("a", gate=gate), ScriptedSource("b", (LARGE,))]
    try:
        result = search(sources, "", limit=5, memory_bytes=None, patience_s=0.2)
    finally:
        gate.set()
    assert [row.name for row in result.found] == ["b/large"]
    assert result.warnings == ("a is left out: no answer in time",)


def test_when_every_source_fails_the_search_does() -> None:
    with pytest.raises(RunnerError, match="no route to it"):
        search([ScriptedSource("a", failure=DOWN)], "", limit=5, memory_bytes=None)


def test_a_row_whose_sizes_cannot_be_read_is_shown_without() -> None:
    source = ScriptedSource("a", (SMALL,), {"small": DOWN})
    (row,) = search([source], "", limit=5, memory_bytes=8 * GIB).found
    assert (row.offer, row.fit) == (Offer(), None)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(RunnerError) as caught:
        search([], "", limit=limit, memory_bytes=None)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "limit")
