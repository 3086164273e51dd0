"""What the engine asks of a model: one :class:`Plan` a step in, one :class:`StepResult` out.

``worker.llama`` is the real one (ctypes); :mod:`runner.engine.fake` the one for tests. The same
contract suite runs on both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

SlotId = int  # a native sequence id, 0 <= slot < slots
GeneratorId = int  # a native sampler with its text state
SavedKey = int  # of a slot's content that the backend keeps outside of the KV
Adapters = tuple[float, ...] | None  # scale of each of the model's; None: as it is loaded


@dataclass(frozen=True, slots=True)
class Trim:
    """Forget positions >= ``length`` of a slot; ``length`` 0 empties it."""

    slot: SlotId
    length: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Make ``target`` (empty) hold the first ``length`` positions of ``source``.

    Unified KV: metadata only. One stream a slot: the backend copies the whole stream, then trims
    the tail.
    """

    source: SlotId
    target: SlotId
    length: int


@dataclass(frozen=True, slots=True)
class Bind:
    """Put a generator on a slot: its next token is fed at position ``n_past``.

    ``tail`` (the last prompt tokens) primes penalties on the first bind. On a later one the
    generator keeps its state, and the token it has sampled but not yet fed.
    """

    generator: GeneratorId
    slot: SlotId
    n_past: int
    tail: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Save:
    """Keep a slot's content outside of the KV, as ``key``. The slot stays as it is.

    ``tokens`` is that content. A save that fails stops nothing: its key is missing from
    ``StepResult.saved``.
    """

    slot: SlotId
    key: SavedKey
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """Make ``slot`` (empty) hold the first ``length`` positions of what was saved as ``key``."""

    key: SavedKey
    slot: SlotId
    length: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget what was saved as ``key``; a key that is not there is ignored."""

    key: SavedKey


MemoryOp = Trim | Copy | Bind | Save | Restore | Drop


def changed_slots(operations: Iterable[MemoryOp]) -> set[SlotId]:
    """Slots of which nobody knows the content when an operation among these failed."""
    slots: set[SlotId] = set()
    for operation in operations:
        match operation:
            case Trim(slot) | Bind(_, slot) | Restore(_, slot) | Copy(_, slot):
                slots.add(slot)
            case Save() | Drop():
                pass
    return slots


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of a prompt that are no tokens but a piece of an image or a sound.

    The prompt has names for them: negative, and the same for the same content, so that they share
    prefixes as tokens do. ``content`` is for the backend, which computes them from it. Rows that
    look at one another (``is_whole``) are computed in one step.
    """

    start: int
    length: int
    is_whole: bool = False
    content: object = field(default=None, compare=False, repr=False)

    @property
    def end(self) -> int:
        """Position after the last row."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Prefill:
    """Rows of one prompt: ``tokens`` at positions ``start``.. of ``slot``.

    ``generator`` samples from the last row, or is None when the prompt goes on. ``span`` is what
    all of the rows are part of, or None when they are tokens. ``scored`` names for each row the
    token to be told of, how likely it is behind that row, or -1, as for a row that is
    sampled from; empty: for none. So are the ``top`` likeliest ones.
    """

    slot: SlotId
    start: int
    tokens: tuple[int, ...]
    generator: GeneratorId | None
    span: Span | None = None
    scored: tuple[int, ...] = ()
    top: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: memory operations in order, then all decode rows and some prompt rows.

    ``drafts`` says for each of ``decode`` how many guessed tokens the backend may check behind its
    own; empty means none for anybody. All rows are computed with the same ``adapters``.
    """

    memory: tuple[MemoryOp, ...]
    decode: tuple[GeneratorId, ...]
    prefill: tuple[Prefill, ...]
    drafts: tuple[int, ...] = ()
    adapters: Adapters = None

    @property
    def rows(self) -> int:
        """Rows the native call computes, at most: there may be fewer guesses than allowed."""
        return len(self.decode) + sum(self.drafts) + sum(len(p.tokens) for p in self.prefill)


class Stop(StrEnum):
    """Why a generator will give no more tokens."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"
    GRAMMAR = "grammar"


class Sampled(NamedTuple):
    """One generator's outcome of a step: a tuple, as one is made for each token of each stream.

    ``text`` is complete UTF-8, safe to show; ``top`` is (token, logprob) pairs, best first.
    """

    generator: GeneratorId
    token: int
    text: str
    stop: Stop | None = None
    stop_index: int | None = None  # which stop string was met
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Score(NamedTuple):
    """How likely a token of a prompt is behind those before it; ``top`` is as of Sampled."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Outcome(StrEnum):
    """How the native call ended."""

    OK = "ok"
    FULL = "full"  # no KV cell; nothing was computed, memory operations were done
    LOST = "lost"  # ``lost`` slots could not be given their content; nothing was computed
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave. ``duration_s`` is the wall time of the native call.

    It is the scheduler's only clock for adapting its budget. ``drafted`` counts, for each generator
    of the plan's ``decode``, the guessed tokens that were checked; empty when none was asked for.
    Several :class:`Sampled` of one generator follow each other: all but the first were guessed.

    ``saved`` are the keys whose :class:`Save` was done. ``copied_bytes`` were moved by saves and
    restores, in ``copy_s``, which ``duration_s`` does not hold. All three are told of any outcome.

    ``lost`` are the slots that a trim, copy or restore was to leave with a text and that are empty
    now; all other memory operations were done.

    ``scores`` are what was asked about rows of the plan's ``prefill``, in their order.
    """

    outcome: Outcome
    sampled: tuple[Sampled, ...]
    duration_s: float
    message: str = ""
    drafted: tuple[int, ...] = ()
    saved: tuple[SavedKey, ...] = ()
    copied_bytes: int = 0
    copy_s: float = 0.0
    lost: tuple[SlotId, ...] = ()
    scores: tuple[Score, ...] = ()


class Backend(Protocol):
    """A model that can run steps. One thread calls it."""

    def run(self, plan: Plan) -> StepResult:
        """Carry out the memory operations, then the rows.

        Never raises for what the model does: the outcome tells. On OK there is one
        :class:`Sampled` for each generator of the plan, decode part first, and one more behind it
        for each guess that was right. What was sampled last is not fed yet; wrong guesses leave
        nothing behind.
        """
        ...

    def free(self, generator: GeneratorId) -> None:
        """Give a generator back; its id may be reused."""
        ...
