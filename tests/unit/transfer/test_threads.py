from __future__ import annotations

import contextlib
import threading

import pytest

from runner.errors import Kind, RunnerError
from runner.transfer.progress import Event, Note
from runner.transfer.threads import in_parallel, one_at_a_time, within


def test_results_are_in_the_order_of_the_items() -> None:
    second_is_done = threading.Event()

    def double(number: int) -> int:
        if number == 1:
            assert second_is_done.wait(10)
        else:
            second_is_done.set()
        return 2 * number

    stop = threading.Event()
    assert in_parallel(double, [1, 2], at_once=2, stop=stop, name="x") == [2, 4]
    assert not stop.is_set()


def test_the_first_failure_ends_the_others_and_is_what_is_raised() -> None:
    stop, begun = threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise RunnerError(Kind.INTEGRITY, "damaged")
        assert stop.wait(10)
        raise RunnerError(Kind.CANCELLED, "told to stop")

    with pytest.raises(RunnerError) as caught:
        in_parallel(work, [1, 2, 3, 4], at_once=2, stop=stop, name="x")
    assert caught.value.kind is Kind.INTEGRITY
    assert sorted(begun) == [1, 2]


def test_a_listener_hears_one_event_at_a_time() -> None:
    two_inside, met = threading.Barrier(2), list[Event]()

    def listen(event: Event) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            two_inside.wait(0.1)
            met.append(event)

    tell = one_at_a_time(listen)
    threads = [threading.Thread(target=tell, args=[Note("x")]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == []


def test_an_answer_in_time_is_passed_on_and_so_is_its_error() -> None:
    assert within(10, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)


def test_who_does_not_answer_in_time_is_left_behind() -> None:
    answered = threading.Event()
    with pytest.raises(RunnerError) as caught:
        within(0.01, lambda: answered.wait(10))
    answered.set()
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert "within 0.01 s" in caught.value.message
