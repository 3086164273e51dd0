"""Engine events to wire events, and several pieces of one stream to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from runner import engine
from runner.engine.events import SequenceId
from runner.wire import messages as wire
from runner.wire.pieces import join


class Translator:
    """Writes events for the pipe; knows each open id's stop strings and every token's bytes."""

    def __init__(self, token_piece: Callable[[int], bytes]) -> None:
        """``token_piece`` gives the bytes of a token, control tokens included."""
        self._token_piece = lru_cache(maxsize=None)(token_piece)  # bounded by the vocabulary
        self._stops: dict[SequenceId, Sequence[str]] = {}

    def open(self, id: SequenceId, stops: Sequence[str]) -> None:
        """Keep the stop strings of a request until its last event."""
        self._stops[id] = stops

    def translate(self, event: engine.Event) -> wire.Event:
        """Write one event."""
        if isinstance(event, engine.Piece):  # by far the most frequent
            return wire.Piece(event.id, event.text, 1, self._logprobs(event))
        if isinstance(event, engine.Begun):
            return self._begun(event)
        stops = self._stops.pop(event.id, ())
        if isinstance(event, engine.Ended):
            return _ended(event, stops)
        return wire.Failed(
            event.id, event.kind.value, event.message, event.hint, event.param, event.details
        )

    def _begun(self, event: engine.Begun) -> wire.Begun:
        return wire.Begun(
            event.id,
            event.prompt_tokens,
            event.cached_tokens,
            b"" if event.first is None else self._token_piece(event.first),
            tuple(self._logprob(*score) for score in event.scores),
        )

    def _logprobs(self, piece: engine.Piece) -> tuple[wire.TokenLogprob, ...]:
        if piece.logprob is None:
            return ()
        return (self._logprob(piece.token, piece.logprob, piece.top),)

    def _logprob(
        self, token: int, logprob: float, top: tuple[tuple[int, float], ...]
    ) -> wire.TokenLogprob:
        name = self._token_piece
        tops = tuple((other, name(other), likely) for other, likely in top)
        return wire.TokenLogprob(token, name(token), logprob, tops)


def _ended(event: engine.Ended, stops: Sequence[str]) -> wire.Ended:
    return wire.Ended(
        event.id,
        event.reason,
        event.prompt_tokens,
        event.cached_tokens,
        event.completion_tokens,
        wire.Timings(
            cache_n=event.cached_tokens,
            prompt_n=event.prompt_tokens - event.cached_tokens,
            prompt_ms=event.prompt_s * 1000,
            predicted_n=event.completion_tokens,
            predicted_ms=event.predicted_s * 1000,
            draft_n=event.drafted,
            draft_n_accepted=event.accepted,
        ),
        None if event.stop_index is None else stops[event.stop_index],
    )


def coalesce(events: Sequence[wire.Event]) -> tuple[wire.Event, ...]:
    """Join the pieces of each id; the order within an id stays."""
    if len({event.id for event in events}) == len(events):
        return tuple(events)  # the rule: a step gives each stream one token
    joined: list[wire.Event | list[wire.Piece]] = []
    pieces: dict[wire.RequestId, list[wire.Piece]] = {}
    for event in events:
        if not isinstance(event, wire.Piece):
            joined.append(event)
        elif event.id in pieces:
            pieces[event.id].append(event)
        else:
            pieces[event.id] = [event]
            joined.append(pieces[event.id])
    return tuple(join(entry) if isinstance(entry, list) else entry for entry in joined)
