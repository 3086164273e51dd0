"""A backend for tests: KV cells, generators and text like the real one's, with a toy for a model.

Every cell keeps a hash of all the tokens before it in its slot, as a real cell's values depend on
them, and the next token is drawn from the last cell's hash. So a wrong copy, trim, position or
order shows as a wrong text, and a gap is refused outright.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from runner.engine.backend import (
    Adapters,
    Bind,
    Copy,
    Drop,
    GeneratorId,
    MemoryOp,
    Outcome,
    Plan,
    Restore,
    Sampled,
    Save,
    SavedKey,
    Score,
    SlotId,
    StepResult,
    Stop,
    Trim,
)
from runner.engine.limits import Capacity

VOCABULARY = 997
EOS = 0
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True, eq=False)
class Cell:
    """One KV cell: its token's position, and a hash of the text up to it and its adapters."""

    position: int
    state: int
    adapters: Adapters


@dataclass(slots=True)
class Generator:
    """A sampler with its stop strings; ``pending`` was sampled and not yet fed."""

    max_tokens: int | None
    stop: tuple[str, ...]
    slot: int = -1
    n_past: int = -1
    pending: int | None = None
    count: int = 0
    held: str = ""
    is_done: bool = False


@dataclass
class FakeBackend:
    """Runs plans on toy cells; raises ValueError for a plan that a real context would refuse.

    ``outcomes`` names the steps (from 0) that end otherwise than OK. An aborted or failed step
    leaves some of its rows behind, as a real one does. ``cost_s`` tells the time that a step seems
    to take, of its decode rows (guessed ones as well) and its prompt rows. One guess in
    ``wrong_every`` is wrong. ``can_end`` False: no text ends before its last token. Saved texts are
    copied at ``bytes_per_s``, or not at all (``can_save``). Operations of the types in ``refuses``
    leave their slot empty.
    """

    capacity: Capacity
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    cost_s: Callable[[int, int], float] = lambda decode, prompt: 0.005 + 0.001 * (decode + prompt)
    wrong_every: int = 4
    can_end: bool = True
    bytes_per_s: float = 1e9
    can_save: bool = True
    refuses: frozenset[type[MemoryOp]] = frozenset()
    steps: int = 0

    def __post_init__(self) -> None:
        self.slots: list[list[Cell]] = [[] for _ in range(self.capacity.slots)]
        self.generators: dict[GeneratorId, Generator] = {}
        self.saved: dict[SavedKey, list[Cell]] = {}
        self._adapters: Adapters = None  # of the step
        self._next_generator = 0

    def new_generator(
        self, *, max_tokens: int | None = None, stop: tuple[str, ...] = ()
    ) -> GeneratorId:
        """Make a generator."""
        self._next_generator += 1
        self.generators[self._next_generator] = Generator(max_tokens, stop)
        return self._next_generator

    def free(self, generator: GeneratorId) -> None:
        """Give a generator back."""
        del self.generators[generator]

    @property
    def cells_used(self) -> int:
        """Distinct cells of all slots."""
        return len({id(cell) for slot in self.slots for cell in slot})

    def run(self, plan: Plan) -> StepResult:
        """Carry out a plan."""
        lost: dict[SlotId, None] = {}
        for operation in plan.memory:
            slot = self._refused(operation, lost)
            if slot is None:
                self._operate(operation)
            else:
                self.slots[slot].clear()
                lost[slot] = None
        saves = tuple(op.key for op in plan.memory if isinstance(op, Save) and self.can_save)
        copied_bytes = sum(map(self._copied_bytes, plan.memory))
        if lost:
            self.steps += 1
            return StepResult(Outcome.LOST, (), 0.001, saved=saves, lost=tuple(lost))
        self._refuse_what_aborts(plan)
        self._adapters = plan.adapters
        outcome = self.outcomes.get(self.steps, Outcome.OK)
        self.steps += 1
        if outcome is Outcome.OK and self._overflows(plan):
            outcome = Outcome.FULL
        sampled: tuple[Sampled, ...] = ()
        drafted: tuple[int, ...] = ()
        scores: list[Score] = []
        if outcome is Outcome.OK:
            sampled, drafted = self._compute(plan, scores)
        elif outcome is not Outcome.FULL:
            self._leave_debris(plan)
        decode_rows = len(plan.decode) + sum(drafted)
        duration_s = self.cost_s(decode_rows, plan.rows - len(plan.decode) - sum(plan.drafts))
        return StepResult(
            outcome,
            sampled,
            duration_s,
            "made to fail",
            drafted,
            saved=saves,
            copied_bytes=copied_bytes,
            copy_s=copied_bytes / self.bytes_per_s,
            scores=tuple(scores),
        )

    def _operate(self, operation: MemoryOp) -> None:
        match operation:
            case Trim(slot, length):
                partial = 0 < length < len(self.slots[slot])
                _require(self.capacity.can_trim or not partial, "this memory cannot trim")
                del self.slots[slot][length:]
            case Copy(source, target, length):
                _require(not self.slots[target], f"slot {target} is not empty")
                _require(0 < length <= len(self.slots[source]), f"slot {source} is too short")
                cells = self.slots[source][:length]
                self.slots[target] = cells if self.capacity.shares_cells else _copies(cells)
            case Bind(generator, slot, n_past, _):
                state = self.generators[generator]
                state.slot, state.n_past = slot, n_past
            case Save(slot, key, tokens):
                _require(key not in self.saved, f"key {key} is in use")
                cells = self.slots[slot]
                states = _states(tokens, cells[0].adapters)
                _require(states == [cell.state for cell in cells], "another text")
                if self.can_save:
                    self.saved[key] = _copies(self.slots[slot])
            case Restore(key, slot, length):
                cells = self.saved[key]
                _require(not self.slots[slot], f"slot {slot} is not empty")
                _require(0 < length <= len(cells), f"the text {key} is too short")
                _require(self.capacity.can_trim or length == len(cells), "cannot be cut")
                self.slots[slot] = _copies(cells[:length])
            case Drop(key):
                self.saved.pop(key, None)

    def _refused(self, operation: MemoryOp, lost: Container[SlotId]) -> SlotId | None:
        """Name the slot that an operation cannot give its content."""
        match operation:
            case Trim(slot, length) if length:
                is_refused = slot in lost
            case Copy(source, slot, _):
                is_refused = source in lost
            case Restore(key, slot, length):
                has_cells = self.cells_used + length <= self.capacity.cells
                is_refused = key not in self.saved or not has_cells
            case _:
                return None
        return slot if is_refused or type(operation) in self.refuses else None

    def _copied_bytes(self, operation: MemoryOp) -> int:
        match operation:
            case Save(tokens=tokens):
                length = len(tokens)
            case Restore(length=length):
                pass
            case _:
                return 0
        return self.capacity.saved_bytes(length)

    def _refuse_what_aborts(self, plan: Plan) -> None:
        _require(0 < plan.rows <= self.capacity.batch_size, f"{plan.rows} rows")
        scored = sum(len(part.scored) for part in plan.prefill)
        _require(scored <= self.capacity.score_rows, f"{scored} rows with scores")
        for generator in plan.decode:
            state = self.generators[generator]
            _require(state.pending is not None and not state.is_done, "nothing to feed")
            _require(len(self.slots[state.slot]) == state.n_past, "a gap before a decode row")
        if plan.drafts:
            _require(len(plan.drafts) == len(plan.decode), "guesses for others than the streams")
            _require(self.capacity.can_guess, "this memory cannot forget wrong guesses")
        for part in plan.prefill:
            end = part.start + len(part.tokens)
            _require(len(self.slots[part.slot]) == part.start, "a gap before prompt rows")
            _require(len(part.scored) in (0, len(part.tokens)), "scores of other rows")
            if part.generator is not None:
                state = self.generators[part.generator]
                _require((state.slot, state.n_past) == (part.slot, end), "a generator elsewhere")

    def _overflows(self, plan: Plan) -> bool:
        if self.capacity.shares_cells:
            return self.cells_used + plan.rows > self.capacity.cells
        streams = zip_longest(plan.decode, plan.drafts, fillvalue=0)
        ends = [self.generators[generator].n_past + 1 + drafts for generator, drafts in streams]
        ends += [part.start + len(part.tokens) for part in plan.prefill]
        return max(ends) > self.capacity.context_size

    def _compute(
        self, plan: Plan, scores: list[Score]
    ) -> tuple[tuple[Sampled, ...], tuple[int, ...]]:
        sampled: list[Sampled] = []
        drafted: list[int] = []
        for generator, most in zip_longest(plan.decode, plan.drafts, fillvalue=0):
            guesses = self._guesses(generator, most)
            drafted.append(len(guesses))
            sampled += self._decode(generator, guesses)
        for part in plan.prefill:
            for token, scored in zip_longest(part.tokens, part.scored, fillvalue=-1):
                self._write(part.slot, token)
                if scored >= 0:
                    scores.append(_score(self.slots[part.slot][-1].state, scored, part.top))
            if part.generator is not None:
                sampled.append(self._sample(part.generator))
        return tuple(sampled), tuple(drafted) if plan.drafts else ()

    def _guesses(self, generator: GeneratorId, most: int) -> list[bool]:
        """Whether each guess is right: the fake knows, as it makes the text."""
        state = self.generators[generator]
        if state.max_tokens is not None:
            most = min(most, state.max_tokens - state.count - 1)
        return [(state.count + at) % self.wrong_every != 0 for at in range(1, most + 1)]

    def _decode(self, generator: GeneratorId, guesses: list[bool]) -> Iterator[Sampled]:
        """Feed the pending token, and each sampled one that was guessed, until one was not."""
        state = self.generators[generator]
        for is_right in [*guesses, False]:
            assert state.pending is not None
            self._write(state.slot, state.pending)
            state.n_past += 1
            sampled = self._sample(generator)
            yield sampled
            if state.is_done or not is_right:
                return

    def _leave_debris(self, plan: Plan) -> None:
        for generator in plan.decode[::2]:
            self._write(self.generators[generator].slot, VOCABULARY)
        for part in plan.prefill:
            for token in part.tokens[::2]:
                self._write(part.slot, token)

    def _write(self, slot: int, token: int) -> None:
        cells = self.slots[slot]
        before = cells[-1].state if cells else 1
        state = _state(before, token, len(cells), self._adapters)
        cells.append(Cell(len(cells), state, self._adapters))

    def _sample(self, generator: GeneratorId) -> Sampled:
        state = self.generators[generator]
        token = self.slots[state.slot][-1].state // 7 % VOCABULARY
        state.pending, state.count = token, state.count + 1
        text, stop, stop_index = "", None, None
        if token == EOS and self.can_end:
            text, stop = state.held, Stop.EOS
        else:
            text, stop_index = _scan(state, ALPHABET[token % len(ALPHABET)])
            if stop_index is not None:
                stop = Stop.STOP
            elif state.count == state.max_tokens:
                text, stop = text + state.held, Stop.LENGTH
        state.is_done = stop is not None
        return Sampled(generator, token, text, stop, stop_index)


def _state(before: int, token: int, position: int, adapters: Adapters) -> int:
    change = 0 if adapters is None else hash(adapters)
    return (before * 1_000_003 + token * 8191 + position + change) % (2**61 - 1)


def _score(state: int, token: int, top: int) -> Score:
    """A token is the less likely the further it is from the one that this cell would give."""
    best = state // 7
    likeliest = tuple(((best + rank) % VOCABULARY, -float(rank)) for rank in range(top))
    return Score(token, -float((token - best) % VOCABULARY), likeliest)


def _copies(cells: list[Cell]) -> list[Cell]:
    return [Cell(cell.position, cell.state, cell.adapters) for cell in cells]


def _states(tokens: tuple[int, ...], adapters: Adapters) -> list[int]:
    """What the cells of a text hold."""
    states: list[int] = []
    for position, token in enumerate(tokens):
        states.append(_state(states[-1] if states else 1, token, position, adapters))
    return states


def _scan(state: Generator, piece: str) -> tuple[str, int | None]:
    """Return the text that may be shown and which stop string was met; hold the rest back."""
    text = state.held + piece
    ends = [
        (at + len(stop), -len(stop), index)
        for index, stop in enumerate(state.stop)
        if (at := text.find(stop)) >= 0
    ]
    if ends:
        end, minus_length, index = min(ends)  # the first to complete; of those, the longest
        return text[: end + minus_length], index
    starts = (n for stop in state.stop for n in range(1, len(stop)) if text.endswith(stop[:n]))
    keep = max(starts, default=0)
    state.held = text[len(text) - keep :]
    return text[: len(text) - keep], None


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
