"""Who is loaded, who waits, who must go: one pure function from what is to what to do.

The rules, for a queue in order of arrival:

1. A loaded model is granted at once, unless someone who came earlier needs its place.
2. A model that has just loaded is granted to all who wait for it then, so that many requests for
   few places cost one load each time round, not one load each.
3. A model that is not resident takes a free place, else the place of the idle model used longest
   ago, else it reserves the busy model granted longest ago. A reserved model gets no new grants:
   it falls idle, is evicted, and nobody starves. A busy model is never evicted. What an idle one
   leaves beyond what is needed counts for the next in the queue.
4. What nobody waits for causes nothing: when a waiter leaves, its reservation was never made.
5. A model that needs more memory than there would be without all others is refused at once.
6. A model whose load ran out of memory is loaded once more, when every idle model has gone.
7. A model that a GPU has not the memory for makes idle models on it go. It is loaded when they
   have: with as many layers there as fit. Nobody waits for a busy model for that, or is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

ModelKey = NewType("ModelKey", str)  # the stored model's digest
TicketId = NewType("TicketId", int)


class Phase(StrEnum):
    """Where a resident model is in its stay."""

    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


class Refusal(StrEnum):
    """Why a waiter is sent away."""

    PINNED = "pinned"  # models that are kept for ever hold every place, or the memory
    TOO_LARGE = "too large"  # an empty machine would not have the memory
    WAITED = "waited"  # no place came free in time


@dataclass(frozen=True, slots=True)
class Stay:
    """One resident model. Times are monotonic seconds."""

    key: ModelKey
    phase: Phase
    leases: int
    need_bytes: int
    used_s: float  # when it last was in use or waited for
    granted_s: float | None  # when someone last got it; None: nobody yet
    keep_alive_s: float  # math.inf: kept until unloaded by name
    device_bytes: int = 0  # of a GPU's memory


@dataclass(frozen=True, slots=True)
class Ticket:
    """One waiting request."""

    id: TicketId
    key: ModelKey
    need_bytes: int
    since_s: float
    device_bytes: int = 0  # of a GPU's memory, to have all layers there


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to share."""

    max_loaded: int
    available_bytes: int | None = None  # of memory, now; None: not known
    device_free_bytes: int | None = None  # of GPUs' memory, now; None: not known, or no GPU
    wait_s: float = 300.0  # for a place; a load that has begun is not counted
    linger_s: float = 5.0  # how long a load goes on that nobody waits for
    squeezed: frozenset[ModelKey] = frozenset()  # whose last load ran out of memory


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to ask again at the latest."""

    grant: tuple[TicketId, ...] = ()
    refuse: tuple[tuple[TicketId, Refusal], ...] = ()
    load: tuple[ModelKey, ...] = ()
    evict: tuple[ModelKey, ...] = ()
    wake_s: float | None = None


def most_bytes(stays: Iterable[Stay], available_bytes: int) -> int:
    """Count the memory that a model could have at most, if all others went.

    A load under way may have taken its part already, or not: the count is exact when it is over.
    """
    return available_bytes + sum(stay.need_bytes for stay in stays)


def plan(stays: Iterable[Stay], queue: Sequence[Ticket], *, room: Room, now_s: float) -> Plan:
    """Decide. ``queue`` is in order of arrival; equal input gives an equal plan."""
    books = _Books(list(stays), queue, room=room, now_s=now_s)
    for ticket in queue:
        books.serve(ticket)
    books.expire()
    return Plan(
        grant=tuple(books.grants),
        refuse=tuple(books.refusals),
        load=tuple(books.loads),
        evict=tuple(books.evictions),
        wake_s=books.wake_s(),
    )


@dataclass(slots=True)
class _Seat:
    """A stay while the plan is made."""

    stay: Stay
    wanted: int  # tickets of the whole queue
    leases: int
    is_leaving: bool
    is_claimed: bool = False  # its place is promised to a waiter

    @property
    def is_fresh(self) -> bool:
        return self.stay.phase is Phase.READY and self.stay.granted_s is None

    @property
    def is_idle(self) -> bool:
        if self.stay.phase is Phase.LOADING or self.is_fresh:
            return not (self.wanted or self.leases)
        return not self.leases

    @property
    def is_pinned(self) -> bool:
        return self.stay.keep_alive_s == math.inf and not self.is_leaving

    @property
    def accepts(self) -> bool:
        """Whether a ticket gets it now."""
        is_ready = self.stay.phase is Phase.READY and not self.is_leaving
        return is_ready and (self.is_fresh or not self.is_claimed)


@dataclass(slots=True)
class _Stock:
    """One thing to share: what there is of it now, and what those who leave give beside."""

    now: float  # math.inf: not known
    coming: float = 0

    @property
    def whole(self) -> float:
        return self.now + self.coming

    def reserve(self, need: float, given: float) -> None:
        """Take ``need`` for one who waits; ``given`` comes from those who leave for it."""
        left = self.whole + given - need
        self.now = self.now - need if need <= self.now else min(self.now, 0)
        self.coming = left - self.now if left < math.inf else 0


class _Books:
    """The account of one planning pass."""

    def __init__(
        self, stays: Sequence[Stay], queue: Sequence[Ticket], *, room: Room, now_s: float
    ) -> None:
        self.grants: list[TicketId] = []
        self.refusals: list[tuple[TicketId, Refusal]] = []
        self.loads: list[ModelKey] = []
        self.evictions: list[ModelKey] = []
        self._waiting: list[Ticket] = []
        self._promised: set[ModelKey] = set()  # absent models that load or hold claims
        self._room, self._now_s = room, now_s
        available = room.available_bytes  # not yet less what loads are going to take
        loading = [stay for stay in stays if stay.phase is Phase.LOADING]
        self._places = _Stock(room.max_loaded - len(stays))
        self._memory = _Stock(_known(available) - sum(stay.need_bytes for stay in loading))
        on_device = sum(stay.device_bytes for stay in loading)
        self._device = _Stock(max(0, _known(room.device_free_bytes) - on_device))
        self._is_clearing = False  # models leave a GPU
        self._most_bytes = math.inf if available is None else most_bytes(stays, available)
        wanted = Counter(ticket.key for ticket in queue)
        self._seats = {
            stay.key: _Seat(stay, wanted[stay.key], stay.leases, stay.phase is Phase.STOPPING)
            for stay in stays
        }

    def serve(self, ticket: Ticket) -> None:
        """Grant, refuse, or let wait; for an absent model ask for room."""
        seat = self._seats.get(ticket.key)
        if seat is not None and seat.accepts:
            seat.leases += 1
            self.grants.append(ticket.id)
        elif seat is not None and seat.stay.phase is Phase.LOADING and not seat.is_leaving:
            return  # granted when it is loaded; a load has its own limits
        elif self._now_s - ticket.since_s >= self._room.wait_s:
            self.refusals.append((ticket.id, Refusal.WAITED))
        elif seat is not None or ticket.key in self._promised:
            self._waiting.append(ticket)
        else:
            self._ask_for_room(ticket)

    def expire(self) -> None:
        """Evict what outlived its keep-alive, and loads nobody waits for any more."""
        for seat in self._seats.values():
            due_s = self._due_s(seat)
            if due_s is not None and due_s <= self._now_s:
                self._evict(seat)

    def wake_s(self) -> float | None:
        """Say when time alone will change the plan."""
        due = [self._due_s(seat) for seat in self._seats.values()]
        due += [ticket.since_s + self._room.wait_s for ticket in self._waiting]
        return min((at_s for at_s in due if at_s is not None), default=None)

    def _ask_for_room(self, ticket: Ticket) -> None:
        refusal = self._refusal(ticket.need_bytes)
        if refusal is not None:
            self.refusals.append((ticket.id, refusal))
            return
        claims = self._claims(ticket)
        if not claims and self._is_there(ticket):
            self.loads.append(ticket.key)
        else:
            self._waiting.append(ticket)
        self._promised.add(ticket.key)
        self._take(claims, ticket)

    def _refusal(self, need_bytes: int) -> Refusal | None:
        """Say why waiting would be in vain, if it would."""
        pinned = [seat.stay for seat in self._seats.values() if seat.is_pinned]
        held_bytes = sum(stay.need_bytes for stay in pinned)
        if need_bytes > self._most_bytes:
            return Refusal.TOO_LARGE
        if len(pinned) >= self._room.max_loaded or need_bytes > self._most_bytes - held_bytes:
            return Refusal.PINNED
        return None

    def _is_there(self, ticket: Ticket) -> bool:
        """Whether a model can be loaded now. For room on a GPU it waits while some comes free."""
        is_there = self._places.now > 0 and ticket.need_bytes <= self._memory.now
        return is_there and (ticket.device_bytes <= self._device.now or not self._is_clearing)

    def _claims(self, ticket: Ticket) -> list[_Seat]:
        """List whose places this model must get."""
        places, memory, device = self._places.whole, self._memory.whole, self._device.whole
        is_squeezed = ticket.key in self._room.squeezed
        claims: list[_Seat] = []
        for seat in self._sources():
            is_enough = places > 0 and ticket.need_bytes <= memory
            is_cramped = seat.stay.device_bytes > 0 and ticket.device_bytes > device
            may_go = seat.is_leaving or seat.is_idle
            if is_enough and not (may_go and (is_squeezed or is_cramped)):
                continue
            claims.append(seat)
            places += 1
            memory += seat.stay.need_bytes
            device += seat.stay.device_bytes
        return claims

    def _sources(self) -> list[_Seat]:
        """Order the seats a waiter may claim: leaving, idle longest, busy and granted longest."""
        seats = [seat for seat in self._seats.values() if not seat.is_claimed]
        leaving = [seat for seat in seats if seat.is_leaving]
        staying = [seat for seat in seats if not (seat.is_leaving or seat.is_pinned)]
        idle = [seat for seat in staying if seat.is_idle]
        busy = [seat for seat in staying if not seat.is_idle and seat.stay.phase is Phase.READY]
        idle.sort(key=lambda seat: (seat.wanted > 0, seat.stay.used_s))
        busy.sort(key=lambda seat: math.inf if seat.is_fresh else seat.stay.granted_s or 0.0)
        return leaving + idle + busy

    def _take(self, claims: list[_Seat], ticket: Ticket) -> None:
        """Enter what one waiter gets. What idle models give beyond that is for the next ones."""
        busy = [seat.stay for seat in claims if not (seat.is_leaving or seat.is_idle)]
        going = [seat.stay for seat in claims if seat.is_leaving or seat.is_idle]
        self._places.reserve(max(0, 1 - len(busy)), len(going))
        rest = max(0, ticket.need_bytes - sum(stay.need_bytes for stay in busy))
        self._memory.reserve(rest, sum(stay.need_bytes for stay in going))
        given = sum(stay.device_bytes for stay in going)
        there = min(ticket.device_bytes, self._device.whole + given)  # the rest is on the CPU
        self._device.reserve(there, given)
        self._is_clearing = self._is_clearing or given > 0
        for seat in claims:
            seat.is_claimed = True
            if seat.is_idle and not seat.is_leaving:
                self._evict(seat)

    def _evict(self, seat: _Seat) -> None:
        seat.is_leaving = True
        self.evictions.append(seat.stay.key)

    def _due_s(self, seat: _Seat) -> float | None:
        if seat.is_leaving or not seat.is_idle:
            return None
        if seat.stay.phase is Phase.LOADING:
            return seat.stay.used_s + self._room.linger_s
        if seat.is_pinned:
            return None
        return seat.stay.used_s + seat.stay.keep_alive_s


def _known(count: int | None) -> float:
    """As much as anybody wants where it is not known how much there is."""
    return math.inf if count is None else count
