"""The sequences in slots: whose prompt is computed, who decodes, and whose rows are next.

All rows of a step have the same adapters. Where sequences with several sets of them run, the sets
take turns of some steps each: a change has llama.cpp plan its graphs anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from runner.engine.backend import Adapters, GeneratorId, Prefill, SlotId
from runner.engine.sequence import Phase, Sequence


@dataclass(slots=True)
class Queue:
    """The running prompts of one client, first admitted first, and the turns it has had."""

    prompts: dict[SlotId, Sequence] = field(default_factory=dict)
    turns: int = 0

    def in_turn(self) -> list[Sequence]:
        """Oldest first and what is nearly done first, by turns.

        A short prompt then waits for one piece of a long one and not for all of it, and the long
        one has every other turn however many short ones come.
        """
        waiting = list(self.prompts.values())
        if self.turns % 2:
            waiting.sort(key=lambda sequence: sequence.prompt_end - sequence.computed)
        return waiting


class Running:
    """Prompts and streams by slot and generator. Asserts, in :meth:`check`, that they fit together.

    ``decode`` are the streams with ``adapters``, in order of slots: llama.cpp puts neighbouring
    streams of a batch into one pass only where their ids ascend without a gap. It stays the same
    tuple until somebody joins or leaves, or other adapters have their turn.
    """

    def __init__(self, *, turn_s: float = 0.0, score_rows: int = 1) -> None:
        """``turn_s`` is the least time of a turn; ``score_rows`` of a step may be scored."""
        self.prompts: dict[SlotId, Sequence] = {}  # by admission
        self.decoding: dict[GeneratorId, Sequence] = {}  # by slot
        self.decode: tuple[GeneratorId, ...] = ()
        self.adapters: Adapters = None  # of the next step
        self._sets: dict[Adapters, int] = {}  # sequences that run with them; latest turn last
        self._turn_s = turn_s
        self._score_rows = score_rows
        self._turn_ends_s = 0.0
        self._queues: dict[str, Queue] = {}  # of the prompts; next client first

    def __len__(self) -> int:
        return len(self.prompts) + len(self.decoding)

    def __iter__(self) -> Iterator[Sequence]:
        return chain(self.prompts.values(), self.decoding.values())

    def take_turn(self, now_s: float, *, is_idle: bool = False) -> bool:
        """Choose the adapters of the next step; say whether they are others than before.

        ``is_idle``: those of now have nothing to compute.
        """
        is_over = is_idle or now_s >= self._turn_ends_s
        if self.adapters in self._sets and (len(self._sets) == 1 or not is_over):
            return False
        others = (adapters for adapters in self._sets if adapters != self.adapters)
        after = next(others, self.adapters)
        if after == self.adapters:
            return False
        self._sets[after] = self._sets.pop(after)
        self.adapters, self._turn_ends_s = after, now_s + self._turn_s
        self._list_streams()
        return True

    def begin_prompt(self, sequence: Sequence) -> None:
        """Take in a sequence whose slot lacks rows of its prompt."""
        self._join(sequence)
        sequence.phase = Phase.PROMPT
        self.prompts[sequence.slot] = sequence
        queue = self._queues.setdefault(sequence.request.client, Queue())
        queue.prompts[sequence.slot] = sequence

    def begin_decode(self, sequence: Sequence) -> None:
        """Take in a sequence whose generator has a token to feed, or let it go on to that."""
        assert sequence.request.generator is not None
        if sequence.phase is Phase.PROMPT:
            self._end_prompt(sequence)
        else:
            self._join(sequence)
        sequence.phase = Phase.DECODE
        streams = {**self.decoding, sequence.request.generator: sequence}
        self.decoding.clear()
        self.decoding.update(sorted(streams.items(), key=lambda item: item[1].slot))
        self._list_streams()

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out."""
        if sequence.phase is Phase.PROMPT:
            self._end_prompt(sequence)
        else:
            assert sequence.request.generator is not None
            del self.decoding[sequence.request.generator]
            self._list_streams()
        adapters = sequence.request.adapters
        self._sets[adapters] -= 1
        if not self._sets[adapters]:
            del self._sets[adapters]

    def youngest(self) -> Sequence:
        """The one that was admitted last."""
        return max(self, key=lambda sequence: sequence.order)

    def rows_left(self) -> int:
        """Rows that the prompts still need."""
        return sum(sequence.prompt_end - sequence.computed for sequence in self.prompts.values())

    def widest(self) -> int:
        """Rows that some prompt has to have in one step; 0: none has more than one."""
        needs = [one.least_rows for one in self.prompts.values() if one.request.spans]
        return max(needs, default=0)

    def cut(self, rows: int, room: int = 0) -> tuple[Prefill, ...]:
        """Cut the next rows from prompts with ``adapters``.

        Clients have their turn, and each one's prompts. In order of slots, as the streams are. Rows
        that look at one another may be more than ``rows``, as far as ``room``, where they are the
        first of the step.
        """
        queues = list(self._queues.items())
        turns = zip_longest(*(queue.in_turn() for _, queue in queues))
        parts: list[Prefill] = []
        score_rows = self._score_rows
        for sequence in chain.from_iterable(turns):
            if rows <= 0:
                break
            if sequence is None or not self._is_next(sequence):
                continue
            if not sequence.is_scored:
                if score_rows:
                    parts.append(sequence.next_rows(min(rows, score_rows)))
                    rows -= len(parts[-1].tokens)
                    score_rows -= len(parts[-1].tokens)
            elif sequence.least_rows <= (rows if parts else max(rows, room)):
                parts.append(sequence.next_rows(rows))
                rows -= len(parts[-1].tokens)
        for client, queue in queues:
            if any(part.slot in queue.prompts for part in parts):
                queue.turns += 1
                self._queues[client] = self._queues.pop(client)
        parts.sort(key=lambda part: part.slot)
        return tuple(parts)

    def check(self) -> None:
        """Assert that every running sequence is in one place, that of its phase."""
        slots = [sequence.slot for sequence in self]
        assert len(set(slots)) == len(slots), "a slot has two sequences"
        for slot, sequence in self.prompts.items():
            assert sequence.phase is Phase.PROMPT and sequence.slot == slot
            assert sequence.computed < sequence.prompt_end
        queued = {slot: s for queue in self._queues.values() for slot, s in queue.prompts.items()}
        assert queued == self.prompts, "a prompt has no turn"
        assert all(queue.prompts for queue in self._queues.values()), "a turn of nobody"
        for sequence in self.decoding.values():
            assert sequence.phase is Phase.DECODE
            assert sequence.computed == len(sequence.tokens) - 1, "not one token to feed"
        theirs = [s.request.generator for s in self.decoding.values() if self._is_next(s)]
        assert self.decode == tuple(theirs), "another stream decodes"
        assert Counter(sequence.request.adapters for sequence in self) == self._sets
        streams = [sequence.slot for sequence in self.decoding.values()]
        assert streams == sorted(streams), "streams out of order"

    def _join(self, sequence: Sequence) -> None:
        adapters = sequence.request.adapters
        self._sets[adapters] = self._sets.get(adapters, 0) + 1

    def _is_next(self, sequence: Sequence) -> bool:
        return sequence.request.adapters == self.adapters

    def _list_streams(self) -> None:
        self.decode = tuple(g for g, sequence in self.decoding.items() if self._is_next(sequence))

    def _end_prompt(self, sequence: Sequence) -> None:
        del self.prompts[sequence.slot]
        client = sequence.request.client
        del self._queues[client].prompts[sequence.slot]
        if not self._queues[client].prompts:
            del self._queues[client]
