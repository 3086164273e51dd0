"""The prefix tree against a model that is plainly right: each slot a list of cell objects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.prefix import PrefixTree

SLOTS = 4

texts = st.lists(st.integers(1, 3), max_size=12)
moves = st.one_of(
    st.tuples(st.just("append"), st.integers(0, SLOTS - 1), texts.filter(bool)),
    st.tuples(st.just("share"), st.integers(0, SLOTS - 1), st.integers(0, SLOTS - 1)),
    st.tuples(st.just("trim"), st.integers(0, SLOTS - 1), st.integers(0, 12)),
)


class Cell:
    """A physical cell."""

    def __init__(self, token: int) -> None:
        self.token = token


def common(one: list[int], other: list[int]) -> int:
    """Length of the common beginning, the slow way."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


@given(st.lists(moves, max_size=40), texts)
def test_the_tree_tells_what_lists_of_cells_tell(moves: list[tuple], wanted: list[int]) -> None:
    tree = PrefixTree(SLOTS)
    slots: list[list[Cell]] = [[] for _ in range(SLOTS)]
    for verb, slot, argument in moves:
        if verb == "append":
            tree.append(slot, tuple(argument))
            slots[slot] += [Cell(token) for token in argument]
        elif verb == "trim":
            length = min(argument, len(slots[slot]))
            tree.trim(slot, length)
            del slots[slot][length:]
        elif slot != argument and slots[slot]:
            length = (len(slots[slot]) + 1) // 2
            tree.trim(argument, 0)
            tree.share(slot, argument, length)
            slots[argument] = slots[slot][:length]
        tree.check()
        assert tree.cells == len({cell for cells in slots for cell in cells})

    contents = [[cell.token for cell in cells] for cells in slots]
    assert [tree.tokens(slot) for slot in range(SLOTS)] == contents
    match = tree.match(wanted, len(wanted))
    assert match.length == max(common(content, wanted) for content in contents)
    if match.slot is not None:
        assert common(contents[match.slot], wanted) == match.length
    whole = [content for content in contents if wanted[: len(content)] == content]
    assert tree.whole(wanted, len(wanted)).length == max(map(len, whole), default=0)
    for slot, content in enumerate(contents):
        assert tree.common(slot, wanted, len(wanted)) == common(content, wanted)
    busy = {cell for cells in slots[:2] for cell in cells}
    if match.slot is not None:
        busy |= set(slots[match.slot][: match.length])
    assert tree.pinned([0, 1], match) == len(busy)
