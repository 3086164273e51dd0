"""What the backend can hold, and what the policy aims at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the backend can hold. Raises ValueError for numbers that cannot be true together.

    ``cells`` is the KV of all slots together. With ``shares_cells`` (unified KV) any slot may use
    all of them and a copied prefix costs none; without (one stream a slot) each slot has room
    for ``context_size`` tokens of its own and a copy takes time. ``can_trim`` False: the memory
    forgets a whole sequence or nothing (recurrent models, window-sized caches). ``can_guess``: it
    forgets at least guesses that were wrong, within the step.

    ``prefix_bytes`` may hold saved texts (0: none are saved), each of which takes ``state_bytes``
    and ``token_bytes`` a token. With a sliding window of ``window_tokens`` (0: none) each token
    before the window takes ``window_token_bytes`` less, and the text cannot be cut.

    A step has room for the scores of ``score_rows`` rows of prompts, whatever else it computes.
    """

    slots: int
    parallel: int
    cells: int
    context_size: int
    batch_size: int
    shares_cells: bool
    can_trim: bool = True
    can_guess: bool = True
    prefix_bytes: int = 0
    state_bytes: int = 0
    token_bytes: int = 0
    window_tokens: int = 0
    window_token_bytes: int = 0
    score_rows: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.parallel <= min(self.slots, self.batch_size):
            raise ValueError("parallel must be 1 to the number of slots and of batch rows")
        needed = self.context_size if self.shares_cells else self.context_size * self.slots
        if self.context_size < 2 or self.cells < needed:
            raise ValueError(f"context_size {self.context_size} needs {needed} cells")

    @property
    def saves_in_passing(self) -> bool:
        """Whether prompts pause to have their state saved: nothing else lets others begin there."""
        return self.prefix_bytes > 0 and not self.can_trim

    def saved_bytes(self, length: int) -> int:
        """Bytes that a saved text of ``length`` tokens takes, at most."""
        passed = max(0, length - self.window_tokens) if self.window_tokens else 0
        return self.state_bytes + self.token_bytes * length - self.window_token_bytes * passed


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be tuned. Tokens, seconds and counts."""

    target_gap_s: float = 0.1  # between two tokens of a stream while prompts are computed
    max_step_s: float = 1.0  # of a step without streams: cancels and newcomers wait for its end
    max_queue: int = 256  # sequences waiting before new ones are refused
    copy_min_tokens: int = 16  # copying a stream costs as much as computing so many, or less
    follow_min_tokens: int = 16  # worth waiting for when a running prompt computes them
    save_min_tokens: int = 32  # a text that loses so few tokens with its slot is not worth saving
    pause_min_tokens: int = 64  # between two places of a prompt where its state is saved
    stride_tokens: int = 512  # between two such places that nothing speaks for, or a multiple
    headroom_tokens: int = 64  # cells free beyond a prompt before it is admitted
    turn_s: float = 0.05  # of one set of adapters while sequences with another run, too
    draft_tokens: int = 0  # most guesses a stream and step; 0: no speculation
