"""Who is next: the preempted first, then each client in turn, each in order of arrival."""

from __future__ import annotations

from runner.engine.sequence import Sequence, SequenceRequest
from runner.engine.waiting import Waiting


def sequence(id: int, client: str = "") -> Sequence:
    return Sequence(SequenceRequest(id, (1,), None, client=client), [1])


def order(waiting: Waiting) -> list[int]:
    return [sequence.request.id for sequence in waiting]


def test_one_client_is_served_in_order_of_arrival() -> None:
    waiting = Waiting()
    for id in (3, 1, 2):
        waiting.add(sequence(id))
    assert (order(waiting), len(waiting)) == ([3, 1, 2], 3)


def test_a_client_with_many_requests_does_not_hold_up_another() -> None:
    waiting = Waiting()
    for id in range(4):
        waiting.add(sequence(id, "ann"))
    waiting.add(sequence(10, "bob"))
    waiting.add(sequence(20, "cy"))
    assert order(waiting) == [0, 10, 20, 1, 2, 3]


def test_after_its_turn_a_client_is_last() -> None:
    waiting = Waiting()
    first, second = sequence(1, "ann"), sequence(2, "ann")
    for one in (first, second, sequence(10, "bob")):
        waiting.add(one)
    waiting.admit(first)
    assert order(waiting) == [10, 2]


def test_a_cancelled_one_does_not_cost_its_client_the_turn() -> None:
    waiting = Waiting()
    first = sequence(1, "ann")
    for one in (first, sequence(2, "ann"), sequence(10, "bob")):
        waiting.add(one)
    waiting.remove(first)
    assert order(waiting) == [2, 10]


def test_the_preempted_come_first_in_the_order_they_were_admitted() -> None:
    waiting = Waiting()
    late, early = sequence(7), sequence(8)
    late.order, early.order = 5, 2
    waiting.add(sequence(1))
    waiting.put_back(late)
    waiting.put_back(early)
    assert (order(waiting), len(waiting)) == ([8, 7, 1], 3)
    waiting.admit(early)
    waiting.remove(late)
    assert order(waiting) == [1]


def test_it_may_become_empty_and_fill_again() -> None:
    waiting = Waiting()
    only = sequence(1, "ann")
    waiting.add(only)
    waiting.admit(only)
    assert (order(waiting), len(waiting), bool(waiting)) == ([], 0, False)
    waiting.add(only)
    assert order(waiting) == [1]
