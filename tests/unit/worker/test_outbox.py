"""The engine never waits for the daemon; what gathers meanwhile becomes fewer, longer pieces."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from runner.wire import from_worker_decoder
from runner.wire.messages import Beat, Begun, Event, Events, FromWorker, LoadProgress, Piece
from runner.worker.outbox import MAX_BACKLOG, Outbox


def beat(steps: int) -> Beat:
    return Beat(
        step_running_s=0.0,
        running=0,
        waiting=0,
        cells_used=0,
        cells_total=0,
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        steps=steps,
        resident_bytes=0,
    )


class SlowDaemon:
    """Takes a frame only when it is let."""

    def __init__(self) -> None:
        self.taken = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self._decoder = from_worker_decoder()
        self.messages: list[FromWorker] = []

    def write(self, data: bytes) -> None:
        self.messages += self._decoder.feed(data)
        self.arrived.release()
        assert self.taken.acquire(timeout=10)

    def wait(self, writes: int = 1) -> None:
        for _ in range(writes):
            assert self.arrived.acquire(timeout=10)


@pytest.fixture
def daemon() -> SlowDaemon:
    return SlowDaemon()


@pytest.fixture
def outbox(daemon: SlowDaemon) -> Iterator[Outbox]:
    outbox = Outbox(daemon.write)
    thread = threading.Thread(target=outbox.run)
    thread.start()
    yield outbox
    daemon.taken.release(100)
    assert outbox.close(10)
    thread.join(10)


def events(daemon: SlowDaemon) -> list[tuple[Event, ...]]:
    return [message.events for message in daemon.messages if isinstance(message, Events)]


def test_what_gathers_during_a_write_becomes_one_frame(daemon: SlowDaemon, outbox: Outbox) -> None:
    outbox.emit([Begun(1, 3, 0)])
    daemon.wait()
    outbox.emit([Piece(1, "a", 1), Piece(2, "x", 1)])
    outbox.emit([Piece(1, "b", 1)])
    daemon.taken.release()
    daemon.wait()
    assert events(daemon) == [(Begun(1, 3, 0),), (Piece(1, "ab", 2), Piece(2, "x", 1))]


def test_only_the_newest_beat_is_kept(daemon: SlowDaemon, outbox: Outbox) -> None:
    outbox.send(LoadProgress(fraction=0.5))
    daemon.wait()
    for steps in (1, 2, 3):
        outbox.send(beat(steps))
    daemon.taken.release()
    daemon.wait()
    assert daemon.messages == [LoadProgress(fraction=0.5), beat(3)]


def test_messages_come_before_the_events_and_beats_that_waited_with_them(
    daemon: SlowDaemon, outbox: Outbox
) -> None:
    outbox.send(LoadProgress(fraction=0.1))
    daemon.wait()
    outbox.send(beat(1))
    outbox.emit([Begun(1, 3, 0)])
    outbox.send(LoadProgress(fraction=0.2))
    daemon.taken.release()
    daemon.wait()
    types = [type(message) for message in daemon.messages]
    assert types == [LoadProgress, LoadProgress, Events, Beat]


def test_closing_writes_what_is_left(daemon: SlowDaemon) -> None:
    outbox = Outbox(daemon.write)
    outbox.emit([Begun(1, 3, 0)])
    daemon.taken.release(2)
    thread = threading.Thread(target=outbox.run)
    thread.start()
    assert outbox.close(10)
    thread.join(10)
    assert events(daemon) == [(Begun(1, 3, 0),)]


def test_closing_does_not_wait_for_ever(daemon: SlowDaemon, outbox: Outbox) -> None:
    outbox.emit([Begun(1, 3, 0)])
    daemon.wait()
    assert not outbox.close(0.01)


def test_the_reader_of_requests_waits_while_too_much_is_unread(
    daemon: SlowDaemon, outbox: Outbox
) -> None:
    outbox.emit([Begun(1, 3, 0)])
    daemon.wait()
    outbox.wait_for_room()  # at once
    for _ in range(MAX_BACKLOG + 1):
        outbox.emit([Piece(1, "", 1)])
    passed = threading.Event()
    reader = threading.Thread(target=lambda: (outbox.wait_for_room(), passed.set()))
    reader.start()
    assert not passed.wait(0.05)
    daemon.taken.release()
    assert passed.wait(10)
    reader.join(10)
