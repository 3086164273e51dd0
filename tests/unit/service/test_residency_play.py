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

    def __init__(
        self, places: int, needs: list[int], keep_alive_s: list[float], gpu: int | None
    ) -> None:
        self.places, self.needs, self.keep_alive_s, self.gpu = places, needs, keep_alive_s, gpu
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
        id, need = TicketId(self.arrived), self.needs[index]
        self.queue.append(Ticket(id, KEYS[index], need, self.now_s, device_bytes=need))

    def do_leave(self, number: int) -> None:
        if self.queue:
            self.answered.append(self.queue.pop(number % len(self.queue)).id)

    def do_release(self, number: int) -> None:
        if stay := self.pick(number, Phase.READY, is_busy=True):
            self.put(stay, leases=stay.leases - 1, used_s=self.now_s)

    def do_loaded(self, number: int) -> None:
        if stay := self.pick(number, Phase.LOADING):
            there = min(stay.need_bytes, self.on_gpu or 0)  # the rest is on the CPU
            self.put(stay, phase=Phase.READY, used_s=self.now_s, device_bytes=there)

    def do_exited(self, number: int) -> None:
        if stay := self.pick(number, Phase.STOPPING):
            del self.stays[stay.key]

    def do_crash(self, number: int) -> None:
        if stay := self.pick(number, Phase.READY):
            del self.stays[stay.key]

    def do_pass(self, number: int) -> None:
        self.now_s += number / 10

    @property
    def on_gpu(self) -> int | None:
        """What is free on the GPU: loads take theirs when they are over."""
        if self.gpu is None:
            return None
        loaded = (stay for stay in self.stays.values() if stay.phase is not Phase.LOADING)
        return self.gpu - sum(stay.device_bytes for stay in loaded)

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
        room = Room(
            self.places,
            available_bytes=MEMORY - taken + loading,
            device_free_bytes=self.on_gpu,
            wait_s=1e9,
        )
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
                device_bytes=self.needs[index],
            )
        assert len(self.stays) <= self.places
        assert not todo.load or sum(stay.need_bytes for stay in self.stays.values()) <= MEMORY

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
    needs=st.lists(st.integers(1, 20) | st.integers(1, 60), min_size=4, max_size=4),
    keep_alive_s=st.lists(st.sampled_from([0.0, 5.0, 300.0, math.inf]), min_size=4, max_size=4),
    gpu=st.none() | st.integers(0, 30),
    actions=st.lists(ACTIONS, max_size=80),
)
def test_nobody_is_evicted_busy_answered_twice_or_left_waiting(
    places: int,
    needs: list[int],
    keep_alive_s: list[float],
    gpu: int | None,
    actions: list[tuple[str, int]],
) -> None:
    day = Day(places, needs, keep_alive_s, gpu)
    for verb, number in actions:
        day.act(verb, number)
    day.finish()


STAYS = st.builds(
    Stay,
    key=st.just(KEYS[0]),
    phase=st.sampled_from([Phase.READY, Phase.READY, *Phase]),
    leases=st.sampled_from([0, 0, 1]),
    need_bytes=st.integers(0, 20),
    used_s=st.integers(90, 100).map(float),
    granted_s=st.none() | st.just(90.0),
    keep_alive_s=st.sampled_from([300.0, 300.0, math.inf]),
    device_bytes=st.sampled_from([0, 5, 10, 20]),
)


@given(
    stays=st.lists(STAYS, max_size=3),
    asked=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    need=st.sampled_from([0, 10, 20]),
    available=st.none() | st.integers(0, 60),
    on_gpu=st.sampled_from([-5, 0, 10, 30]),
)
def test_a_full_gpu_refuses_nobody_and_no_model_is_loaded_while_idle_ones_could_make_room(
    stays: list[Stay], asked: list[int], need: int, available: int | None, on_gpu: int
) -> None:
    stays = [replace(stay, key=key) for key, stay in zip(KEYS, stays, strict=False)]
    tickets = [
        Ticket(TicketId(id), KEYS[index], need, 100.0, device_bytes=need)
        for id, index in enumerate(asked)
    ]
    room = Room(4, available_bytes=available, device_free_bytes=on_gpu)
    todo = plan(stays, tickets, room=room, now_s=100.0)
    blind = plan(stays, tickets, room=replace(room, device_free_bytes=None), now_s=100.0)
    assert todo.refuse == blind.refuse
    loading = sum(stay.device_bytes for stay in stays if stay.phase is Phase.LOADING)
    is_short = need > 0 and on_gpu - loading < need * len(todo.load)
    wanted = {KEYS[index] for index in asked}
    for stay in stays:
        could_go = stay.phase is Phase.STOPPING or stay.keep_alive_s != math.inf
        is_idle = not stay.leases and stay.key not in wanted and stay.device_bytes > 0
        if todo.load and is_short and could_go and is_idle:
            assert stay.key in todo.evict
