"""A prompt that begins like an earlier one is tokenised from where the two part.

Each turn of a conversation is sent with all that was said before. To tokenise that again takes
longer than anything else between the arrival of such a request and its first step.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

MIN_CHARS = 2000  # of a text worth remembering
MAX_TEXTS = 32
MAX_CHARS = 2_000_000  # of all texts; with their tokens 10 to 20 MB
MARGIN_CHARS = 256  # more than any special token has


class Vocabulary(Protocol):
    """The part of ``binding.Model`` that is used here."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Tokens of a text."""
        ...

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Bytes of a token; of a control token only with ``special``."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """A text with its tokens, and where it may be cut: (characters, tokens) before a cut."""

    text: str
    tokens: array[int]
    cuts: tuple[tuple[int, int], ...]

    def shared_cut(self, text: str) -> tuple[int, int] | None:
        """Return the last cut that this text and another one have in common."""

        def parts_before(cut: tuple[int, int]) -> bool:
            end = cut[0] + MARGIN_CHARS
            return not text.startswith(self.text[:end])

        count = bisect_left(self.cuts, True, key=parts_before)
        return self.cuts[count - 1] if count else None


class PrefixTokenizer:
    """Gives the tokens that its vocabulary gives. Any thread may call it.

    llama.cpp first finds the special tokens of a text, longest first and from left to right, and
    then tokenises each stretch between them by itself. So a text may be cut where a control token
    begins, if what decides about the special tokens there is the same: no special token lies across
    the cut in the known text, and the other text goes on in the same way for longer than any
    special token is.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._known: list[Known] = []  # the last used ones last
        self._controls: dict[int, str] = {}  # texts of tokens; "" of those that are no control
        whole = vocabulary.tokenize("a", add_special=True, parse_special=True)
        bare = vocabulary.tokenize("a", add_special=False, parse_special=True)
        self._has_plain_end = whole[len(whole) - len(bare) :] == bare  # no EOS is added

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Tokens of a text."""
        tokenize = self._vocabulary.tokenize
        if len(text) < MIN_CHARS or not (add_special and parse_special and self._has_plain_end):
            return tokenize(text, add_special=add_special, parse_special=parse_special)
        found = self._find(text)
        if found is None:
            tokens = tokenize(text, add_special=True, parse_special=True)
            self._keep(text, tokens, None)
            return tokens
        known, (chars, count) = found
        rest = tokenize(text[chars:], add_special=False, parse_special=True)
        tokens = known.tokens[:count].tolist() + rest
        # A conversation that goes on takes its own place, one that branches off another.
        self._keep(text, tokens, known if chars > len(known.text) // 2 else None)
        return tokens

    def _find(self, text: str) -> tuple[Known, tuple[int, int]] | None:
        with self._lock:
            known = list(self._known)
        found = [(cut, each) for each in known if (cut := each.shared_cut(text)) is not None]
        if not found:
            return None
        cut, best = max(found, key=lambda pair: pair[0])
        return best, cut

    def _keep(self, text: str, tokens: list[int], replaced: Known | None) -> None:
        cuts = self._cuts(text, tokens)
        if not cuts:
            return
        with self._lock:
            self._known = [each for each in self._known if each is not replaced]
            self._known.append(Known(text, array("i", tokens), cuts))
            while len(self._known) > MAX_TEXTS or self._chars > MAX_CHARS:
                del self._known[0]

    @property
    def _chars(self) -> int:
        return sum(len(each.text) for each in self._known)

    def _cuts(self, text: str, tokens: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Find where the most frequent control token begins, in the text and among the tokens."""
        for marker, count in Counter(tokens).most_common():
            shown = self._control(marker)
            if not shown:
                continue
            parts = text.split(shown)
            if len(parts) - 1 == count:  # else some came from elsewhere, as BOS does
                indices = (at for at, token in enumerate(tokens) if token == marker)
                ends = accumulate(len(part) + len(shown) for part in parts[:-1])
                return tuple((end - len(shown), at) for end, at in zip(ends, indices, strict=True))
        return ()

    def _control(self, token: int) -> str:
        """Return the text of a control token, "" for any other."""
        known = self._controls.get(token)
        if known is None:
            piece = self._vocabulary.piece
            known = ""
            if not piece(token):
                known = piece(token, special=True).decode("utf-8", "replace")
            self._controls[token] = known
        return known
