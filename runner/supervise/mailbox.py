"""The bounded buffer between a worker and one consumer. Pure: no task, no clock."""

from __future__ import annotations

from runner.wire.messages import Answered, Begun, Ended, Event, Failed, Piece, Pooled
from runner.wire.pieces import join


class Mailbox:
    """Holds the events of one request that were not taken yet, in at most three slots.

    What a slow consumer has not taken grows into one longer :class:`Piece`: texts joined, tokens
    summed, logprobs appended. Its size is bounded by the context, which bounds a completion.
    """

    def __init__(self) -> None:
        self._begun: Begun | None = None
        self._pieces: list[Piece] = []
        self._last: Event | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything was taken."""
        return not self._pieces and self._begun is None and self._last is None

    @property
    def last(self) -> Event | None:
        """The last event, if it has come and was not taken."""
        return self._last

    def put(self, event: Event) -> None:
        """Add the next event. Nothing may follow the last one."""
        assert self._last is None, "an event after the last one"
        match event:
            case Begun():
                self._begun = event
            case Piece():
                self._pieces.append(event)
            case Ended() | Failed() | Answered() | Pooled():
                self._last = event

    def take(self) -> Event | None:
        """Remove and return what comes first, pieces merged into one; None when empty."""
        event: Event | None
        if self._begun is not None:
            event, self._begun = self._begun, None
        elif self._pieces:
            event, self._pieces = join(self._pieces), []
        else:
            event, self._last = self._last, None
        return event
