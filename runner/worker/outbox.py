"""Messages on their way to the daemon. A thread of its own writes: the engine never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from runner.wire import encode
from runner.wire.messages import Beat, Event, Events, Message
from runner.worker.translate import coalesce

MAX_BACKLOG = 20_000  # events unwritten before no more input is read


class Outbox:
    """Collects messages and events; what gathers while a write takes its time becomes one frame.

    Bounded: an open request's unwritten pieces are joined and end with the context, only the newest
    beat is kept, and :meth:`wait_for_room` holds back the reader of new requests.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """``write`` takes all bytes of a frame and may block."""
        self._write = write
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._events: list[Event] = []
        self._beat: Beat | None = None
        self._is_writing = False
        self._is_closed = False

    def send(self, message: Message) -> None:
        """Queue a message that is no event, before all unwritten events."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def emit(self, events: Sequence[Event]) -> None:
        """Queue events."""
        with self._changed:
            self._events.extend(events)
            self._changed.notify_all()

    def beat(self, beat: Beat) -> None:
        """Queue a beat in place of one that is not written yet."""
        with self._changed:
            self._beat = beat
            self._changed.notify_all()

    def wait_for_room(self) -> None:
        """Wait while the daemon leaves too much unread."""
        if len(self._events) > MAX_BACKLOG:
            with self._changed:
                self._changed.wait_for(lambda: len(self._events) <= MAX_BACKLOG)

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end :meth:`run`; False when that took too long."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            return self._changed.wait_for(self._is_empty, timeout_s)

    def run(self) -> None:
        """Write until closed. Raises OSError when the daemon has closed its end."""
        while frames := self._take():
            self._write(b"".join(frames))
        with self._changed:
            self._changed.notify_all()

    def _take(self) -> list[bytes]:
        """Wait for something to write; nothing at the end."""
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closed or self._has_content())
            messages, events, beat = self._messages, self._events, self._beat
            self._messages, self._events, self._beat = [], [], None
            self._is_writing = bool(messages or events or beat)
        frames = [encode(message) for message in messages]
        if events:
            frames.append(encode(Events(events=coalesce(events))))
        if beat is not None:
            frames.append(encode(beat))
        return frames

    def _has_content(self) -> bool:
        return bool(self._messages or self._events or self._beat)

    def _is_empty(self) -> bool:
        return not self._is_writing and not self._has_content()
