"""Decides each step: who runs, with which rows, from which cached prefix; then accounts for it.

``plan`` decides, the backend computes, ``settle`` accounts. Nothing else may be called between a
plan and its settling. What happened is collected and handed over by ``take_events``. Every id
that was submitted gets exactly one last event, ``Ended`` or ``Failed``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Any

from runner.engine.admission import follow, is_following, refuse
from runner.engine.backend import (
    Bind,
    GeneratorId,
    Outcome,
    Plan,
    Prefill,
    Sampled,
    Score,
    SlotId,
    StepResult,
    Stop,
    changed_slots,
)
from runner.engine.events import EndReason, Event, Failed, Piece, SequenceId, Totals
from runner.engine.limits import Capacity, Policy
from runner.engine.pace import Pace
from runner.engine.prefix import NO_MATCH, Match
from runner.engine.running import Running
from runner.engine.sequence import Phase, Sequence, SequenceRequest
from runner.engine.slots import Slots
from runner.engine.speculation import Speculation
from runner.engine.waiting import Waiting
from runner.errors import Kind

REASONS: dict[Stop, EndReason] = {Stop.EOS: "eos", Stop.STOP: "stop", Stop.LENGTH: "length"}


class Scheduler:
    """The whole policy of one loaded model. Pure: the time comes in as ``now_s``."""

    def __init__(self, capacity: Capacity, policy: Policy | None = None) -> None:
        self._capacity = capacity
        self._policy = policy = policy or Policy()
        self._slots = Slots(capacity, policy)
        self._pace = pace = Pace(
            policy, batch_size=capacity.batch_size, is_mixed=capacity.shares_cells
        )
        self._speculation = Speculation(policy, capacity, pace)
        self._sequences: dict[SequenceId, Sequence] = {}  # all that have no last event yet
        self._waiting = Waiting()
        self._running = Running(turn_s=policy.turn_s, score_rows=capacity.score_rows)
        self._deadlines: list[tuple[float, SequenceId]] = []
        self._admitted = 0
        # Cells ran out: nobody is admitted until somebody leaves, or the two would alternate.
        self._is_crowded = False
        self._events: list[Event] = []
        self.totals = Totals()

    # ---- arrivals and departures ---------------------------------------------------------------

    def submit(self, request: SequenceRequest) -> None:
        """Queue a request, or fail it at once: queue full, empty prompt, prompt over the context.

        Raises ValueError for an id that is still in use.
        """
        if request.id in self._sequences:
            raise ValueError(f"sequence {request.id} was submitted twice")
        refusal = refuse(
            request,
            self._capacity,
            policy=self._policy,
            live=len(self._sequences),
            waiting=len(self._waiting),
        )
        if refusal is not None:
            self._events.append(refusal)
            return
        sequence = Sequence(request, list(request.prompt))
        self._sequences[request.id] = sequence
        self._waiting.add(sequence)
        if request.deadline_s is not None:
            heapq.heappush(self._deadlines, (request.deadline_s, request.id))

    def cancel(
        self,
        id: SequenceId,
        *,
        kind: Kind = Kind.CANCELLED,
        message: str = "the request was cancelled",
    ) -> None:
        """End a request early; its last event is ``Failed``. Unknown and ended ids are ignored."""
        sequence = self._sequences.get(id)
        if sequence is not None:
            self._fail(sequence, kind, message)

    def expire(self, now_s: float) -> None:
        """Fail the requests whose deadline has passed."""
        while self._deadlines and self._deadlines[0][0] <= now_s:
            deadline_s, id = heapq.heappop(self._deadlines)
            sequence = self._sequences.get(id)
            if sequence is not None and sequence.request.deadline_s == deadline_s:
                self._fail(sequence, Kind.TIMEOUT, "the request's deadline passed")

    def take_events(self) -> list[Event]:
        """Hand over what happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # ---- the step ------------------------------------------------------------------------------

    def plan(self, now_s: float) -> Plan | None:
        """Decide the next step; None when there is nothing to compute."""
        self.expire(now_s)
        running = self._running
        patience_s = self._pace.patience_s(len(running.decoding))
        self._slots.prepare(patience_s, row_s=self._pace.row_s)
        for sequence in running.prompts.values():
            if sequence.pass_mark():
                self._slots.checkpoint(sequence.slot, sequence.text(), is_last=not sequence.marks)
        if self._waiting:
            self._admit(now_s)
        while self._slots.room(len(running.decoding)) < len(running.decoding):
            self._preempt(running.youngest())
        running.take_turn(now_s)
        prefill = self._prompt_rows() if running.prompts else ()
        while not prefill and not running.decode:  # no cells for prompts with these adapters
            if not running.take_turn(now_s, is_idle=True):
                assert not running.prompts, "an admitted prompt has no cells though nobody decodes"
                return None
            prefill = self._prompt_rows() if running.prompts else ()
        decode = running.decode
        drafts: tuple[int, ...] = ()
        if not running.prompts:  # their rows are of more use than guesses
            spare_rows = min(self._slots.free_cells, self._capacity.batch_size) - len(decode)
            drafts = self._speculation.drafts(decode, running.decoding, spare_rows=spare_rows)
        return Plan(self._slots.take_operations(), decode, prefill, drafts, running.adapters)

    def settle(self, plan: Plan, result: StepResult, now_s: float) -> None:
        """Account for a step that the backend has run."""
        self.totals.steps += 1
        self._slots.confirm(plan.memory, result)
        match result.outcome:
            case Outcome.OK:
                self._pace.learn(plan, result)
                self._account(plan, result, now_s)
            case Outcome.FULL:
                self._relieve(now_s)
            case Outcome.LOST:
                self._begin_anew(result.lost)
            case Outcome.ABORTED:
                self._give_up(plan, Kind.UNAVAILABLE, "the step was aborted", now_s)
            case Outcome.FAILED:
                message = f"the engine could not compute a step: {result.message}"
                self._give_up(plan, Kind.INTERNAL, message, now_s)

    # ---- figures -------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Sequences in a slot."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences without one."""
        return len(self._waiting)

    @property
    def cells_used(self) -> int:
        """KV cells that hold tokens, of cached texts as well."""
        return self._slots.tree.cells

    @property
    def prefixes(self) -> Slots:
        """What is cached: for those who keep texts beyond the life of the memory."""
        return self._slots

    def check(self) -> None:
        """Assert the invariants of the books. For tests, after every call."""
        self._slots.check()
        assert self.running <= self._capacity.parallel, "too many run"
        limit = self._capacity.parallel + self._policy.max_queue
        assert len(self._sequences) <= limit, "too many wait"
        self._running.check()
        known = sorted(s.request.id for s in (*self._waiting, *self._running))
        assert known == sorted(self._sequences), "an id is lost or has two states"
        assert all(s.phase is Phase.WAITING for s in self._waiting)
        for sequence in self._running:
            assert 0 <= sequence.accepted <= sequence.drafted, "more guesses right than made"
            held = self._slots.tree.tokens(sequence.slot)
            assert held == sequence.tokens[: sequence.computed], "the slot holds another text"

    # ---- admission -----------------------------------------------------------------------------

    def _admit(self, now_s: float) -> None:
        """Start waiting sequences while there is a place, and cells for the next in line."""
        while self.running < self._capacity.parallel and not self._is_crowded:
            found = self._next()
            if found is None:
                return
            sequence, match = found
            if self.running and not self._slots.fits(match, self._cells_needed(sequence, match)):
                return  # nobody overtakes it, or long prompts would wait for ever
            is_copied = self._start(sequence, match, now_s)
            if is_copied and self._running.decoding:
                return  # copying takes time: one a step while others wait for tokens

    def _next(self) -> tuple[Sequence, Match] | None:
        """Find the first in line that has no reason to wait for another one's prompt."""
        can_trim, pauses = self._capacity.can_trim, self._capacity.saves_in_passing
        gain = max(self._policy.follow_min_tokens, self._slots.copy_min_tokens)
        gain = max(gain, self._policy.pause_min_tokens) if pauses else gain
        leaders = tuple(self._running.prompts.values()) if can_trim or pauses else ()
        for sequence in self._waiting:
            if is_following(sequence):
                continue
            match = NO_MATCH
            if not sequence.was_lost:
                adapters = sequence.request.adapters
                match = self._slots.find(sequence.tokens, sequence.reusable, adapters)
            if not follow(sequence, match, leaders, gain=gain, can_trim=can_trim):
                return sequence, match
        return None

    def _cells_needed(self, sequence: Sequence, match: Match) -> int:
        """Cells for its own rows, for rows promised to running prompts, and some to grow."""
        headroom = sequence.growth(self._policy.headroom_tokens)
        return self._running.rows_left() + len(sequence.tokens) - match.shared + headroom

    def _start(self, sequence: Sequence, match: Match, now_s: float) -> bool:
        """Give a waiting sequence its slot; say whether another slot's content was copied."""
        request = sequence.request
        self._waiting.admit(sequence)
        slot, kept, is_copied, marks = self._slots.take(
            sequence.tokens, sequence.reusable, match, request.adapters
        )
        sequence.slot, sequence.computed, sequence.marks = slot, kept, marks
        if sequence.order < 0:
            sequence.order, sequence.started_s = self._admitted, now_s
            self._admitted += 1
        if not sequence.has_begun:
            sequence.cached = kept
        if request.generator is not None:
            tail = request.prompt[max(0, len(request.prompt) - request.tail_tokens) :]
            self._slots.note(Bind(request.generator, slot, sequence.prompt_end, tail))
        if kept == sequence.prompt_end:
            self._running.begin_decode(sequence)  # preempted, and all it had is still cached
        else:
            self._running.begin_prompt(sequence)
        return is_copied

    # ---- rows ----------------------------------------------------------------------------------

    def _prompt_rows(self) -> tuple[Prefill, ...]:
        """Cut the next rows from the running prompts."""
        running = self._running
        decode_rows = len(running.decoding)  # with other adapters, too: they wait for this step
        rows = self._pace.prompt_rows(decode_rows, prompts=len(running.prompts))
        rows = min(rows, running.rows_left())
        room = self._slots.room(decode_rows + max(rows, running.widest())) - decode_rows
        return running.cut(min(rows, room), room)

    def _preempt(self, sequence: Sequence) -> None:
        """Take the slot from a sequence and put it back in line with all its tokens."""
        self._leave_slot(sequence, keep=sequence.request.shares_prefix)
        sequence.phase, sequence.computed = Phase.WAITING, 0
        self._waiting.put_back(sequence)
        self._is_crowded = True

    # ---- accounting ----------------------------------------------------------------------------

    def _account(self, plan: Plan, result: StepResult, now_s: float) -> None:
        firsts: dict[GeneratorId, Sequence] = {}
        scores = iter(result.scores)
        for part in plan.prefill:
            sequence = self._advance(part, now_s, scores)
            if part.generator is not None:
                firsts[part.generator] = sequence
        if result.drafted:
            self.totals.drafted += sum(result.drafted)
            self.totals.accepted += self._speculation.account(plan, result, self._running.decoding)
        self.totals.completion_tokens += len(result.sampled)
        decoding, hold, tell = self._running.decoding, self._slots.append, self._events.append
        context_size = self._capacity.context_size
        for sampled in result.sampled:  # the only work for each token: nothing is called twice
            generator, token, text, stop, _, logprob, top = sampled
            found = decoding.get(generator)
            if found is None:
                found = firsts[generator]
                found.first_token_s = now_s
                self._running.begin_decode(found)
            else:  # the token before it was fed
                hold(found.slot, (found.tokens[-1],))
                found.computed += 1
            found.tokens.append(token)
            found.generated += 1
            if text or stop is None or stop is Stop.LENGTH:
                tell(Piece(found.request.id, text, token, logprob, top))
            if stop is not None:
                self._stop(found, sampled, now_s)
            elif found.computed >= context_size:
                self._end(found, "context", now_s)

    def _advance(self, part: Prefill, now_s: float, scores: Iterator[Score]) -> Sequence:
        """Note that rows of a prompt are in its slot."""
        sequence = self._running.prompts[part.slot]
        self._slots.append(part.slot, part.tokens)
        sequence.computed += len(part.tokens)
        sequence.scores += islice(scores, sum(token >= 0 for token in part.scored))
        if not sequence.has_begun and sequence.is_scored:
            sequence.has_begun = True
            self.totals.prompt_tokens += len(sequence.request.prompt)
            self.totals.cached_tokens += sequence.cached
            self._events.append(sequence.begun())
        if sequence.computed == sequence.prompt_end:
            if sequence.generated:
                self._running.begin_decode(sequence)
            elif sequence.request.generator is None:
                sequence.first_token_s = now_s
                self._end(sequence, "length", now_s)
        return sequence

    def _stop(self, sequence: Sequence, last: Sampled, now_s: float) -> None:
        assert last.stop is not None
        if last.stop is Stop.GRAMMAR:
            message = "the grammar allows no token after what was generated"
            self._fail(sequence, Kind.INVALID_REQUEST, message, param="response_format")
        else:
            self._end(sequence, REASONS[last.stop], now_s, stop_index=last.stop_index)

    def _relieve(self, now_s: float) -> None:
        """The backend found no cells where the books said there were: make room and go on.

        Every call takes a cached text or a running sequence away, so it cannot repeat for ever.
        """
        if self._slots.evict():
            return
        youngest = self._running.youngest()
        if self.running > 1:
            self._preempt(youngest)
        elif youngest.phase is Phase.DECODE:
            self._end(youngest, "context", now_s)
        else:
            message = "the model's memory has no room for this prompt, although nothing else runs"
            self._fail(youngest, Kind.UNAVAILABLE, message)

    def _begin_anew(self, lost: tuple[SlotId, ...]) -> None:
        """Put those back in line whose slots have no text, whatever the books say.

        Each is to compute what it has; and every call empties a slot, so it comes to an end.
        """
        for sequence in tuple(self._running):
            if sequence.slot in lost:
                self._leave_slot(sequence, keep=False)
                sequence.phase, sequence.computed, sequence.was_lost = Phase.WAITING, 0, True
                self._waiting.put_back(sequence)
        self._slots.forget(lost)

    def _give_up(self, plan: Plan, kind: Kind, message: str, now_s: float) -> None:
        """Fail everyone the step touched: nobody knows how far the backend came with it."""
        touched = changed_slots(plan.memory) | {part.slot for part in plan.prefill}
        touched.update(self._running.decoding[generator].slot for generator in plan.decode)
        for sequence in tuple(self._running):
            if sequence.slot in touched:
                self._fail(sequence, kind, message)
        self._slots.forget(touched)

    # ---- endings -------------------------------------------------------------------------------

    def _end(
        self, sequence: Sequence, reason: EndReason, now_s: float, *, stop_index: int | None = None
    ) -> None:
        self._leave(sequence)
        self._events.append(sequence.ended(reason, now_s, stop_index=stop_index))

    def _fail(self, sequence: Sequence, kind: Kind, message: str, **more: Any) -> None:
        self._leave(sequence)
        self._events.append(Failed(sequence.request.id, kind, message, **more))

    def _leave(self, sequence: Sequence) -> None:
        del self._sequences[sequence.request.id]
        if sequence.phase is Phase.WAITING:
            self._waiting.remove(sequence)
        else:
            self._leave_slot(sequence, keep=sequence.request.shares_prefix)
            self._is_crowded = False
        sequence.phase = Phase.ENDED

    def _leave_slot(self, sequence: Sequence, *, keep: bool) -> None:
        self._running.remove(sequence)
        self._slots.release(sequence.slot, keep=keep)
