"""Whatever a server answers, a download gives the blob or an error, and never another blob."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.store import Store
from runner.transfer.download import fetch_blob
from runner.transfer.pace import Pace
from tests.support.scripted_source import (
    Respond,
    ScriptedSource,
    broken_after,
    empty,
    flipped_at,
    honest,
    refused,
    short_by,
    unavailable,
    whole,
)
from tests.unit.transfer.conftest import content, descriptor, stored

BLOCK_BYTES = 512
SIZE = 12 * BLOCK_BYTES + 77
DATA = content(SIZE)

lengths = st.integers(0, SIZE)
faults: st.SearchStrategy[Respond] = st.one_of(
    st.just(honest),
    st.just(whole),
    st.just(empty),
    st.just(refused(unavailable())),
    st.just(refused(RunnerError(Kind.RATE_LIMITED, "not now"))),
    st.builds(broken_after, lengths),
    st.builds(short_by, st.integers(1, SIZE)),
    st.builds(flipped_at, st.integers(0, SIZE - 1)),
)


@given(
    scripts=st.lists(st.lists(faults, min_size=1, max_size=8), max_size=3),
    most_connections=st.sampled_from([1, 3]),
)
def test_any_answers_give_the_blob_or_an_error(
    scripts: list[list[Respond]], most_connections: int
) -> None:
    """Each script is an attempt, the next one resumes it; at last the server is honest."""
    pace = Pace(
        block_bytes=BLOCK_BYTES,
        run_blocks=2,
        most_connections=most_connections,
        trial_s=0.0,
        patience=2,
        patience_s=0.0,
        pause_s=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "models")
        for script in [*scripts, [honest]]:
            source = ScriptedSource(DATA, script)
            try:
                fetch_blob(
                    store,
                    descriptor(DATA),
                    source.open_range,
                    listen=lambda event: None,
                    cancelled=lambda: False,
                    pace=pace,
                )
            except RunnerError as error:
                assert script != [honest]
                assert error.kind in (
                    Kind.REGISTRY_UNAVAILABLE,
                    Kind.RATE_LIMITED,
                    Kind.INTEGRITY,
                )
            assert stored(store, DATA) in (None, DATA)
        assert stored(store, DATA) == DATA
        assert list((store.path / "partials").iterdir()) == []
