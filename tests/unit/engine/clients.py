"""Clients that send one request after another to an engine whose steps take made-up times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import quantiles

from runner.engine.events import Ended, Failed, Piece
from runner.engine.fake import FakeBackend
from runner.engine.limits import Capacity, Policy
from runner.engine.scheduler import Scheduler
from runner.engine.sequence import SequenceRequest

StepCost = Callable[[int, int], float]  # seconds, of decode rows and prompt rows


@dataclass(frozen=True)
class Request:
    """Sent ``start_s`` after the client's last one ended, the first after the beginning."""

    prompt_tokens: int
    max_tokens: int
    start_s: float = 0.0


@dataclass
class Seen:
    """What one request saw, in seconds of the simulation."""

    client: int
    sent_s: float
    tokens_s: list[float] = field(default_factory=list)

    @property
    def first_s(self) -> float:
        """Time to the first token."""
        return self.tokens_s[0] - self.sent_s

    @property
    def gaps_s(self) -> list[float]:
        """Times between its tokens."""
        return [b - a for a, b in pairwise(self.tokens_s)]


@dataclass
class Outcome:
    """What all clients saw."""

    seen: list[Seen]
    wall_s: float
    pieces: list[tuple[int, int]]  # decode and prompt rows of each step with a prompt

    @property
    def rate(self) -> float:
        """Generated tokens a second."""
        return sum(len(one.tokens_s) for one in self.seen) / self.wall_s

    def first_s(self, clients: Iterable[int]) -> float:
        """95th percentile of the clients' times to the first token."""
        wanted = set(clients)
        return p95([one.first_s for one in self.seen if one.client in wanted])

    def longest_gap_s(self, clients: Iterable[int]) -> float:
        """The longest of the clients' gaps."""
        wanted = set(clients)
        return max(gap for one in self.seen if one.client in wanted for gap in one.gaps_s)


def p95(values: list[float]) -> float:
    """95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def simulate(
    clients: list[list[Request]],
    cost: StepCost,
    *,
    limits: Capacity,
    policy: Policy | None = None,
    names: Callable[[int], str] = str,
) -> Outcome:
    """Run every client's requests in turn, all clients at a time."""
    backend = FakeBackend(limits, cost_s=cost, can_end=False)
    scheduler = Scheduler(limits, policy)
    due = [(queue[0].start_s, number) for number, queue in enumerate(clients)]
    left = [deque(queue) for queue in clients]
    seen: list[Seen] = []
    outcome = Outcome(seen, 0.0, [])
    now_s = 0.0
    while due or scheduler.running or scheduler.waiting:
        for entry in sorted(due):
            start_s, number = entry
            if start_s > now_s:
                break
            due.remove(entry)
            request = left[number].popleft()
            prompt = tuple(1000 * len(seen) + at % 1000 for at in range(request.prompt_tokens))
            generator = backend.new_generator(max_tokens=request.max_tokens)
            scheduler.submit(
                SequenceRequest(
                    len(seen), prompt, generator, request.max_tokens, client=names(number)
                )
            )
            seen.append(Seen(number, start_s))
        plan = scheduler.plan(now_s)
        if plan is None:
            now_s = min(due)[0]
            continue
        if plan.prefill:
            rows = sum(len(part.tokens) for part in plan.prefill)
            outcome.pieces.append((len(plan.decode), rows))
        result = backend.run(plan)
        now_s += result.duration_s
        scheduler.settle(plan, result, now_s)
        for event in scheduler.take_events():
            if isinstance(event, Piece):
                seen[event.id].tokens_s.append(now_s)
            elif isinstance(event, Ended | Failed):
                number = seen[event.id].client
                if left[number]:
                    due.append((now_s + left[number][0].start_s, number))
    outcome.wall_s = now_s
    return outcome
