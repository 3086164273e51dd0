"""Questions that need a model's vocabulary or template, and no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.errors import Kind, RunnerError
from runner.wire.messages import Answered, Ask, Detokenize, Tokenize
from runner.worker.prompts import Limit, Prompter, least_tokens

MAX_TOKENS = 2**20
MAX_CHARACTERS = 2**23


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
        """Answer; ``limit`` guards the rendering.

        Raises RunnerError as ``Prompter`` does, and TOO_LARGE for what no frame should hold.
        """
        answered = self._answer(ask, limit)
        if len(answered.text) > MAX_CHARACTERS:
            raise _too_large(f"{len(answered.text)} characters", MAX_CHARACTERS)
        if len(answered.tokens) > MAX_TOKENS:
            raise _too_large(f"{len(answered.tokens)} tokens", MAX_TOKENS)
        return answered

    def _answer(self, ask: Ask, limit: Limit) -> Answered:
        match ask.question:
            case Tokenize() as asked:
                _check_least(least_tokens(self.prompter.token_bytes, asked.text))
                tokens = self.vocabulary.tokenize(
                    asked.text, add_special=asked.add_special, parse_special=asked.parse_special
                )
                piece = self.vocabulary.piece
                pieces = [piece(token, special=True) for token in tokens if asked.with_pieces]
                return Answered(ask.id, "", tuple(tokens), tuple(pieces))
            case Detokenize(tokens=tokens):
                self.prompter.check_tokens(tokens, "tokens")
                return Answered(ask.id, self._text(tokens), tokens)
            case prompt:
                rendered = self.prompter.render(prompt, ask.id, limit, _check_least)
                rendered.close()
                shown = self._text(rendered.tokens) if rendered.text is None else rendered.text
                return Answered(ask.id, shown, tuple(rendered.tokens))

    def _text(self, tokens: Sequence[int]) -> str:
        return self.vocabulary.detokenize(tokens, special=True).decode("utf-8", "replace")


def _check_least(least: int) -> None:
    if least > MAX_TOKENS:
        raise _too_large(f"at least {least} tokens", MAX_TOKENS)


def _too_large(size: str, most: int) -> RunnerError:
    message = f"the answer is {size}; at most {most} are told"
    return RunnerError(Kind.TOO_LARGE, message, hint="ask in parts")
