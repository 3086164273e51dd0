"""The loop of a model that pools, over a pool that is told what to give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runner.binding import Code, NativeError
from runner.errors import Kind
from runner.wire.messages import Event, Failed, Message, Pooled, Stop, Tune, Tuned
from runner.worker.loop import Inbox
from runner.worker.pooling import Packer, Texts
from runner.worker.pooling_loop import Pool, PoolingLoop

NAN_TOKEN, FATAL_TOKEN, ABORTED_TOKEN = 13, 14, 15


class Sums:
    """Gives each text the sum of its tokens. NaN spreads within a pass, as in llama.cpp."""

    def __init__(self) -> None:
        self.passes: list[list[list[int]]] = []

    def embed(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.passes.append([[*text] for text in texts])
        tokens = [token for text in texts for token in text]
        if FATAL_TOKEN in tokens:
            raise NativeError(Code.EXCEPTION, "it failed")
        if ABORTED_TOKEN in tokens:
            raise NativeError(Code.CANCELLED, "it was aborted")
        spoilt = np.nan if NAN_TOKEN in tokens else 0
        return np.array([[sum(text) + spoilt] for text in texts], np.float32)

    def set_threads(self, threads: int) -> None: ...

    def abort(self) -> None: ...


def texts(id: int, *tokens: Sequence[int], **more: Any) -> Texts:
    defaults = {"dimensions": None, "norm": -1, "deadline_s": None}
    return Texts(id, tuple(tuple(text) for text in tokens), **(defaults | more))


def serve(*items: Any, max_jobs: int = 8) -> tuple[dict[int, Event], list[Message], Sums]:
    """Run over items that are all there at once; return the last events, messages and passes."""
    inbox, events, sent, sums = Inbox(), list[Event](), list[Message](), Sums()
    loop = PoolingLoop(
        Pool(sums, threads=1, width=1),
        Packer(rows=6, texts=4),
        inbox,
        emit=events.extend,
        send=sent.append,
        is_preparing=lambda: False,
        max_jobs=max_jobs,
    )
    for item in [*items, Stop(grace_s=60.0)]:
        inbox.put(item)
    loop.run()
    assert len({event.id for event in events}) == len(events)  # one last event each
    return {event.id: event for event in events}, sent, sums


def test_a_request_over_several_passes_has_its_rows_in_order() -> None:
    events, _, sums = serve(texts(1, [1, 2], [3, 4], [5, 6], [7, 8]), texts(2, [9]))
    answer = events[1]
    assert isinstance(answer, Pooled)
    assert np.frombuffer(answer.values, "<f4").tolist() == [3, 7, 11, 15]
    assert answer.tokens == (2, 2, 2, 2)
    assert sums.passes == [[[1, 2], [9], [3, 4]], [[5, 6], [7, 8]]]


def test_nan_fails_the_request_that_has_it_and_no_other() -> None:
    events, _, _ = serve(texts(1, [1], [NAN_TOKEN]), texts(2, [2]))
    failed = events[1]
    assert isinstance(failed, Failed)
    assert (failed.kind, "text 1" in failed.message) == (Kind.INTERNAL, True)
    assert isinstance(events[2], Pooled)


@pytest.mark.parametrize(
    ("token", "kind"), [(FATAL_TOKEN, Kind.INTERNAL), (ABORTED_TOKEN, Kind.UNAVAILABLE)]
)
def test_a_pass_that_fails_ends_its_requests_and_others_go_on(token: int, kind: Kind) -> None:
    events, _, _ = serve(texts(1, [token] * 6), texts(2, [2]))
    failed = events[1]
    assert isinstance(failed, Failed)
    assert failed.kind == kind
    assert isinstance(events[2], Pooled)


def test_more_than_may_wait_are_refused() -> None:
    events, _, _ = serve(texts(1, [1]), texts(2, [2]), texts(3, [3]), max_jobs=2)
    refused = events[3]
    assert isinstance(refused, Failed)
    assert refused.kind == Kind.BUSY


def test_a_deadline_that_passed_is_a_timeout() -> None:
    events, _, _ = serve(texts(1, [1], deadline_s=0.0))
    late = events[1]
    assert isinstance(late, Failed)
    assert late.kind == Kind.TIMEOUT


def test_a_search_for_settings_ends_at_once() -> None:
    _, sent, _ = serve(Tune(), Tune(stop=True))
    assert [type(message) for message in sent] == [Tuned]
