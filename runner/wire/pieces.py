"""Several pieces of one answer as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runner.wire.chat import CallDelta
from runner.wire.messages import Begun, Piece


@dataclass(slots=True)
class Gathered:
    """An answer being put together from its events."""

    pieces: list[Piece] = field(default_factory=list)

    def add(self, event: Begun | Piece) -> None:
        """Take the next event."""
        if isinstance(event, Piece):
            self.pieces.append(event)

    def whole(self) -> Piece:
        """Return all that was said so far as one piece."""
        return join(self.pieces) if self.pieces else Piece(0, "", 0)


def join(pieces: Sequence[Piece]) -> Piece:
    """Join consecutive pieces of one request, one at least.

    Each channel keeps its order: reasoning, content, and every call by itself.
    """
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        pieces[0].id,
        "".join(piece.text for piece in pieces),
        sum(piece.tokens for piece in pieces),
        tuple(logprob for piece in pieces for logprob in piece.logprobs),
        "".join(piece.reasoning for piece in pieces),
        join_calls(call for piece in pieces for call in piece.calls),
    )


def join_calls(deltas: Iterable[CallDelta]) -> tuple[CallDelta, ...]:
    """Join what is new of each call; calls in the order of their first delta."""
    joined: dict[int, CallDelta] = {}
    for delta in deltas:
        begun = joined.get(delta.index)
        joined[delta.index] = (
            delta
            if begun is None
            else CallDelta(
                delta.index,
                begun.arguments + delta.arguments,
                begun.id or delta.id,
                begun.name or delta.name,
            )
        )
    return tuple(joined.values())
