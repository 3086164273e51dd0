"""The tree counts physical cells exactly and finds the longest stored prefix."""

from __future__ import annotations

import pytest

from runner.engine.prefix import NO_MATCH, Match, PrefixTree, common_length

SYSTEM = list(range(100, 110))


def tree_of(*contents: list[int]) -> PrefixTree:
    """A tree whose slot ``n`` holds, computed on its own, the ``n``-th content."""
    tree = PrefixTree(8)
    for slot, content in enumerate(contents):
        if content:
            tree.append(slot, tuple(content))
        tree.check()
    return tree


@pytest.mark.parametrize(
    ("run", "tokens", "start", "limit", "length"),
    [
        ([], [1, 2], 0, 2, 0),
        ([1, 2, 3], [1, 2, 3, 4], 0, 4, 3),
        ([1, 2, 3], [1, 2, 3, 4], 0, 2, 2),
        ([3, 4, 9], [1, 2, 3, 4, 5], 2, 5, 2),
        ([7], [1, 2], 0, 2, 0),
        ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 0, 7], 0, 7, 5),
        ([1], [1], 1, 1, 0),
    ],
)
def test_the_common_length_stops_at_the_first_difference(
    run: list[int], tokens: list[int], start: int, limit: int, length: int
) -> None:
    assert common_length(run, tokens, start, limit) == length


def test_nothing_matches_in_an_empty_tree() -> None:
    assert PrefixTree(2).match([1, 2, 3], 3) == NO_MATCH


def test_a_match_may_end_inside_a_run_and_stops_at_the_limit() -> None:
    tree = tree_of([*SYSTEM, 1, 2])
    assert tree.match([*SYSTEM, 1, 9], 12) == Match(11, 0)
    assert tree.match([*SYSTEM, 1, 2], 4) == Match(4, 0)


def test_of_several_holders_the_one_with_least_to_lose_is_named() -> None:
    tree = tree_of([*SYSTEM, 1, 2, 3], [], SYSTEM)
    tree.trim(2, 0)
    tree.share(0, 1, 10)
    assert tree.match([*SYSTEM, 7], 11) == Match(10, 1)


def test_a_shared_prefix_takes_its_cells_once() -> None:
    tree = tree_of([*SYSTEM, 1, 2])
    tree.share(0, 1, 10)
    assert tree.cells == 12
    tree.append(1, (7, 8, 9))
    assert tree.cells == 15
    assert tree.tokens(0) == [*SYSTEM, 1, 2]
    assert tree.tokens(1) == [*SYSTEM, 7, 8, 9]
    tree.check()


def test_equal_text_computed_twice_takes_cells_twice() -> None:
    tree = tree_of(SYSTEM, SYSTEM)
    assert tree.cells == 20
    assert tree.match([*SYSTEM, 1], 11).length == 10


def test_the_longer_of_two_equal_beginnings_is_found() -> None:
    tree = tree_of(SYSTEM[:4], SYSTEM[:7], SYSTEM[:5])
    assert tree.match(SYSTEM, 10) == Match(7, 1)


def test_whoever_appends_to_a_shared_run_branches_off() -> None:
    tree = tree_of(SYSTEM)
    tree.share(0, 1, 10)
    tree.append(0, (1,))
    tree.append(1, (1,))  # the same token, computed twice
    tree.append(0, (2,))
    assert (tree.tokens(0), tree.tokens(1)) == ([*SYSTEM, 1, 2], [*SYSTEM, 1])
    assert tree.cells == 13
    tree.check()


def test_trimming_frees_only_what_nobody_else_owns() -> None:
    tree = tree_of([*SYSTEM, 1, 2])
    tree.share(0, 1, 10)
    tree.append(1, (7,))
    tree.trim(0, 0)
    assert (tree.cells, tree.length(0), tree.length(1)) == (11, 0, 11)
    tree.check()
    tree.trim(1, 4)
    assert (tree.cells, tree.tokens(1)) == (4, SYSTEM[:4])
    tree.check()


def test_trimming_inside_a_shared_run_leaves_the_other_owner_whole() -> None:
    tree = tree_of(SYSTEM)
    tree.share(0, 1, 10)
    tree.trim(1, 3)
    assert (tree.tokens(0), tree.tokens(1), tree.cells) == (SYSTEM, SYSTEM[:3], 10)
    tree.check()
    tree.append(1, (5, 6))
    assert (tree.tokens(1), tree.cells) == ([*SYSTEM[:3], 5, 6], 12)


def test_cuts_that_nobody_needs_are_joined_again() -> None:
    tree = tree_of(SYSTEM)
    for cut in (9, 6, 3):
        tree.share(0, 1, cut)
        tree.append(1, (cut,))
        tree.trim(1, 0)
        tree.check()
    assert len(tree._path(0)) == 1
    tree.append(0, (1,))
    assert tree.tokens(0) == [*SYSTEM, 1]


def test_hidden_content_counts_but_never_matches() -> None:
    tree = PrefixTree(2)
    tree.hide(0)
    tree.append(0, tuple(SYSTEM))
    assert (tree.cells, tree.match(SYSTEM, 10)) == (10, NO_MATCH)
    tree.check()
    tree.trim(0, 0)
    tree.append(0, tuple(SYSTEM))
    assert tree.match(SYSTEM, 10) == Match(10, 0)


def test_pinned_cells_count_shared_runs_once_and_the_match_only_as_far_as_it_goes() -> None:
    tree = tree_of([*SYSTEM, 1, 2], [], [7] * 5)
    tree.share(0, 1, 10)
    tree.append(1, (3, 4, 5))
    assert tree.pinned([], NO_MATCH) == 0
    assert tree.pinned([0, 1], NO_MATCH) == 15
    assert tree.pinned([0], Match(12, 1)) == 14  # ten shared, two of 0, two of the match
    assert tree.pinned([1], Match(3, 2)) == 16
