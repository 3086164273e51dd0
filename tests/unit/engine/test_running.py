"""Whose prompt rows are next: clients in turn, and in turn the oldest and the shortest of each."""

from __future__ import annotations

from runner.engine.backend import Score
from runner.engine.running import Running
from runner.engine.sequence import Sequence, SequenceRequest


def prompt(slot: int, length: int, client: str = "") -> Sequence:
    tokens = tuple(range(length))
    return Sequence(SequenceRequest(slot, tokens, 100 + slot, client=client), [*tokens], slot=slot)


def running(*sequences: Sequence, score_rows: int = 1) -> Running:
    running = Running(score_rows=score_rows)
    for sequence in sequences:
        running.begin_prompt(sequence)
    running.check()
    return running


def cut(running: Running, rows: int) -> list[tuple[int, int]]:
    """Slots and rows of one step, as if they were computed."""
    parts = running.cut(rows)
    for part in parts:
        sequence = running.prompts[part.slot]
        sequence.computed += len(part.tokens)
        if sequence.computed == sequence.prompt_end:
            sequence.tokens.append(0)
            sequence.generated = 1
            running.begin_decode(sequence)
    running.check()
    return [(part.slot, len(part.tokens)) for part in parts]


def test_prompts_of_one_client_share_a_step_in_order_of_arrival() -> None:
    assert cut(running(prompt(3, 40), prompt(0, 40)), 50) == [(0, 10), (3, 40)]


def test_a_short_prompt_waits_for_one_piece_of_a_long_one() -> None:
    books = running(prompt(0, 500), prompt(1, 10), prompt(2, 20))
    assert [cut(books, 50) for _ in range(3)] == [
        [(0, 50)],
        [(0, 20), (1, 10), (2, 20)],
        [(0, 50)],
    ]


def test_a_long_prompt_has_every_other_turn_however_many_short_ones_come() -> None:
    books = running(prompt(0, 500))
    shares = []
    for slot in range(1, 11):
        books.begin_prompt(prompt(slot, 50))
        shares.append(dict(cut(books, 50)).get(0, 0))
    assert shares == [50, 0] * 5


def test_clients_have_their_turn_whatever_their_number_of_prompts() -> None:
    books = running(*(prompt(slot, 100, "many") for slot in range(6)), prompt(6, 100, "one"))
    steps = [cut(books, 50) for _ in range(4)]
    assert [slot for [(slot, _)] in steps] == [0, 6, 0, 6]


def test_one_step_serves_the_first_of_each_client_before_the_second_of_any() -> None:
    books = running(prompt(0, 30, "a"), prompt(1, 30, "a"), prompt(2, 30, "b"))
    assert cut(books, 70) == [(0, 30), (1, 10), (2, 30)]


def test_streams_are_in_order_of_their_slots() -> None:
    books = running(prompt(2, 10), prompt(0, 10), prompt(1, 10))
    cut(books, 30)
    assert books.decode == (100, 101, 102)
    books.remove(books.decoding[101])
    assert (books.decode, len(books)) == ((100, 102), 2)


def test_the_youngest_is_the_last_admitted_whatever_it_does() -> None:
    first, second = prompt(0, 10), prompt(1, 10)
    first.order, second.order = 0, 1
    books = running(first, second)
    assert (books.youngest(), books.rows_left()) == (second, 20)


def test_prompts_that_are_scored_share_the_rows_that_a_step_has_for_scores() -> None:
    scored = [
        Sequence(SequenceRequest(slot, (7,) * 40, None, scored_top=0), [7] * 40, slot=slot)
        for slot in range(3)
    ]
    scored[0].scores = [Score(7, -1.0)] * 39  # told of before it lost its slot
    prompts = running(*scored, prompt(3, 40), score_rows=5)
    parts = prompts.cut(60)
    assert [(part.slot, len(part.tokens), part.scored) for part in parts] == [
        (0, 40, ()),
        (1, 5, (7, 7, 7, 7, 7)),
        (3, 15, ()),
    ]


def test_the_last_row_of_a_prompt_has_no_score() -> None:
    scored = Sequence(SequenceRequest(0, (1, 2, 3), 100, scored_top=2), [1, 2, 3], slot=0)
    assert scored.reusable == 0
    (part,) = running(scored, score_rows=9).cut(9)
    assert (part.scored, part.top, part.generator) == ((2, 3, -1), 2, 100)
