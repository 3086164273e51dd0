"""One request inside the engine: what was asked, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from runner.engine.backend import Adapters, GeneratorId, Prefill, Score, SlotId, Span
from runner.engine.events import Begun, Ended, EndReason, SequenceId


class Phase(Enum):
    """Where a sequence is. It leaves PROMPT and DECODE for WAITING when it is preempted."""

    WAITING = "waiting"
    PROMPT = "prompt"  # in a slot; rows of its prompt are still to be computed
    DECODE = "decode"  # its generator has a token to feed
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SequenceRequest:
    """A tokenised prompt with its generator.

    ``generator`` is None to compute the prompt and nothing else. ``tail_tokens`` is how much of the
    prompt's end its penalties look at. ``shares_prefix`` False keeps it apart: it reuses nobody's
    tokens and nobody reuses its own. ``client`` is the fairness key; ``deadline_s`` is on the
    clock of ``now_s``. ``scored_top`` asks how likely each token of the prompt is, and for so many
    likeliest ones at its place; None: not asked.
    """

    id: SequenceId
    prompt: tuple[int, ...]
    generator: GeneratorId | None
    max_tokens: int | None = None
    tail_tokens: int = 64
    shares_prefix: bool = True
    client: str = ""
    deadline_s: float | None = None
    adapters: Adapters = None
    spans: tuple[Span, ...] = ()  # parts of the prompt that are no tokens, in order; not its end
    scored_top: int | None = None


PRIOR_TRIED, PRIOR_RIGHT = 2.0, 1.6  # hopeful, or nothing would be learned; one wrong guess shows
FADING = 0.85  # of what was learned, at each check
FIRST_PATIENCE, MOST_PATIENCE = 16, 1024  # tokens


@dataclass(slots=True)
class Guessing:
    """How good the guesses of one stream's tokens have been lately."""

    tried: float = PRIOR_TRIED
    right: float = PRIOR_RIGHT
    learned_at: int = 0  # tokens generated when the last guess was checked
    patience: int = FIRST_PATIENCE  # tokens after which bad guesses are forgiven, longer each time

    @property
    def is_proven(self) -> bool:
        """Whether guesses were right lately, and not only hoped to be."""
        return self.right > PRIOR_RIGHT

    def learn(self, drafted: int, accepted: int, generated: int) -> None:
        """Note a check. Guesses behind the first wrong one say nothing."""
        self.tried = self.tried * FADING + accepted + (accepted < drafted)
        self.right = self.right * FADING + accepted
        self.learned_at = generated
        if accepted == drafted:
            self.patience = FIRST_PATIENCE

    def share(self, generated: int) -> float:
        """Share of guesses expected to be right, ``generated`` tokens into the text."""
        share = self.right / self.tried
        if share < PRIOR_RIGHT / PRIOR_TRIED and generated - self.learned_at >= self.patience:
            self.tried, self.right, self.learned_at = PRIOR_TRIED, PRIOR_RIGHT, generated
            self.patience = min(2 * self.patience, MOST_PATIENCE)
            return PRIOR_RIGHT / PRIOR_TRIED
        return share


@dataclass(slots=True, eq=False)
class Sequence:
    """The scheduler's notes on one request."""

    request: SequenceRequest
    tokens: list[int]  # the prompt, then what was generated
    phase: Phase = Phase.WAITING
    slot: SlotId = -1  # means nothing while waiting
    computed: int = 0  # tokens with KV cells in the slot
    order: int = -1  # rank of the first admission: the youngest is preempted first
    cached: int = 0  # prompt tokens found in the cache when it began
    generated: int = 0
    drafted: int = 0  # guessed tokens that were checked
    accepted: int = 0  # and were right
    guessing: Guessing = field(default_factory=Guessing, repr=False)
    has_begun: bool = False
    was_lost: bool = False  # what it found in the cache was not there: it looks no more
    started_s: float = 0.0
    first_token_s: float = 0.0
    scores: list[Score] = field(default_factory=list, repr=False)  # of its second token, and on
    marks: list[int] = field(default_factory=list)  # ascending: its state is saved on the way
    leader: Sequence | None = field(default=None, repr=False)  # computes a prefix of ours
    follow_until: int = 0  # tokens of the leader to wait for
    waits_left: int = 4  # leaders it will still wait for: an endless chain would starve it

    @property
    def prompt_end(self) -> int:
        """Tokens to compute before sampling: all but the one its generator will feed itself."""
        return len(self.tokens) - 1 if self.generated else len(self.request.prompt)

    @property
    def reusable(self) -> int:
        """Tokens that may come from the cache: the row that is sampled or fed is computed.

        And so is every row that a score is still to be told of.
        """
        if not self.request.shares_prefix:
            return 0
        return len(self.tokens) - 1 if self.is_scored else len(self.scores)

    @property
    def is_scored(self) -> bool:
        """Whether all scores that were asked for are known."""
        return self.request.scored_top is None or len(self.scores) == len(self.request.prompt) - 1

    def growth(self, most: int) -> int:
        """Tokens it may still generate, as far as ``most``."""
        limit = self.request.max_tokens
        return most if limit is None else min(most, limit - self.generated)

    def next_rows(self, most: int) -> Prefill:
        """Cut the next rows of its prompt; the last of them samples the first token."""
        start, end = self.computed, self.prompt_end
        stop = min(start + most, end, *self.marks[:1])
        span = None
        if self.request.spans:
            span, stop = self._cut_at_spans(start, stop)
        samples = stop == end and not self.generated
        generator = self.request.generator if samples else None
        rows = tuple(self.tokens[start:stop])
        if self.is_scored:
            return Prefill(self.slot, start, rows, generator, span)
        scored, top = self._scored(start, stop), self.request.scored_top or 0
        return Prefill(self.slot, start, rows, generator, span, scored, top)

    def _scored(self, start: int, stop: int) -> tuple[int, ...]:
        """Name the token behind each row, as far as its score is not known and it is the prompt's.

        Rows that were computed before their sequence lost its slot are computed again.
        """
        known, prompt = len(self.scores), self.request.prompt
        return tuple(
            prompt[row + 1] if known <= row < len(prompt) - 1 else -1 for row in range(start, stop)
        )

    def _cut_at_spans(self, start: int, stop: int) -> tuple[Span | None, int]:
        """Let rows be of one kind: end them where a span begins, or within the one they are in."""
        for span in self.request.spans:
            if start < span.start:
                return None, min(stop, span.start)
            if start < span.end:
                return span, span.end if span.is_whole else min(stop, span.end)
        return None, stop

    @property
    def least_rows(self) -> int:
        """Rows of its prompt that the next step has to have: all that look at one another."""
        for span in self.request.spans:
            if span.start <= self.computed < span.end:
                return span.end - self.computed if span.is_whole else 1
        return 1

    def pause_at(self, mark: int) -> None:
        """Have its state saved when so many tokens are computed, too."""
        self.marks = sorted({*self.marks, mark})

    def text(self) -> list[int]:
        """List the tokens that its slot holds."""
        return self.tokens[: self.computed]

    def pass_mark(self) -> bool:
        """Whether its state is to be saved now; asked once at each place."""
        while self.marks and self.marks[0] < self.computed:
            del self.marks[0]  # within rows that had to be computed together
        if not self.marks or self.marks[0] != self.computed:
            return False
        del self.marks[0]
        return True

    def begun(self) -> Begun:
        """Tell that the first rows of its prompt are computed, or all where it is scored."""
        request = self.request
        first = None if request.scored_top is None else request.prompt[0]
        return Begun(request.id, len(request.prompt), self.cached, first, tuple(self.scores))

    def ended(self, reason: EndReason, now_s: float, *, stop_index: int | None) -> Ended:
        """Tell that it is complete."""
        return Ended(
            self.request.id,
            reason,
            prompt_tokens=len(self.request.prompt),
            cached_tokens=self.cached,
            completion_tokens=self.generated,
            prompt_s=self.first_token_s - self.started_s,
            predicted_s=now_s - self.first_token_s,
            stop_index=stop_index,
            drafted=self.drafted,
            accepted=self.accepted,
        )
