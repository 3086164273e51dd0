"""The log without what engines wrote, however its bytes come."""

from __future__ import annotations

import pytest

from runner.log_lines import ENGINES, EngineSieve, render_line
from runner.supervise import worker

STAMP = "2026-07-22T10:00:00.123Z"
OURS = render_line(STAMP, "info", "runner.access", 'POST "/v1" info runner.worker [1] x').encode()
ENGINE = render_line(STAMP, "info", ENGINES, "[17] llama_model_load: é").encode()
NEIGHBOUR = render_line(STAMP, "info", "runner.workers", "another logger").encode()
WHOLE = b"\n".join([OURS, ENGINE, ENGINE, NEIGHBOUR, ENGINE, b"a line of old", OURS, b""])
KEPT = b"\n".join([OURS, NEIGHBOUR, b"a line of old", OURS, b""])


@pytest.mark.parametrize("size", [1, 7, 60, 10_000])
def test_lines_of_engines_are_left_out_and_others_stay_whole(size: int) -> None:
    sieve = EngineSieve()
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    fed = [sieve.feed(piece) for piece in pieces]
    assert (b"".join(fed), sieve.finish()) == (KEPT, b"")
    assert all(piece.endswith(b"\n") for piece in fed if piece)


@pytest.mark.parametrize(("rest", "left"), [(OURS, OURS), (ENGINE, b""), (b"", b"")])
def test_a_last_line_without_an_end(rest: bytes, left: bytes) -> None:
    sieve = EngineSieve()
    assert (sieve.feed(rest), sieve.finish()) == (b"", left)


def test_engines_are_logged_by_that_name() -> None:
    assert worker.LOG.name == ENGINES
