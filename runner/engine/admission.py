"""Who may wait, and who waits for whom: the questions asked before a sequence gets a slot."""

from __future__ import annotations

from collections.abc import Iterable

from runner.engine.events import Failed
from runner.engine.limits import Capacity, Policy
from runner.engine.prefix import Match, common_length
from runner.engine.sequence import Phase, Sequence, SequenceRequest
from runner.errors import Kind, RunnerError


def refuse(
    request: SequenceRequest, capacity: Capacity, *, policy: Policy, live: int, waiting: int
) -> Failed | None:
    """Say why a request cannot even wait, given the counts of live and of waiting ones."""
    length, limit = len(request.prompt), capacity.context_size
    if length == 0:
        return Failed(request.id, Kind.INVALID_REQUEST, "the prompt is empty")
    if length >= limit:
        error = too_long(length, limit)
        return Failed(request.id, error.kind, error.message, hint=error.hint, details=error.details)
    if live >= capacity.parallel + policy.max_queue:
        return Failed(
            request.id,
            Kind.BUSY,
            f"{waiting} requests are waiting for this model already",
            hint="try again in a moment",
            details={"retry_after_s": 1 + waiting // capacity.parallel},
        )
    return None


def too_long(length: int, limit: int, *, is_least: bool = False) -> RunnerError:
    """Say by how much a prompt is over the context; ``is_least``: it has so many tokens or more."""
    count = f"at least {length}" if is_least else str(length)
    return RunnerError(
        Kind.CONTEXT_LENGTH_EXCEEDED,
        f"the prompt has {count} tokens; the context holds {limit}, and the answer needs one",
        hint="shorten the prompt, or raise the limit: python -m runner serve "
        f"--context-size {(length // 1024 + 1) * 1024}",
        details={"n_prompt_tokens": length, "n_ctx": limit},
    )


def is_following(sequence: Sequence) -> bool:
    """Whether the prompt it waits for is still being computed."""
    leader = sequence.leader
    if leader is None:
        return False
    if leader.phase is Phase.PROMPT and leader.computed < sequence.follow_until:
        return True
    sequence.leader = None
    return False


def follow(
    sequence: Sequence,
    match: Match,
    prompts: Iterable[Sequence],
    *,
    gain: int,
    can_trim: bool = True,
) -> bool:
    """Let it wait for a running prompt that will soon hold ``gain`` tokens more than ``match``.

    Sharing what the other computes costs less than computing it beside the other. The number of
    leaders is bounded (``waits_left``), so leaders that keep dying cannot starve it. Without
    ``can_trim`` the other has to pause where the two part, and must not be past that.
    """
    if not sequence.waits_left:
        return False
    for other in prompts:
        is_alike = other.request.adapters == sequence.request.adapters
        if not other.request.shares_prefix or not is_alike:
            continue
        limit = min(sequence.reusable, other.prompt_end - (not can_trim))
        same = common_length(other.tokens, sequence.tokens, 0, limit)
        if same - match.length >= gain and (can_trim or other.computed < same):
            gain = same - match.length
            sequence.leader, sequence.follow_until = other, same
    if sequence.leader is None:
        return False
    sequence.waits_left -= 1
    if not can_trim:
        sequence.leader.pause_at(sequence.follow_until)
    return True
