"""The router's rules as tables: what is, and what must be done."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from runner.service.residency import (
    ModelKey,
    Phase,
    Plan,
    Refusal,
    Room,
    Stay,
    Ticket,
    TicketId,
    plan,
)

A, B, C, D = map(ModelKey, "ABCD")
NOW = 1000.0
GB = 10**9


def ready(key: ModelKey, **changes: object) -> Stay:
    """An idle model, used a second ago and granted before."""
    stay = Stay(
        key,
        Phase.READY,
        leases=0,
        need_bytes=GB,
        used_s=NOW - 1,
        granted_s=NOW - 1,
        keep_alive_s=300.0,
        device_bytes=GB,
    )
    return replace(stay, **changes)  # type: ignore[arg-type]


def busy(key: ModelKey, **changes: object) -> Stay:
    return ready(key, leases=1, **changes)


def fresh(key: ModelKey) -> Stay:
    return ready(key, granted_s=None)


def loading(key: ModelKey, **changes: object) -> Stay:
    return ready(key, phase=Phase.LOADING, granted_s=None, **changes)


def stopping(key: ModelKey) -> Stay:
    return ready(key, phase=Phase.STOPPING)


def queue(*keys: ModelKey, since_s: float = NOW) -> list[Ticket]:
    """Waiting requests, numbered from 1 in order of arrival."""
    return [Ticket(TicketId(id), key, GB, since_s) for id, key in enumerate(keys, 1)]


def refused(reason: Refusal) -> Plan:
    """The first in the queue is sent away."""
    return Plan(refuse=((TicketId(1), reason),))


def decide(stays: list[Stay], tickets: list[Ticket], *, places: int, now_s: float = NOW) -> Plan:
    """The plan without its time to wake."""
    return replace(plan(stays, tickets, room=Room(places), now_s=now_s), wake_s=None)


@pytest.mark.parametrize(
    ("stays", "keys", "places", "expected"),
    [
        pytest.param([], [A], 1, Plan(load=(A,)), id="an absent model takes a free place"),
        pytest.param([], [A, B], 2, Plan(load=(A, B)), id="each takes one"),
        pytest.param([], [A, A, A], 2, Plan(load=(A,)), id="many waiters cost one load"),
        pytest.param([], [A, B], 1, Plan(load=(A,)), id="the first in the queue goes first"),
        pytest.param([ready(A)], [A], 1, Plan(grant=(1,)), id="an idle model is granted"),
        pytest.param([busy(A)], [A, A], 1, Plan(grant=(1, 2)), id="a busy model is shared"),
        pytest.param([loading(A)], [A, A], 1, Plan(), id="a load is waited for"),
        pytest.param([ready(A)], [B], 1, Plan(evict=(A,)), id="an idle model gives its place"),
        pytest.param([ready(A)], [B, B, B], 1, Plan(evict=(A,)), id="waiters cost one eviction"),
        pytest.param([busy(A)], [B], 1, Plan(), id="a busy model is never evicted"),
        pytest.param([ready(A)], [], 1, Plan(), id="with no waiter nobody is evicted"),
        pytest.param([loading(A)], [A, B], 1, Plan(), id="a load that is waited for stays"),
        pytest.param([loading(A)], [B], 1, Plan(evict=(A,)), id="a load nobody wants gives way"),
        pytest.param([stopping(A)], [A], 1, Plan(), id="nobody gets a stopping model"),
        pytest.param([stopping(A)], [A], 2, Plan(), id="one model is never loaded twice"),
        pytest.param(
            [stopping(A), ready(B)], [C], 2, Plan(), id="a place that comes free is not doubled"
        ),
        pytest.param(
            [stopping(A), ready(B)], [C, D], 2, Plan(evict=(B,)), id="two waiters need two places"
        ),
        pytest.param(
            [fresh(A)], [B, A, A], 1, Plan(grant=(2, 3)), id="a new model serves who waited for it"
        ),
        pytest.param(
            [busy(A)], [B, A], 1, Plan(), id="later requests queue behind one who needs the place"
        ),
        pytest.param(
            [busy(A, granted_s=NOW - 9), busy(B)],
            [C, A, B],
            2,
            Plan(grant=(3,)),
            id="only the model granted longest ago is reserved",
        ),
        pytest.param(
            [ready(A, keep_alive_s=math.inf)],
            [B],
            1,
            Plan(refuse=((TicketId(1), Refusal.PINNED),)),
            id="a pinned model keeps its place",
        ),
        pytest.param(
            [ready(A, keep_alive_s=math.inf), busy(B)], [C], 2, Plan(), id="pinned and busy: wait"
        ),
        pytest.param(
            [ready(A, keep_alive_s=math.inf), ready(B, used_s=NOW)],
            [C],
            2,
            Plan(evict=(B,)),
            id="pinned is passed over though used longest ago",
        ),
        pytest.param(
            [stopping(A), ready(B, keep_alive_s=math.inf)],
            [C],
            2,
            Plan(),
            id="pinned beside one that leaves: wait",
        ),
    ],
)
def test_what_a_queue_brings_about(
    stays: list[Stay], keys: list[ModelKey], places: int, expected: Plan
) -> None:
    assert decide(stays, queue(*keys), places=places) == expected


def test_the_idle_model_used_longest_ago_goes_first() -> None:
    stays = [ready(A, used_s=NOW - 5), ready(B, used_s=NOW - 9), ready(C, used_s=NOW - 7)]
    assert decide(stays, queue(D), places=3) == Plan(evict=(B,))


def test_an_idle_model_somebody_queues_for_goes_last() -> None:
    stays = [ready(A, used_s=NOW - 9), ready(B, used_s=NOW - 1)]
    assert decide(stays, queue(C, A), places=2) == Plan(grant=(2,), evict=(B,))


def test_a_reservation_holds_while_others_are_granted() -> None:
    """B is reserved for C; A's new grants make A newer, never older, than B."""
    stays = [busy(A, granted_s=NOW), busy(B, granted_s=NOW - 50)]
    assert decide(stays, queue(C, A, B), places=2) == Plan(grant=(2,))
    stays = [busy(A, granted_s=NOW + 60), busy(B, granted_s=NOW - 50)]
    assert decide(stays, queue(C, B, A), places=2) == Plan(grant=(3,))


def test_a_waiter_who_leaves_takes_its_reservation_along() -> None:
    stays = [busy(A)]
    assert decide(stays, queue(B, A), places=1) == Plan()
    assert decide(stays, queue(A), places=1) == Plan(grant=(1,))


def test_three_models_in_turn_in_one_place_starve_nobody() -> None:
    """A hundred requests for three models, room for one: one load each, all served."""
    tickets = queue(*(ModelKey("ABC"[n % 3]) for n in range(100)))
    resident: list[Stay] = []
    loads, served = [], []
    while tickets:
        todo = decide(resident, tickets, places=1)
        served += todo.grant
        tickets = [ticket for ticket in tickets if ticket.id not in todo.grant]
        if todo.load:
            loads += todo.load
            resident = [fresh(todo.load[0])]
        elif todo.evict:
            resident = []
        else:
            resident = [ready(resident[0].key)]  # its requests are through: idle
    assert loads == [A, B, C]
    assert sorted(served) == list(range(1, 101))


def test_a_model_that_outlives_its_keep_alive_goes() -> None:
    stays = [ready(A, keep_alive_s=5.0, used_s=NOW - 5), ready(B, keep_alive_s=5.0)]
    todo = plan(stays, [], room=Room(4), now_s=NOW)
    assert todo == Plan(evict=(A,), wake_s=NOW + 4)


@pytest.mark.parametrize(
    "stay",
    [busy(A, used_s=0.0), ready(A, used_s=0.0, keep_alive_s=math.inf), stopping(A)],
    ids=["busy", "kept for ever", "stopping"],
)
def test_keep_alive_does_not_end_what_is_busy_kept_or_gone(stay: Stay) -> None:
    assert plan([stay], [], room=Room(4), now_s=NOW) == Plan()


def test_a_keep_alive_of_zero_ends_it_with_its_last_request() -> None:
    stay = ready(A, keep_alive_s=0.0, used_s=NOW)
    assert decide([stay], [], places=1) == Plan(evict=(A,))
    assert decide([stay], queue(A), places=1) == Plan(grant=(1,))


def test_a_load_nobody_waits_for_goes_on_a_little() -> None:
    stays = [loading(A, used_s=NOW)]
    assert plan(stays, [], room=Room(1, linger_s=5), now_s=NOW) == Plan(wake_s=NOW + 5)
    assert decide(stays, [], places=1, now_s=NOW + 5) == Plan(evict=(A,))
    assert decide(stays, queue(A), places=1, now_s=NOW + 5) == Plan()


def test_a_wait_for_a_place_ends_at_its_limit() -> None:
    tickets = queue(B, since_s=NOW - 300)
    expected = Plan(refuse=((TicketId(1), Refusal.WAITED),))
    assert decide([busy(A)], tickets, places=1) == expected
    assert plan([busy(A)], queue(B), room=Room(1), now_s=NOW) == Plan(wake_s=NOW + 300)


def test_a_wait_for_a_load_has_no_such_limit() -> None:
    assert decide([loading(A)], queue(A, since_s=0.0), places=1) == Plan()


@pytest.mark.parametrize(
    ("stays", "available", "expected"),
    [
        pytest.param([], GB, Plan(load=(D,)), id="fits"),
        pytest.param([ready(A)], GB, Plan(load=(D,)), id="fits beside another"),
        pytest.param([ready(A)], GB // 2, Plan(evict=(A,)), id="fits in another's place"),
        pytest.param(
            [ready(A, used_s=NOW - 9), ready(B)], GB // 2, Plan(evict=(A,)), id="one is enough"
        ),
        pytest.param(
            [ready(A, need_bytes=GB // 4), ready(B, need_bytes=GB // 2)],
            GB // 4,
            Plan(evict=(A, B)),
            id="two are needed",
        ),
        pytest.param([busy(A)], GB // 2, Plan(), id="a busy one is waited for"),
        pytest.param([stopping(A)], GB // 2, Plan(), id="what is being freed is waited for"),
        pytest.param([loading(A)], GB + GB // 2, Plan(evict=(A,)), id="a load will take its part"),
        pytest.param([], GB // 2, refused(Refusal.TOO_LARGE), id="too large for any room"),
        pytest.param(
            [ready(A, need_bytes=1), busy(B, need_bytes=1)],
            GB // 2,
            refused(Refusal.TOO_LARGE),
            id="nobody is evicted, or waited for, in vain",
        ),
        pytest.param(
            [loading(A)],
            GB // 2,
            Plan(evict=(A,)),
            id="what a load has taken already may come back",
        ),
        pytest.param(
            [ready(A, keep_alive_s=math.inf)],
            GB // 2,
            refused(Refusal.PINNED),
            id="pinned models hold the memory",
        ),
        pytest.param(
            [ready(A, keep_alive_s=math.inf), ready(B)],
            GB // 2,
            Plan(evict=(B,)),
            id="pinned models hold only a part of it",
        ),
    ],
)
def test_memory_that_is_short_is_made(stays: list[Stay], available: int, expected: Plan) -> None:
    room = Room(4, available_bytes=available)
    assert replace(plan(stays, queue(D), room=room, now_s=NOW), wake_s=None) == expected


@pytest.mark.parametrize(
    ("stays", "free", "expected"),
    [
        pytest.param([], 0, Plan(load=(D,)), id="nothing to make room with"),
        pytest.param([ready(A)], GB, Plan(load=(D,)), id="fits beside another"),
        pytest.param([ready(A)], GB - 1, Plan(evict=(A,)), id="an idle one makes room"),
        pytest.param([ready(A)], None, Plan(load=(D,)), id="no GPU, or nothing is told of it"),
        pytest.param(
            [ready(A, used_s=NOW - 9), ready(B)], GB // 2, Plan(evict=(A,)), id="one is enough"
        ),
        pytest.param(
            [ready(A, device_bytes=GB // 4), ready(B, device_bytes=GB // 4)],
            0,
            Plan(evict=(A, B)),
            id="as many as there are",
        ),
        pytest.param(
            [ready(A, used_s=NOW - 9, device_bytes=0), ready(B)],
            0,
            Plan(evict=(B,)),
            id="one that has nothing there is passed over",
        ),
        pytest.param([stopping(A)], 0, Plan(), id="what is being freed is waited for"),
        pytest.param([busy(A)], 0, Plan(load=(D,)), id="a busy one is not"),
        pytest.param([busy(A), ready(B)], 0, Plan(evict=(B,)), id="busy ones stay"),
        pytest.param([ready(A, keep_alive_s=math.inf)], 0, Plan(load=(D,)), id="nor are pinned"),
        pytest.param([loading(A)], 2 * GB - 1, Plan(evict=(A,)), id="a load nobody wants, too"),
    ],
)
def test_a_full_gpu_makes_idle_models_go_and_keeps_nobody_waiting(
    stays: list[Stay], free: int | None, expected: Plan
) -> None:
    tickets = [replace(ticket, device_bytes=GB) for ticket in queue(D)]
    room = Room(4, device_free_bytes=free)
    assert replace(plan(stays, tickets, room=room, now_s=NOW), wake_s=None) == expected


def test_a_load_will_take_its_part_of_the_gpu() -> None:
    stays = [loading(A), ready(B)]
    tickets = [replace(ticket, device_bytes=GB) for ticket in queue(A, D)]
    for free, expected in ((2 * GB, Plan(load=(D,))), (2 * GB - 1, Plan(evict=(B,)))):
        room = Room(4, device_free_bytes=free)
        assert replace(plan(stays, tickets, room=room, now_s=NOW), wake_s=None) == expected


def test_a_model_for_the_cpu_takes_nobody_s_place_on_a_gpu() -> None:
    room = Room(4, device_free_bytes=0)
    for stays in ([ready(A)], [ready(A), loading(B)]):
        todo = plan(stays, queue(B, D), room=room, now_s=NOW)
        assert (D in todo.load, todo.evict) == (True, ())


@pytest.mark.parametrize(
    ("stays", "keys", "expected"),
    [
        pytest.param(
            [ready(A, need_bytes=2 * GB, used_s=NOW - 9), ready(B)],
            [C, D],
            Plan(evict=(A,)),
            id="one that goes makes room for two",
        ),
        pytest.param(
            [ready(A, need_bytes=2 * GB - 1, used_s=NOW - 9), ready(B)],
            [C, D],
            Plan(evict=(A, B)),
            id="but not for what it does not hold",
        ),
        pytest.param(
            [replace(stopping(A), need_bytes=2 * GB), ready(B)],
            [C, D],
            Plan(),
            id="also on its way",
        ),
        pytest.param(
            [busy(A, need_bytes=2 * GB), ready(B)],
            [C, D],
            Plan(evict=(B,)),
            id="the idle go before the busy",
        ),
    ],
)
def test_no_more_models_go_than_all_waiters_need(
    stays: list[Stay], keys: list[ModelKey], expected: Plan
) -> None:
    room = Room(4, available_bytes=0)
    assert replace(plan(stays, queue(*keys), room=room, now_s=NOW), wake_s=None) == expected


def test_who_needs_what_is_coming_on_a_gpu_waits_for_it() -> None:
    tickets = [replace(ticket, device_bytes=GB) for ticket in queue(C, D)]
    room = Room(4, device_free_bytes=0)
    stays = [ready(A, device_bytes=2 * GB, used_s=NOW - 9), ready(B)]
    todo = plan(stays, tickets, room=room, now_s=NOW)
    assert (todo.evict, todo.load) == ((A,), ())
    gone = plan(stays[1:], tickets, room=replace(room, device_free_bytes=2 * GB), now_s=NOW)
    assert (gone.evict, gone.load) == ((), (C, D))


def test_nobody_takes_what_is_left_of_a_gpu_from_one_who_waits_for_more_of_it() -> None:
    tickets = [replace(ticket, device_bytes=GB) for ticket in queue(C, D)]
    room = Room(4, device_free_bytes=GB // 2)
    stays = [replace(stopping(A), device_bytes=GB // 4)]
    todo = plan(stays, tickets, room=room, now_s=NOW)
    assert (todo.evict, todo.load) == ((), ())


def test_memory_promised_to_one_waiter_is_not_promised_again() -> None:
    todo = plan([], queue(A, B), room=Room(4, available_bytes=GB + GB // 2), now_s=NOW)
    assert todo.load == (A,)


@pytest.mark.parametrize(
    ("stays", "expected"),
    [
        pytest.param([ready(A), ready(B)], Plan(evict=(A, B)), id="all idle models go first"),
        pytest.param([stopping(A)], Plan(), id="and are waited for"),
        pytest.param([busy(A), ready(B)], Plan(evict=(B,)), id="busy ones stay"),
        pytest.param([busy(A)], Plan(load=(D,)), id="and are not waited for"),
        pytest.param([ready(A, keep_alive_s=math.inf)], Plan(load=(D,)), id="nor are pinned ones"),
    ],
)
@pytest.mark.parametrize("available", [100 * GB, None], ids=["known", "unknown"])
def test_a_model_that_ran_out_of_memory_is_loaded_when_every_idle_one_has_gone(
    stays: list[Stay], available: int | None, expected: Plan
) -> None:
    room = Room(4, available_bytes=available, squeezed=frozenset({D}))
    assert replace(plan(stays, queue(D), room=room, now_s=NOW), wake_s=None) == expected
