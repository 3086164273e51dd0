"""What the scheduler tells: events by id, which ``worker`` translates for the pipe, and totals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from runner.engine.backend import Score
from runner.errors import Kind

SequenceId = int
EndReason = Literal["eos", "stop", "length", "context"]


@dataclass(frozen=True, slots=True)
class Begun:
    """Admitted, and the first rows of its prompt are computed. Sent once, before any piece.

    Where the prompt is scored, all of its rows are computed: ``first`` is its first token, and all
    others have a score.
    """

    id: SequenceId
    prompt_tokens: int
    cached_tokens: int
    first: int | None = None
    scores: tuple[Score, ...] = ()


class Piece(NamedTuple):
    """One token of a running sequence; ``text`` is empty while the engine holds it back.

    A tuple because one is made for each token of each stream.
    """

    id: SequenceId
    text: str
    token: int
    logprob: float | None
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Last event of a success. ``stop_index`` says which stop string was met."""

    id: SequenceId
    reason: EndReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prompt_s: float  # from admission to the first token
    predicted_s: float  # from the first token to the last
    stop_index: int | None = None
    drafted: int = 0  # guessed tokens that were checked
    accepted: int = 0  # and were right


@dataclass(frozen=True, slots=True)
class Failed:
    """Last event of a failure."""

    id: SequenceId
    kind: Kind
    message: str
    hint: str | None = None
    param: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


Event = Begun | Piece | Ended | Failed


@dataclass(slots=True)
class Totals:
    """Counts since the start."""

    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    drafted: int = 0
    accepted: int = 0
