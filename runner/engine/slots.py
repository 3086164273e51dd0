"""The native sequence ids: which are free, busy, or hold a finished text as a cached prefix.

Every change of a slot's content is noted in the tree and written down as a memory operation for
the next step, so the tree always tells what the backend's KV will hold when that step computes.
A text whose slot is needed goes to the shelf, from where it comes back, when copying it twice
costs less than computing it again. Where memory cannot be cut back, so do the beginnings of a
prompt that :mod:`runner.engine.checkpoints` chooses, while it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from runner.engine.backend import (
    Adapters,
    Copy,
    Drop,
    MemoryOp,
    Outcome,
    Restore,
    Save,
    SavedKey,
    SlotId,
    StepResult,
    Trim,
    changed_slots,
)
from runner.engine.checkpoints import choose_stride, place_marks
from runner.engine.limits import Capacity, Policy
from runner.engine.prefix import NO_MATCH, Match, PrefixTree
from runner.engine.shelf import CopyPace, Shelf

KEEP_SHARE = 0.75  # of a stream: above, losing its tail is cheaper than copying it
SAVE_SHARE = 1 / 8  # of a text must be its own: bytes for what others hold as well are wasted


class Taken(NamedTuple):
    """A slot for a sequence, with the tokens that it holds already."""

    slot: SlotId
    length: int
    is_copied: bool  # byte for byte, which takes time
    marks: list[int]  # places in the text, ascending, where to save its state in passing


class Slots:
    """Gives slots to sequences, keeps what they leave, and counts cells."""

    def __init__(self, capacity: Capacity, policy: Policy) -> None:
        shares = capacity.shares_cells
        self.copy_min_tokens = 1 if shares else policy.copy_min_tokens
        self._keep_share = 1.0 if shares else KEEP_SHARE
        self._capacity = capacity
        self._free = list(reversed(range(capacity.slots)))
        self._held: dict[SlotId, None] = {}  # least recently used first
        self._busy: set[SlotId] = set()
        self._operations: list[MemoryOp] = []
        self._policy = policy
        self._copy_pace = CopyPace()
        self._patience_s = inf
        self._row_s = 0.0
        self.shelf = Shelf(
            capacity.prefix_bytes,
            size_bytes=capacity.saved_bytes,
            can_trim=capacity.can_trim and not capacity.window_tokens,
        )
        self.tree = PrefixTree(capacity.slots)
        self.append = self.tree.append

    @property
    def held(self) -> int:
        """Slots that hold a finished text."""
        return len(self._held)

    def note(self, operation: MemoryOp) -> None:
        """Add an operation to the next step."""
        self._operations.append(operation)

    def take_operations(self) -> tuple[MemoryOp, ...]:
        """Hand over what the next step must do before it computes."""
        operations = tuple(self._operations)
        self._operations.clear()
        return operations

    def prepare(self, patience_s: float, *, row_s: float) -> None:
        """Begin a plan: copies may take ``patience_s`` in all; to compute a row takes ``row_s``."""
        self._patience_s, self._row_s = patience_s, row_s

    def stock(self, tokens: list[int]) -> SavedKey | None:
        """Enter a text that was saved before and is at hand again; None where it is of no use."""
        length = len(tokens)
        if not self.shelf.fits(length) or self._known(tokens, None) == length:
            return None
        key, dropped = self.shelf.add(tokens)
        self._operations += map(Drop, dropped)
        return key

    def kept(self) -> list[tuple[SlotId | None, SavedKey | None, list[int]]]:
        """List the texts in slots, then the saved ones, the latest used first.

        Only those of the model as it is loaded; and what the backend does not hold yet, as its
        operation is still to be done, is left out.
        """
        pending = changed_slots(self._operations)
        saving = {op.key for op in self._operations if isinstance(op, Save)}
        slots = [s for s in self._held if s not in pending and self.tree.adapters(s) is None]
        held = [(slot, None, self.tree.tokens(slot)) for slot in slots]
        saved = [(None, key, text) for key, text in self.shelf.texts() if key not in saving]
        return [*reversed(held), *reversed(saved)]

    def confirm(self, operations: Iterable[MemoryOp], result: StepResult) -> None:
        """Learn what became of the operations of a plan."""
        self._copy_pace.observe(result.copied_bytes, result.copy_s)
        has_failed = result.outcome is Outcome.FAILED
        for operation in operations:
            match operation:
                case Save(key=key) if key not in result.saved:
                    self._drop(key)
                case Restore(key) | Drop(key) if has_failed:  # it is faulty, or still there
                    self._drop(key)
                case Restore(key, slot) if slot in result.lost:
                    self._drop(key)

    def find(self, tokens: list[int], limit: int, adapters: Adapters = None) -> Match:
        """Find the longest prefix of ``tokens[:limit]`` that a new sequence can start from.

        A saved text counts where restoring it costs less than computing what it has more.
        """
        if limit == 0:
            return NO_MATCH
        held = self._find_held(tokens, limit, adapters)
        saved = self.shelf.find(tokens, limit, adapters)
        return saved if self._pays(saved, held) else held

    def _find_held(self, tokens: list[int], limit: int, adapters: Adapters) -> Match:
        search = self.tree.match if self._capacity.can_trim else self.tree.whole
        return search(tokens, limit, adapters)

    def checkpoint(self, slot: SlotId, text: list[int], *, is_last: bool) -> None:
        """Save the content of a running slot where that is worth while.

        ``is_last``: there is no other place in this prompt. Such a state gives way to the next of
        its text, but for one in each stride.
        """
        length, stride = len(text), self._policy.stride_tokens
        known = self.shelf.find(text, length, self.tree.adapters(slot)).length
        if self._is_cheap(length, gain=length - known):
            is_passing = is_last and length // stride == known // stride
            self._save(slot, text, self.tree.adapters(slot), is_passing=is_passing)

    def fits(self, match: Match, rows: int) -> bool:
        """Whether ``rows`` more cells exist when all cached texts but the match give way."""
        if not self._capacity.shares_cells:
            return True
        return self.tree.pinned(self._busy, match) + rows <= self._capacity.cells

    def take(self, tokens: list[int], limit: int, match: Match, adapters: Adapters = None) -> Taken:
        """Make a slot busy with a prefix of ``tokens[:limit]``."""
        pauses = limit > 0 and self._capacity.saves_in_passing
        parting = self._parting(tokens, limit, adapters) if pauses else 0
        if match.key is not None:
            slot = self._take_saved(match.key, tokens, match, adapters)
            kept, is_copied = match.length, True
        else:
            slot, kept, is_copied = self._take_held(tokens, limit, match, adapters)
        self._busy.add(slot)
        marks = self._marks(kept, limit + 1, parting=parting) if pauses else []
        return Taken(slot, kept, is_copied, marks)

    def _take_held(
        self, tokens: list[int], limit: int, match: Match, adapters: Adapters
    ) -> tuple[SlotId, int, bool]:
        slot = self._choose(match)
        kept = self.tree.common(slot, tokens, limit, adapters)
        if not self._capacity.can_trim and kept < self.tree.length(slot):
            kept = 0
        is_copied = False
        copies = match.slot is not None and match.length - kept >= self.copy_min_tokens
        self._lose(slot, 0 if copies else kept)
        if not self.tree.length(slot):
            self.tree.enter(slot, adapters)
        if match.slot is not None and copies:
            self._copy(match.slot, slot, match.length)
            kept, is_copied = match.length, not self._capacity.shares_cells
        if limit == 0:
            self.tree.hide(slot)
        return slot, kept, is_copied

    def release(self, slot: SlotId, *, keep: bool) -> None:
        """Take a slot from its sequence; ``keep`` its content as a cached prefix."""
        self._busy.remove(slot)
        if keep and self.tree.length(slot):
            self._held[slot] = None
        else:
            self._trim(slot, 0)
            self._free.append(slot)

    @property
    def free_cells(self) -> int:
        """Cells that hold nothing; with a stream a slot, all that any slot may still need."""
        return self._capacity.cells - self.tree.cells

    def room(self, rows: int) -> int:
        """Evict cached texts, oldest first, until ``rows`` cells are free; return how many are."""
        if not self._capacity.shares_cells:
            return rows
        while self._capacity.cells - self.tree.cells < rows and self.evict():
            pass
        return min(rows, self._capacity.cells - self.tree.cells)

    def evict(self) -> bool:
        """Take the slot of the cached text that was used longest ago; False when there is none."""
        if not self._held:
            return False
        slot = next(iter(self._held))
        del self._held[slot]
        self._lose(slot, 0)
        self._free.append(slot)
        return True

    def forget(self, slots: Iterable[SlotId]) -> None:
        """Empty slots of which nobody knows what the backend holds. None of them is busy."""
        for slot in slots:
            if slot in self._held:
                del self._held[slot]
                self._free.append(slot)
            self.tree.trim(slot, 0)
            self.note(Trim(slot, 0))

    def check(self) -> None:
        """Assert that every slot has one state and the books match the capacity."""
        self.tree.check()
        self.shelf.check()
        states = [*self._free, *self._held, *self._busy]
        assert sorted(states) == list(range(self._capacity.slots)), "a slot is lost or owned twice"
        assert self.tree.cells <= self._capacity.cells, "more cells than there are"
        for slot in self._free:
            assert self.tree.length(slot) == 0, "a free slot holds tokens"
        for slot in states:
            assert self.tree.length(slot) <= self._capacity.context_size, "over the context"

    def _choose(self, match: Match) -> SlotId:
        """Pick the slot to fill: the match itself where little is lost, a free one, an old one."""
        if match.slot is not None and match.slot in self._held and self._is_used_up(match):
            del self._held[match.slot]
            return match.slot
        free = list(reversed(self._free))
        others = [slot for slot in self._held if slot != match.slot]
        ranked = others or list(self._held)
        old = [] if free else ranked[: (len(ranked) + 1) // 2]
        saved = [slot for slot in others if self._comes_back(slot)]
        slot = max([*free, *old, *saved], key=self._busy_neighbours)  # the first of the best
        if slot in self._held:
            del self._held[slot]
        else:
            self._free.remove(slot)
        return slot

    def _comes_back(self, slot: SlotId) -> bool:
        """Whether a held text may lose its slot at no more than the cost of copying it."""
        length = self.tree.length(slot)
        return self._is_cheap(length, gain=length)

    def _busy_neighbours(self, slot: SlotId) -> int:
        """Count them where it matters: neighbouring streams are computed in one pass."""
        if self._capacity.shares_cells:
            return 0
        return (slot - 1 in self._busy) + (slot + 1 in self._busy)

    def _is_used_up(self, match: Match) -> bool:
        """Whether what the match leaves over is worth less than a copy of what it takes."""
        assert match.slot is not None
        length = self.tree.length(match.slot)
        lost = length - match.length
        is_short = lost < self.copy_min_tokens and lost <= match.length
        return is_short or match.length >= self._keep_share * length

    def _parting(self, tokens: list[int], limit: int, adapters: Adapters) -> int:
        """Tokens with which some text begins as well, whether it can serve or not."""
        held = self.tree.match(tokens, limit, adapters).length
        return max(held, self.shelf.common(tokens, limit, adapters))

    def _marks(self, kept: int, end: int, *, parting: int) -> list[int]:
        """Say where a prompt is saved, of which ``kept`` of ``end`` tokens are there."""
        size_bytes = self.shelf.size_bytes(end)
        policy = self._policy
        stride = choose_stride(
            end,
            least=policy.stride_tokens,
            size_bytes=size_bytes,
            room_bytes=self._capacity.prefix_bytes,
            copy_s=self._copy_pace.seconds(size_bytes),
            row_s=self._row_s,
        )
        return place_marks(kept, end, parting=parting, stride=stride, least=policy.pause_min_tokens)

    def _take_saved(
        self, key: SavedKey, tokens: list[int], match: Match, adapters: Adapters
    ) -> SlotId:
        self.shelf.pinned = key
        slot = self._choose(match)
        self._lose(slot, 0)
        self.room(match.length)
        self.shelf.pinned = None
        self._patience_s -= self._copy_s(self.shelf.length(key))
        self.note(Restore(key, slot, match.length))
        self.tree.enter(slot, adapters)
        self.tree.append(slot, tuple(tokens[: match.length]))
        if self._capacity.can_trim and match.length == self.shelf.length(key):
            self._drop(key)  # the slot has it now, and is about to have more
        else:
            self.shelf.touch(key)
        return slot

    def _lose(self, slot: SlotId, length: int) -> None:
        """Cut a held text back to ``length``; save it first where that is worth while."""
        if self.tree.length(slot) <= length:
            return
        text = self.tree.tokens(slot) if self._capacity.prefix_bytes else []
        adapters = self.tree.adapters(slot)
        self.tree.trim(slot, length)
        if text and self._is_worth_saving(text, adapters):
            self._save(slot, text, adapters)
        self.note(Trim(slot, length))

    def _save(
        self, slot: SlotId, text: list[int], adapters: Adapters, *, is_passing: bool = False
    ) -> None:
        self._patience_s -= self._copy_s(len(text))
        key, dropped = self.shelf.add(text, adapters, is_passing=is_passing)
        self._operations += map(Drop, dropped)
        self.note(Save(slot, key, tuple(text)))

    def _is_worth_saving(self, text: list[int], adapters: Adapters) -> bool:
        length = len(text)
        lost = length - self._known(text, adapters)
        least = max(self._policy.save_min_tokens, length * SAVE_SHARE)
        return lost >= least and self._is_cheap(length, gain=lost)

    def _is_cheap(self, length: int, *, gain: int) -> bool:
        """Whether to save and restore a text costs less than to compute ``gain`` tokens."""
        copy_s = self._copy_s(length)
        is_quick = 2 * copy_s < gain * self._row_s and copy_s <= self._patience_s
        return is_quick and self.shelf.fits(length)

    def _known(self, text: list[int], adapters: Adapters) -> int:
        """Tokens at the start of a text that a new sequence could have without computing them."""
        held, saved = (
            find(text, len(text), adapters) for find in (self._find_held, self.shelf.find)
        )
        return max(held.length, saved.length)

    def _pays(self, saved: Match, held: Match) -> bool:
        """Whether restoring a saved text costs less than computing what it has more."""
        if saved.key is None or saved.length <= held.length:
            return False
        copy_s = self._copy_s(self.shelf.length(saved.key))
        return copy_s < (saved.length - held.length) * self._row_s and copy_s <= self._patience_s

    def _copy_s(self, length: int) -> float:
        """Seconds to save or restore a text."""
        return self._copy_pace.seconds(self.shelf.size_bytes(length))

    def _drop(self, key: SavedKey) -> None:
        self.shelf.remove(key)
        self.note(Drop(key))

    def _trim(self, slot: SlotId, length: int) -> None:
        if self.tree.length(slot) > length:
            self.tree.trim(slot, length)
            self.note(Trim(slot, length))

    def _copy(self, source: SlotId, target: SlotId, length: int) -> None:
        if self._capacity.shares_cells:
            self.tree.share(source, target, length)
        else:
            self.tree.append(target, tuple(self.tree.tokens(source)[:length]))
        self.note(Copy(source, target, length))
        if source in self._held:  # it was of use: the last to give way
            del self._held[source]
            self._held[source] = None
