"""Messages on their way to the daemon. A thread of its own writes: the engine never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from runner.wire import encode
from runner.wire.messages import Beat, Event, Events, Message
from runner.worker.translate import coalesce

MAX_BACKLOG = 4096  # steps' events unwritten before no more input is read
POLL_S = 0.02

Batch = list[Event] | Message | None  # None: the end


class Outbox:
    """Collects messages and events; what gathers while a write takes its time becomes one frame.

    Bounded by what is asked: an open request's pieces end with its context, and while too much is
    unwritten :meth:`wait_for_room` holds back the reader of new requests.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """``write`` takes all bytes of a frame and may block."""
        self._write = write
        # Not a Condition: its Python code cost the engine thread as much as all its planning.
        self._queue: SimpleQueue[Batch] = SimpleQueue()
        self._is_done = threading.Event()
        self.send: Callable[[Message], None] = self._queue.put
        self.emit: Callable[[list[Event]], None] = self._queue.put

    def wait_for_room(self) -> None:
        """Wait while the daemon leaves too much unread."""
        while self._queue.qsize() > MAX_BACKLOG:
            time.sleep(POLL_S)

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end :meth:`run`; False when that took too long."""
        self._queue.put(None)
        return self._is_done.wait(timeout_s)

    def run(self) -> None:
        """Write until closed. Raises OSError when the daemon has closed its end."""
        is_open = True
        while is_open:
            batches = self._take()
            is_open = batches[-1] is not None
            self._write(b"".join(encode(message) for message in arrange(batches)))
        self._is_done.set()

    def _take(self) -> list[Batch]:
        """Wait for a batch; return it with all that came meanwhile, up to the end."""
        batches = [self._queue.get()]
        try:
            while batches[-1] is not None:
                batches.append(self._queue.get_nowait())
        except Empty:
            pass
        return batches


def arrange(batches: Sequence[Batch]) -> list[Message]:
    """Make frames of what has gathered: messages, all events as one, and the newest beat."""
    events = [event for batch in batches if isinstance(batch, list) for event in batch]
    messages = [batch for batch in batches if isinstance(batch, Message)]
    frames = [message for message in messages if not isinstance(message, Beat)]
    if events:
        frames.append(Events(events=coalesce(events)))
    return [*frames, *[message for message in messages if isinstance(message, Beat)][-1:]]
