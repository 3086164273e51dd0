"""Events of the engine to OpenAI's legacy completions, whole and in chunks. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.jsontext import encode
from runner.api.openai.render import DONE, FINISH_REASONS, LEAST_LOGPROB, Identity, render_timings
from runner.wire.messages import Begun, Ended, Piece, TokenLogprob

OBJECT = "text_completion"


class Logprobs:
    """The parallel arrays of the legacy shape; each token with its place in the text.

    ``text_offset`` counts characters; the tokens of one character share its place.
    """

    def __init__(self, *, wants_top: bool, echo: str = "") -> None:
        """``echo`` is the text before the completion, where the prompt's tokens are told."""
        self._wants_top = wants_top
        self._echo = echo
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def render(self, tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
        """Return the arrays of the next tokens."""
        shown = list(tokens)
        return {
            "tokens": [name_token(token.piece) for token in shown],
            "token_logprobs": [max(token.logprob, LEAST_LOGPROB) for token in shown],
            "top_logprobs": [_top(token) for token in shown] if self._wants_top else None,
            "text_offset": [self._place(token.piece) for token in shown],
        }

    def begin(self, begun: Begun) -> dict[str, Any]:
        """Return the arrays of the prompt, whose first token has nothing to be likely behind."""
        first, name = begun.prompt_first, name_token(begun.prompt_first)
        # A token that was put before the text, as many models want it, takes no room in it.
        place = self._place(first) if self._echo.startswith(name) else 0
        rest = self.render(begun.prompt_logprobs)
        return {
            "tokens": [name, *rest["tokens"]],
            "token_logprobs": [None, *rest["token_logprobs"]],
            "top_logprobs": [None, *rest["top_logprobs"]] if self._wants_top else None,
            "text_offset": [place, *rest["text_offset"]],
        }

    def _place(self, piece: bytes) -> int:
        place = self._characters
        self._characters += len(self._decoder.decode(piece))
        return place


def _top(token: TokenLogprob) -> dict[str, float]:
    """The likeliest tokens, and the chosen one in any case."""
    top = {name_token(piece): max(logprob, LEAST_LOGPROB) for _, piece, logprob in token.top}
    return {name_token(token.piece): max(token.logprob, LEAST_LOGPROB)} | top


def name_token(piece: bytes) -> str:
    r"""Write a token as OpenAI does: its text, or ``bytes:\xe6\x9d`` for a part of a character."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


@dataclass(frozen=True, slots=True)
class Answer:
    """How one answer is told: for :mod:`runner.api.answering`.

    ``echoes`` holds the text before each prompt's completions, of which there are ``choices`` each.
    """

    identity: Identity
    echoes: Sequence[str]
    choices: int
    top_logprobs: int | None
    include_usage: bool

    def choice(self) -> Choice:
        """Return an empty choice, for an answer that is told whole."""
        return Choice(top_logprobs=self.top_logprobs)

    def whole(self, made: Sequence[tuple[Choice, Ended]]) -> bytes:
        """Render the whole answer."""
        return completion(self.identity, made, self.echoes, self.choices)

    def chunks(self, index: int) -> Chunks:
        """Return what renders one choice of a stream."""
        return Chunks(
            self.identity,
            index,
            echo=self.echoes[index // self.choices],
            top_logprobs=self.top_logprobs,
            include_usage=self.include_usage,
        )

    def tail(self, ended: Sequence[Ended]) -> bytes:
        """Render what follows the last chunks of all choices."""
        usage = usage_chunk(self.identity, ended, self.choices) if self.include_usage else b""
        return usage + DONE


# ---- streamed --------------------------------------------------------------------------------


class Chunks:
    """Renders the chunks of one choice."""

    def __init__(
        self,
        identity: Identity,
        index: int,
        *,
        echo: str,
        top_logprobs: int | None,
        include_usage: bool,
    ) -> None:
        """``echo`` is the text before the completion; empty when it is not wanted."""
        self._members = identity.members(OBJECT)
        self._index = index
        self._echo = echo
        self._logprobs = Logprobs(wants_top=bool(top_logprobs), echo=echo)
        # OpenAI: with include_usage every chunk has the member, null in all but the last.
        self._usage = {"usage": None} if include_usage else {}

    def first(self, begun: Begun) -> bytes:
        """Render the prompt."""
        if not self._echo:
            return b""
        logprobs = self._logprobs.begin(begun) if begun.prompt_first else None
        return self._chunk(self._echo, logprobs=logprobs)

    def piece(self, piece: Piece) -> bytes:
        """Render new text; nothing when there is none to tell."""
        if not (piece.text or piece.logprobs):
            return b""
        logprobs = self._logprobs.render(piece.logprobs) if piece.logprobs else None
        return self._chunk(piece.text, logprobs=logprobs)

    def last(self, ended: Ended) -> bytes:
        """Render the chunk that closes a choice, with llama-server's timings."""
        timings = {"timings": render_timings(ended.timings)}
        return self._chunk("", reason=FINISH_REASONS[ended.reason], more=timings)

    def _chunk(
        self,
        text: str,
        *,
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
        more: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {
            "text": text,
            "index": self._index,
            "logprobs": logprobs,
            "finish_reason": reason,
        }
        return event({**self._members, "choices": [choice], **(more or {}), **self._usage})


def usage_chunk(identity: Identity, ended: Sequence[Ended], choices: int) -> bytes:
    """Render the chunk that ``stream_options.include_usage`` asks for."""
    usage = render_usage(ended, choices)
    return event({**identity.members(OBJECT), "choices": [], "usage": usage})


def event(members: dict[str, Any]) -> bytes:
    """Render one event."""
    return b"data: %b\n\n" % encode(members)


# ---- whole -----------------------------------------------------------------------------------


class Choice:
    """One choice being put together from its events."""

    def __init__(self, *, top_logprobs: int | None) -> None:
        self._texts: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._begun: Begun | None = None  # where the prompt's tokens are told
        self._top_logprobs = top_logprobs

    def add(self, event: Begun | Piece) -> None:
        """Take the next event."""
        if isinstance(event, Piece):
            self._texts.append(event.text)
            self._tokens += event.logprobs
        elif event.prompt_first:
            self._begun = event

    def render(self, index: int, ended: Ended, *, echo: str) -> dict[str, Any]:
        """Return the member of ``choices``."""
        return {
            "text": echo + "".join(self._texts),
            "index": index,
            "logprobs": self._logprobs(echo),
            "finish_reason": FINISH_REASONS[ended.reason],
        }

    def _logprobs(self, echo: str) -> dict[str, Any] | None:
        if self._top_logprobs is None:
            return None
        logprobs = Logprobs(wants_top=self._top_logprobs > 0, echo=echo)
        if self._begun is None:
            return logprobs.render(self._tokens)
        prompt, made = logprobs.begin(self._begun), logprobs.render(self._tokens)
        return {
            name: None if values is None else prompt[name] + values for name, values in made.items()
        }


def completion(
    identity: Identity, made: Sequence[tuple[Choice, Ended]], echoes: Sequence[str], choices: int
) -> bytes:
    """Render a whole answer: ``choices`` for each prompt, whose text is in ``echoes``."""
    ended = [last for _, last in made]
    return msgspec.json.encode(
        {
            **identity.members(OBJECT),
            "choices": [
                choice.render(index, last, echo=echoes[index // choices])
                for index, (choice, last) in enumerate(made)
            ],
            "usage": render_usage(ended, choices),
            "timings": render_timings(ended[0].timings),
        }
    )


def render_usage(ended: Sequence[Ended], choices: int) -> dict[str, Any]:
    """Count tokens; the choices of one prompt share it, so each prompt is counted once."""
    firsts = ended[::choices]
    prompt_tokens = sum(one.prompt_tokens for one in firsts)
    completion_tokens = sum(one.completion_tokens for one in ended)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(one.cached_tokens for one in firsts)},
    }
