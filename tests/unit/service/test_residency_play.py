"""The router's rules over random days: arrivals, leavings, loads and exits in any order."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runner.service.residency import (
    ModelKey,
    Phase,
    Room,
    Stay,
    Ticket,
    TicketId,
    plan,
)

KEYS = [ModelKey(letter) for letter in "ABCD"]
MEMORY = 40
ACTIONS = st.tuples(
    st.sampled_from(["arrive", "leave", "release", "loaded", "exited", "crash", "pass"]),
    st.integers(0, 99),
)


class Day:
    """A world that carries out each plan and checks what must always hold."""

    def __init__(self, places: int, needs: list[int], keep_alive_s: list[float]) -> None:
        self.places, self.needs, self.keep_alive_s = places, needs, keep_alive_s
        self.now_s = 0.0
        self.stays: dict[ModelKey, Stay] = {}
        self.queue: list[Ticket] = []
        self.arrived = 0
        self.answered: list[TicketId] = []

    def act(self, verb: str, number: int) -> None:
        getattr(self, f"do_{verb}")(number)
        self.follow_plan()

    def do_arrive(self, number: int) -> None:
        index = number % len(KEYS)
        self.arrived += 1
        ticket = Ticket(TicketId(self.arrived), KEYS[index], self.needs[index], self.now_s)
        self.queue.append(ticket)

    def do_leave(self, number: int) -> None:
        if self.queue:
            self.answered.append(self.queue.pop(number % len(self.queue)).id)

    def do_release(self, number: int) -> None:
        if stay := self.pick(number, Phase.READY, is_busy=True):
            self.put(stay, leases=stay.leases - 1, used_s=self.now_s)

    def do_loaded(self, number: int) -> None:
        if stay := self.pick(number, Phase.LOADING):
            self.put(stay, phase=Phase.READY, used_s=self.now_s)

    def do_exited(self, number: int) -> None:
        if stay := self.pick(number, Phase.STOPPING):
            del self.stays[stay.key]

    def do_crash(self, number: int) -> None:
        if stay := self.pick(number, Phase.READY):
            del self.stays[stay.key]

    def do_pass(self, number: int) -> None:
        self.now_s += number / 10

    def pick(self, number: int, phase: Phase, *, is_busy: bool = False) -> Stay | None:
        found = [
            stay
            for stay in self.stays.values()
            if stay.phase is phase and (stay.leases > 0 or not is_busy)
        ]
        return found[number % len(found)] if found else None

    def put(self, stay: Stay, **changes: object) -> None:
        self.stays[stay.key] = replace(stay, **changes)  # type: ignore[arg-type]

    def follow_plan(self) -> None:
        taken = sum(stay.need_bytes for stay in self.stays.values())
        loading = sum(s.need_bytes for s in self.stays.values() if s.phase is Phase.LOADING)
        room = Room(self.places, available_bytes=MEMORY - taken + loading, wait_s=1e9)
        todo = plan(self.stays.values(), self.queue, room=room, now_s=self.now_s)
        tickets = {ticket.id: ticket for ticket in self.queue}
        for id in todo.grant:
            stay = self.stays[tickets[id].key]
            assert stay.phase is Phase.READY
            assert stay.key not in todo.evict
            self.put(stay, leases=stay.leases + 1, granted_s=self.now_s, used_s=self.now_s)
        gone = {*todo.grant, *(id for id, _ in todo.refuse)}
        assert len(gone) == len(todo.grant) + len(todo.refuse)
        self.answered += gone
        self.queue = [ticket for ticket in self.queue if ticket.id not in gone]
        for key in todo.evict:
            stay = self.stays[key]
            assert stay.leases == 0
            assert stay.phase is not Phase.STOPPING
            is_kept = stay.keep_alive_s == math.inf
            assert stay.phase is Phase.LOADING or not is_kept  # a load that nobody waits for ends
            self.put(stay, phase=Phase.STOPPING)
        for key in todo.load:
            assert key not in self.stays
            assert any(ticket.key == key for ticket in self.queue)
            index = KEYS.index(key)
            self.stays[key] = Stay(
                key,
                Phase.LOADING,
                leases=0,
                need_bytes=self.needs[index],
                used_s=self.now_s,
                granted_s=None,
                keep_alive_s=self.keep_alive_s[index],
            )
        assert len(self.stays) <= self.places

    def finish(self) -> None:
        """Nobody comes any more: what is there ends in its time, and everybody is answered."""
        for _ in range(20 * len(KEYS)):
            for verb in ("exited", "loaded", "release"):
                self.now_s += 0.01
                self.act(verb, 0)
                while verb == "release" and self.pick(0, Phase.READY, is_busy=True):
                    self.act(verb, 0)
            if not self.queue:
                break
        assert self.queue == []
        assert sorted(self.answered) == list(range(1, self.arrived + 1))


@given(
    places=st.integers(1, 3),
    needs=st.lists(st.integers(1, 60), min_size=4, max_size=4),
    keep_alive_s=st.lists(st.sampled_from([0.0, 5.0, 300.0, math.inf]), min_size=4, max_size=4),
    actions=st.lists(ACTIONS, max_size=80),
)
def test_nobody_is_evicted_busy_answered_twice_or_left_waiting(
    places: int,
    needs: list[int],
    keep_alive_s: list[float],
    actions: list[tuple[str, int]],
) -> None:
    day = Day(places, needs, keep_alive_s)
    for verb, number in actions:
        day.act(verb, number)
    day.finish()
