"""Sequences without a slot, in the order they get one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from runner.engine.events import SequenceId
from runner.engine.sequence import Sequence


class Waiting:
    """First the preempted, oldest first; then each client's sequences in turn."""

    def __init__(self) -> None:
        self._preempted: dict[SequenceId, Sequence] = {}
        self._clients: dict[str, dict[SequenceId, Sequence]] = {}  # next client first

    def __len__(self) -> int:
        return len(self._preempted) + sum(map(len, self._clients.values()))

    def __iter__(self) -> Iterator[Sequence]:
        yield from self._preempted.values()
        for turn in zip_longest(*(queue.values() for queue in self._clients.values())):
            yield from (sequence for sequence in turn if sequence is not None)

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence behind those of its client."""
        queue = self._clients.setdefault(sequence.request.client, {})
        queue[sequence.request.id] = sequence

    def put_back(self, sequence: Sequence) -> None:
        """Put a preempted sequence before all new ones."""
        self._preempted[sequence.request.id] = sequence
        self._preempted = dict(sorted(self._preempted.items(), key=lambda item: item[1].order))

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out; its client keeps its turn."""
        request = sequence.request
        if self._preempted.pop(request.id, None) is None:
            del self._clients[request.client][request.id]
            if not self._clients[request.client]:
                del self._clients[request.client]

    def admit(self, sequence: Sequence) -> None:
        """Take a sequence out; if it was its client's turn, the other clients come first now."""
        client = sequence.request.client
        is_turn = sequence.request.id not in self._preempted
        self.remove(sequence)
        if is_turn and client in self._clients:
            self._clients[client] = self._clients.pop(client)
