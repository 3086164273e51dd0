"""Which tokens sit in which KV cells: a tree of token runs that live and finished slots share.

A run is a piece of text in physical cells. A slot's path from the root to its leaf spells the
slot's content; a run that several paths pass is one set of cells with several owners. Equal text
that was computed twice sits in two runs beside each other. So the cells in use are exactly the
sum of the runs. Cells depend on the adapters they were computed with: each set has a root of its
own, and nothing is shared between two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from weakref import WeakValueDictionary

from runner.engine.backend import Adapters, SavedKey, SlotId


class Match(NamedTuple):
    """The longest stored prefix of some tokens, and who has it: a slot, or a saved text."""

    length: int
    slot: SlotId | None
    key: SavedKey | None = None

    @property
    def shared(self) -> int:
        """Tokens of it that are in cells, which a new owner can share."""
        return self.length if self.slot is not None else 0


NO_MATCH = Match(0, None)


class Run:
    """Consecutive tokens with the same owners; children are found by their first token."""

    __slots__ = ("__weakref__", "children", "owners", "parent", "start", "tokens")

    def __init__(self, tokens: list[int], start: int, parent: Run | None) -> None:
        self.tokens = tokens
        self.start = start
        self.parent = parent
        self.children: dict[int, list[Run]] = {}
        self.owners: set[SlotId] = set()

    @property
    def end(self) -> int:
        """Position after the last token."""
        return self.start + len(self.tokens)


class PrefixTree:
    """The content of every slot, and the count of the cells they use together."""

    def __init__(self, slots: int) -> None:
        self.cells = 0
        self._root = Run([], 0, None)
        self._hidden = Run([], 0, None)  # over content that no one else may reuse
        # A root that no slot's path begins at any more is gone.
        self._roots: WeakValueDictionary[Adapters, Run] = WeakValueDictionary()
        self._roots[None] = self._root
        self._leaves = [self._root] * slots
        self._adapters: list[Adapters] = [None] * slots

    def length(self, slot: SlotId) -> int:
        """Tokens the slot holds."""
        return self._leaves[slot].end

    def tokens(self, slot: SlotId) -> list[int]:
        """The slot's content."""
        return [token for run in self._path(slot) for token in run.tokens]

    def adapters(self, slot: SlotId) -> Adapters:
        """Say with which adapters the slot's content was computed."""
        return self._adapters[slot]

    def enter(self, slot: SlotId, adapters: Adapters) -> None:
        """Say with which adapters the content of an empty slot will be computed."""
        root = self._roots.get(adapters)
        if root is None:
            root = self._roots[adapters] = Run([], 0, None)
        self._leaves[slot], self._adapters[slot] = root, adapters

    def hide(self, slot: SlotId) -> None:
        """Keep what an empty slot will hold out of every match, until it is trimmed to nothing."""
        self._leaves[slot], self._adapters[slot] = self._hidden, None

    def match(self, tokens: list[int], limit: int, adapters: Adapters = None) -> Match:
        """Find the longest stored prefix of ``tokens[:limit]``; of its holders, the shortest."""
        root = self._roots.get(adapters)
        if root is None:
            return NO_MATCH
        best, end = root, 0
        frontier = [root]
        while frontier:
            run = frontier.pop()
            at = run.end
            for child in run.children.get(tokens[at], ()) if at < limit else ():
                same = common_length(child.tokens, tokens, at, limit)
                if at + same > end:
                    best, end = child, at + same
                if same == len(child.tokens):
                    frontier.append(child)
        return Match(end, min(best.owners, key=self.length)) if end else NO_MATCH

    def whole(self, tokens: list[int], limit: int, adapters: Adapters = None) -> Match:
        """Find the longest stored text that is, as a whole, a prefix of ``tokens[:limit]``."""
        best = NO_MATCH
        root = self._roots.get(adapters)
        frontier = [] if root is None else [root]
        while frontier:
            run = frontier.pop()
            at = run.end
            for child in run.children.get(tokens[at], ()) if at < limit else ():
                if common_length(child.tokens, tokens, at, limit) < len(child.tokens):
                    continue
                frontier.append(child)
                ends = [slot for slot in child.owners if self._leaves[slot] is child]
                if ends and child.end > best.length:
                    best = Match(child.end, min(ends))
        return best

    def common(self, slot: SlotId, tokens: list[int], limit: int, adapters: Adapters = None) -> int:
        """Count how many tokens at the start of the slot equal ``tokens[:limit]``."""
        if self._adapters[slot] != adapters:
            return 0
        same = 0
        for run in self._path(slot):
            same += common_length(run.tokens, tokens, run.start, limit)
            if same < run.end:
                break
        return same

    def append(self, slot: SlotId, tokens: tuple[int, ...]) -> None:
        """Add computed tokens: in place where the slot is alone, else as a branch of its own."""
        leaf = self._leaves[slot]
        if len(leaf.owners) == 1:
            leaf.tokens.extend(tokens)
        else:  # a shared run, or a root
            child = Run(list(tokens), leaf.end, leaf)
            child.owners.add(slot)
            leaf.children.setdefault(tokens[0], []).append(child)
            self._leaves[slot] = child
        self.cells += len(tokens)

    def share(self, source: SlotId, target: SlotId, length: int) -> None:
        """Let the empty ``target`` own the first ``length`` tokens of ``source`` as well."""
        run = self._leaves[source]
        while run.start >= length and run.parent is not None:
            run = run.parent
        if run.end > length:
            run = self._split(run, length)
        self._leaves[target], self._adapters[target] = run, self._adapters[source]
        while run.parent is not None:
            run.owners.add(target)
            run = run.parent

    def trim(self, slot: SlotId, length: int) -> None:
        """Forget the slot's tokens from ``length`` on; the cells of other owners stay."""
        run = self._leaves[slot]
        shared: list[Run] = []
        while run.parent is not None and run.start >= length:
            run.owners.discard(slot)
            if run.owners:
                shared.append(run)
            else:
                self._unlink(run)
            run = run.parent
        if run.end > length:
            if len(run.owners) == 1:
                self.cells -= run.end - length
                del run.tokens[length - run.start :]
            else:
                upper = self._split(run, length)
                run.owners.discard(slot)
                shared.append(run)
                run = upper
        self._leaves[slot] = run
        if length == 0:
            self.enter(slot, None)
        for survivor in shared:
            self._join(survivor)

    def pinned(self, slots: Iterable[SlotId], match: Match) -> int:
        """Count the cells that ``slots`` and a new owner of ``match`` need together."""
        seen: set[Run] = set()
        for slot in slots:
            seen.update(self._path(slot))
        cells = sum(len(run.tokens) for run in seen)
        if match.slot is not None:
            cells += sum(
                min(run.end, match.length) - run.start
                for run in self._path(match.slot)
                if run.start < match.length and run not in seen
            )
        return cells

    def check(self) -> None:
        """Assert that paths, owners, children and the count of cells tell the same story."""
        owners: dict[Run, set[SlotId]] = {}
        for slot in range(len(self._leaves)):
            for run in self._path(slot):
                owners.setdefault(run, set()).add(slot)
        for run, slots in owners.items():
            assert run.owners == slots, f"owners of the run at {run.start}"
            assert run.tokens, f"empty run at {run.start}"
            assert run.parent is not None and run.start == run.parent.end, "a gap in a path"
            assert run in run.parent.children[run.tokens[0]], "a parent without its child"
        for slot, path in enumerate(map(self._path, range(len(self._leaves)))):
            root = path[0].parent if path else self._leaves[slot]
            assert root in (self._hidden, self._roots[self._adapters[slot]]), "of other adapters"
        roots = (self._hidden, *self._roots.values())
        linked = [child for run in (*roots, *owners) for child in _children(run)]
        assert len(linked) == len(owners), "a run that no slot passes"
        assert self.cells == sum(len(run.tokens) for run in owners), "cells are miscounted"

    def _path(self, slot: SlotId) -> list[Run]:
        path: list[Run] = []
        run = self._leaves[slot]
        while run.parent is not None:
            path.append(run)
            run = run.parent
        path.reverse()
        return path

    def _split(self, run: Run, length: int) -> Run:
        """Cut a run at a position; return the new upper part, which keeps all owners."""
        parent = run.parent
        assert parent is not None
        cut = length - run.start
        upper = Run(run.tokens[:cut], run.start, parent)
        upper.owners = set(run.owners)
        siblings = parent.children[upper.tokens[0]]
        siblings[siblings.index(run)] = upper
        del run.tokens[:cut]
        run.start, run.parent = length, upper
        upper.children[run.tokens[0]] = [run]
        return upper

    def _unlink(self, run: Run) -> None:
        assert run.parent is not None
        siblings = run.parent.children[run.tokens[0]]
        siblings.remove(run)
        if not siblings:
            del run.parent.children[run.tokens[0]]
        self.cells -= len(run.tokens)

    def _join(self, run: Run) -> None:
        """Undo a split that nobody needs any more: old cuts would make every path longer."""
        children = list(_children(run))
        if len(children) != 1 or len(children[0].owners) != len(run.owners):
            return
        [child] = children
        run.tokens.extend(child.tokens)
        run.children = child.children
        for grandchild in _children(run):
            grandchild.parent = run
        for slot in child.owners:
            if self._leaves[slot] is child:
                self._leaves[slot] = run


def common_length(run: list[int], tokens: list[int], start: int, limit: int) -> int:
    """Count how far ``run`` equals ``tokens[start:limit]``."""
    low, high = 0, min(len(run), limit - start)
    if run[:high] == tokens[start : start + high]:
        return high
    while high - low > 1:  # run[:low] is equal, run[:high] is not; slices compare at C speed
        middle = (low + high) // 2
        if run[low:middle] == tokens[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low


def _children(run: Run) -> Iterator[Run]:
    return (child for siblings in run.children.values() for child in siblings)
