from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor
from runner.store import Store
from runner.store import partial as partial_module
from runner.transfer.download import fetch_blob, fetch_unknown
from runner.transfer.pace import Pace
from runner.transfer.progress import Event, LayerProgress, Note
from tests.support.scripted_source import (
    Answer,
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
from tests.unit.transfer.conftest import BLOCK_BYTES, content, descriptor, partials, stored

PACE = Pace(block_bytes=BLOCK_BYTES, most_connections=1, pause_s=0.001, patience_s=0.0)
SEVERAL = Pace(block_bytes=BLOCK_BYTES, run_blocks=4, trial_s=0.0, pause_s=0.001)
SIZE = 10 * BLOCK_BYTES + 123


class Fetch:
    """A download in one process, and what it told."""

    def __init__(
        self, store: Store, script: Sequence[Respond], data: bytes, pace: Pace = PACE
    ) -> None:
        self.source = ScriptedSource(data, script)
        self.pace = pace
        self.events: list[Event] = []
        self.store = store
        self.blob = descriptor(data)

    def run(self, cancelled: Callable[[], bool] = lambda: False) -> int:
        return fetch_blob(
            self.store,
            self.blob,
            self.source.open_range,
            listen=self.events.append,
            cancelled=cancelled,
            pace=self.pace,
        )

    @property
    def last(self) -> LayerProgress:
        assert isinstance(self.events[-1], LayerProgress)
        return self.events[-1]


def fetch(store: Store, *script: Respond, size: int = SIZE, pace: Pace = PACE) -> Fetch:
    return Fetch(store, script, content(size), pace)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, SIZE])
def test_a_blob_of_any_size_arrives(store: Store, size: int) -> None:
    one = fetch(store, honest, size=size)
    assert one.run() == size
    assert stored(store, content(size)) == content(size)
    assert one.last == LayerProgress(one.blob.digest, size, size)
    assert partials(store) == []


def test_a_large_blob_comes_over_several_connections(store: Store) -> None:
    one = fetch(store, honest, size=200 * BLOCK_BYTES, pace=SEVERAL)
    one.run()
    assert stored(store, one.source.data) == one.source.data
    assert len(one.source.asked) > 2
    assert one.source.asked[0] == (0, None)


def test_a_blob_that_is_there_is_not_fetched(store: Store) -> None:
    store.inbox.add_document("text/plain", content(SIZE))
    one = fetch(store, honest)
    assert one.run() == 0
    assert one.source.asked == []
    assert one.events == [LayerProgress(one.blob.digest, SIZE, SIZE, is_present=True)]


def test_a_broken_connection_goes_on_at_the_byte_where_it_broke(store: Store) -> None:
    one = fetch(store, broken_after(5000), broken_after(1), honest)
    assert one.run() == SIZE
    assert one.source.asked == [(0, None), (5000, None), (5001, None)]
    assert stored(store, content(SIZE)) == content(SIZE)


def test_an_attempt_that_brings_nothing_is_repeated_with_patience_then_told(store: Store) -> None:
    one = fetch(store, broken_after(5000), refused(unavailable()))
    with pytest.raises(RunnerError) as caught:
        one.run()
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert caught.value.message == "the connection broke"
    assert len(one.source.asked) == 1 + PACE.patience
    assert partials(store) == [".journal", ".part"]


@pytest.mark.parametrize("cause", ["dns", "connect", "proxy", "status"])
def test_a_download_that_has_begun_waits_for_the_network_to_come_back(
    store: Store, cause: str
) -> None:
    away = RunnerError(Kind.REGISTRY_UNAVAILABLE, "away", details={"cause": cause})
    patient = replace(PACE, patience_s=60.0)
    script = [broken_after(5000), *[refused(away)] * (PACE.patience + 3), honest]
    one = fetch(store, *script, pace=patient)
    assert one.run() == SIZE
    assert stored(store, content(SIZE)) == content(SIZE)


def test_a_server_that_takes_one_connection_only_gets_one(store: Store) -> None:
    first_is_open = threading.Lock()

    def one_at_a_time(data: bytes, start: int, end: int | None) -> Answer:
        if not first_is_open.acquire(blocking=False):
            raise RunnerError(Kind.RATE_LIMITED, "one connection for each of you")
        return Locked(start, len(data), data[start:end], lock=first_is_open)

    one = fetch(store, one_at_a_time, size=200 * BLOCK_BYTES, pace=SEVERAL)
    assert one.run() >= 200 * BLOCK_BYTES
    assert stored(store, one.source.data) == one.source.data


@dataclass
class Locked(Answer):
    lock: threading.Lock = field(default_factory=threading.Lock)

    def chunks(self) -> Iterator[bytes]:
        try:
            for chunk in super().chunks():
                yield chunk
                time.sleep(0)
        finally:
            self.lock.release()


def test_a_download_that_has_not_begun_does_not_wait_for_what_may_never_be(store: Store) -> None:
    away = RunnerError(Kind.REGISTRY_UNAVAILABLE, "no such host", details={"cause": "dns"})
    one = fetch(store, refused(away), pace=replace(PACE, patience_s=60.0))
    with pytest.raises(RunnerError):
        one.run()
    assert len(one.source.asked) == 1


@pytest.mark.parametrize("kind", [Kind.REGISTRY_DENIED, Kind.MODEL_NOT_FOUND, Kind.RATE_LIMITED])
def test_a_refusal_is_final(store: Store, kind: Kind) -> None:
    one = fetch(store, refused(RunnerError(kind, "no")))
    with pytest.raises(RunnerError) as caught:
        one.run()
    assert caught.value.kind is kind
    assert len(one.source.asked) == 1


def test_the_next_attempt_fetches_only_what_is_missing(store: Store) -> None:
    first = fetch(store, broken_after(3 * BLOCK_BYTES + 7), refused(unavailable()))
    with pytest.raises(RunnerError):
        first.run()
    second = fetch(store, honest)
    assert second.run() == SIZE - 3 * BLOCK_BYTES
    assert second.source.asked == [(3 * BLOCK_BYTES, None)]
    assert second.last == LayerProgress(second.blob.digest, SIZE, SIZE, 3 * BLOCK_BYTES)
    assert stored(store, content(SIZE)) == content(SIZE)


def test_one_bad_block_is_fetched_again_alone(store: Store) -> None:
    first = fetch(store, broken_after(6 * BLOCK_BYTES), refused(unavailable()))
    with pytest.raises(RunnerError):
        first.run()
    path = next((store.path / "partials").glob("*.part"))
    with path.open("r+b") as file:
        file.seek(2 * BLOCK_BYTES)
        file.write(b"\xff" * 10)
    second = fetch(store, honest)
    second.run()
    assert stored(store, content(SIZE)) == content(SIZE)
    assert (2 * BLOCK_BYTES, 3 * BLOCK_BYTES) in second.source.asked
    assert second.last.resumed_bytes == 5 * BLOCK_BYTES
    fetched = sum((end or SIZE) - start for start, end in second.source.asked)
    assert fetched == SIZE - 5 * BLOCK_BYTES


def test_lost_bytes_of_a_crash_are_noticed(store: Store) -> None:
    first = fetch(store, broken_after(6 * BLOCK_BYTES), refused(unavailable()))
    with pytest.raises(RunnerError):
        first.run()
    os.truncate(next((store.path / "partials").glob("*.part")), BLOCK_BYTES + 9)
    second = fetch(store, honest)
    second.run()
    assert stored(store, content(SIZE)) == content(SIZE)
    assert second.last.resumed_bytes == BLOCK_BYTES


def test_d1_a_wrong_digest_is_fetched_once_more_and_then_an_error(store: Store) -> None:
    one = fetch(store, flipped_at(7))
    with pytest.raises(RunnerError) as caught:
        one.run()
    assert caught.value.kind is Kind.INTEGRITY
    assert f"expected {one.blob.digest} of {SIZE} bytes, got sha256:" in caught.value.message
    assert len([event for event in one.events if isinstance(event, Note)]) == 1
    assert one.source.asked == [(0, None), (0, None)]
    assert stored(store, content(SIZE)) is None
    assert partials(store) == []


def test_d1_a_wrong_digest_that_was_an_accident_is_mended(store: Store) -> None:
    one = fetch(store, flipped_at(7), honest)
    one.run()
    assert stored(store, content(SIZE)) == content(SIZE)


def wrong_start(data: bytes, start: int, end: int | None) -> Answer:
    """206 with another range than was asked."""
    return Answer(start + 100, len(data), data[start + 100 : end])


BREAK = broken_after(2 * BLOCK_BYTES + 50)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([BREAK, whole], id="200 to a range"),
        pytest.param([BREAK, wrong_start, honest], id="206 with another range"),
        pytest.param([BREAK, empty, honest], id="206 without a byte"),
        pytest.param([BREAK, short_by(4000), honest], id="206 that ends early"),
        pytest.param([empty, honest], id="200 without a byte"),
    ],
)
def test_d4_an_answer_that_is_not_what_was_asked_is_never_appended(
    store: Store, script: list[Respond]
) -> None:
    one = fetch(store, *script)
    one.run()
    assert stored(store, content(SIZE)) == content(SIZE)


def test_d4_a_server_without_ranges_is_read_by_one_connection(store: Store) -> None:
    one = fetch(store, whole, size=200 * BLOCK_BYTES, pace=SEVERAL)
    one.run()
    assert stored(store, one.source.data) == one.source.data


def test_d4_empty_answers_without_end_are_an_error(store: Store) -> None:
    one = fetch(store, BREAK, empty)
    with pytest.raises(RunnerError) as caught:
        one.run()
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert f"at {2 * BLOCK_BYTES + 50} of {SIZE} bytes" in caught.value.message


def longer(data: bytes, start: int, end: int | None) -> Answer:
    return Answer(start, len(data) + 1, data + b"x")


def endless(data: bytes, start: int, end: int | None) -> Answer:
    return Answer(start, None, data + b"x" * 10_000)


@pytest.mark.parametrize("respond", [longer, endless], ids=["declared", "undeclared"])
def test_d5_more_than_the_manifest_says_is_an_error_at_once(store: Store, respond: Respond) -> None:
    one = fetch(store, respond)
    with pytest.raises(RunnerError) as caught:
        one.run()
    assert caught.value.kind is Kind.INTEGRITY
    assert f"has {SIZE} bytes by its manifest, but the server sends" in caught.value.message
    assert len(one.source.asked) == 1
    assert stored(store, content(SIZE)) is None


def test_d5_less_is_asked_for_again(store: Store) -> None:
    one = fetch(store, short_by(1000), honest)
    assert one.run() == SIZE
    assert one.source.asked == [(0, None), (SIZE - 1000, None)]


def test_e5_a_stopped_download_keeps_what_has_arrived(store: Store) -> None:
    gate = threading.Event()

    def stalled(data: bytes, start: int, end: int | None) -> Answer:
        return Answer(start, len(data), data[start:], gate=gate)

    one = fetch(store, broken_after(4 * BLOCK_BYTES), stalled)
    with pytest.raises(RunnerError) as caught:
        one.run(cancelled=lambda: len(one.source.asked) > 1)
    assert caught.value.kind is Kind.CANCELLED
    assert caught.value.hint is not None and "goes on from there" in caught.value.hint
    # What its connection still brings is not written: the file may be another's by now.
    before = next((store.path / "partials").glob("*.part")).read_bytes()
    gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("fetch"):
            thread.join(5)
    assert next((store.path / "partials").glob("*.part")).read_bytes() == before
    two = fetch(store, honest)
    assert two.run() == SIZE - 4 * BLOCK_BYTES


def test_e4_a_second_download_of_a_blob_waits_for_the_first(store: Store) -> None:
    asked, gate = threading.Event(), threading.Event()

    def slow(data: bytes, start: int, end: int | None) -> Answer:
        asked.set()
        return Answer(start, len(data), data[start:], gate=gate)

    first, second = fetch(store, broken_after(3 * BLOCK_BYTES), slow), fetch(store, honest)

    def listen(event: Event) -> None:
        second.events.append(event)
        if isinstance(event, LayerProgress) and event.done_bytes == 3 * BLOCK_BYTES:
            gate.set()

    thread = threading.Thread(target=first.run)
    thread.start()
    assert asked.wait(20)
    received = fetch_blob(
        Store(store.path),
        second.blob,
        second.source.open_range,
        listen=listen,
        cancelled=lambda: False,
        pace=PACE,
    )
    thread.join()
    assert received == 0
    assert second.source.asked == []
    assert second.last.done_bytes == SIZE and not second.last.is_present
    assert stored(store, content(SIZE)) == content(SIZE)


def test_e4_a_second_download_goes_on_where_the_first_failed(store: Store) -> None:
    asked, gate = threading.Event(), threading.Event()

    def failing(data: bytes, start: int, end: int | None) -> Answer:
        asked.set()
        gate.wait(20)
        raise RunnerError(Kind.REGISTRY_DENIED, "no longer")

    first, second = fetch(store, broken_after(3 * BLOCK_BYTES), failing), fetch(store, honest)
    errors = []

    def run() -> None:
        try:
            first.run()
        except RunnerError as error:
            errors.append(error.kind)

    thread = threading.Thread(target=run)
    thread.start()
    assert asked.wait(20)
    second.events = _SetsOnFirst(gate)
    assert second.run() == SIZE - 3 * BLOCK_BYTES
    thread.join()
    assert errors == [Kind.REGISTRY_DENIED]
    assert stored(store, content(SIZE)) == content(SIZE)


class _SetsOnFirst(list[Event]):
    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self._gate = gate

    def append(self, event: Event) -> None:
        super().append(event)
        self._gate.set()


def test_e2_a_disk_that_fills_up_keeps_what_has_arrived(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= 5 * BLOCK_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(partial_module.os, "pwrite", pwrite)
        with pytest.raises(RunnerError) as caught:
            fetch(store, honest).run()
    assert caught.value.kind is Kind.DISK_FULL
    assert caught.value.details["need_bytes"] == SIZE - 5 * BLOCK_BYTES
    assert "what has arrived is kept" in caught.value.message
    again = fetch(store, honest)
    assert again.run() == SIZE - 5 * BLOCK_BYTES
    assert stored(store, content(SIZE)) == content(SIZE)


def test_e2_a_blob_that_does_not_fit_is_not_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fetch(store, honest)
    one.blob = Descriptor(one.blob.media_type, one.blob.digest, 2**60)
    with pytest.raises(RunnerError) as caught:
        one.run()
    assert caught.value.kind is Kind.DISK_FULL
    assert caught.value.details["need_bytes"] == 2**60 + 16 * 1024 * 1024
    assert one.source.asked == []


def test_a_file_of_unknown_digest_is_read_with_a_bound() -> None:
    source = ScriptedSource(b"0123456789", [broken_after(4), whole])
    arguments = {"cancelled": lambda: False, "pace": PACE}
    assert fetch_unknown(source.open_range, limit_bytes=10, **arguments) == b"0123456789"
    with pytest.raises(RunnerError) as caught:
        fetch_unknown(source.open_range, limit_bytes=9, **arguments)
    assert caught.value.kind is Kind.TOO_LARGE
