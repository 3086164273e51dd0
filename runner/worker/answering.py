"""Questions that need a model's vocabulary or template, and no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.wire.messages import Answered, Ask, Detokenize, Tokenize
from runner.worker.prompts import Limit, Prompter


class Vocabulary(Protocol):
    """The part of ``binding.Model`` that is used here."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Tokens of a text."""
        ...

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Bytes of a token; of a control token only with ``special``."""
        ...

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """Bytes of a whole sequence of tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Answerer:
    """Answers about one model. Any thread may call it."""

    prompter: Prompter
    vocabulary: Vocabulary

    def answer(self, ask: Ask, limit: Limit) -> Answered:
        """Answer; ``limit`` guards the rendering. Raises RunnerError, as ``Prompter`` does."""
        match ask.question:
            case Tokenize(text=text, add_special=add_special, parse_special=parse_special):
                tokens = self.vocabulary.tokenize(
                    text, add_special=add_special, parse_special=parse_special
                )
                pieces = tuple(self.vocabulary.piece(token, special=True) for token in tokens)
                return Answered(ask.id, text, tuple(tokens), pieces)
            case Detokenize(tokens=tokens):
                self.prompter.check_tokens(tokens, "tokens")
                return Answered(ask.id, self._text(tokens), tokens)
            case prompt:
                rendered = self.prompter.render(prompt, ask.id, limit)
                shown = self._text(rendered.tokens) if rendered.text is None else rendered.text
                return Answered(ask.id, shown, tuple(rendered.tokens))

    def _text(self, tokens: Sequence[int]) -> str:
        return self.vocabulary.detokenize(tokens, special=True).decode("utf-8", "replace")
