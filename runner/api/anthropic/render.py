"""Events of the engine to messages and their events, as Anthropic's SDKs read them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.anthropic.parse import Shows
from runner.api.jsontext import encode
from runner.wire.messages import Begun, CallDelta, Ended, Piece
from runner.wire.pieces import Gathered

# Of every thought. Nothing is checked when it comes back, but clients drop thoughts without one.
SIGNATURE = "cnVubmVy"

STOP_REASONS = {
    "eos": "end_turn",
    "stop": "end_turn",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
}

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


@dataclass(frozen=True, slots=True)
class Answer:
    """How one answer is told: for :mod:`runner.api.answering`."""

    id: str
    model: str  # as the request named it
    stop_sequences: tuple[str, ...]
    shows_thinking: Shows

    def choice(self) -> Choice:
        """Return an empty message, for an answer that is told whole."""
        return Choice()

    def whole(self, made: Sequence[tuple[Choice, Ended]]) -> bytes:
        """Render the message."""
        [(choice, ended)] = made
        content = choice.content(self.shows_thinking)
        has_calls = any(block["type"] == "tool_use" for block in content)
        return msgspec.json.encode(
            {
                **self.head(),
                "content": content,
                **self.stop(ended, has_calls=has_calls),
                "usage": usage(ended),
            }
        )

    def chunks(self, index: int) -> Chunks:
        """Return what renders the message as it comes."""
        return Chunks(self)

    def tail(self, ended: Sequence[Ended]) -> bytes:
        """Render nothing: the last event is the message's own."""
        return b""

    def head(self) -> dict[str, Any]:
        """Return the leading members of the message."""
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model}

    def stop(self, ended: Ended, *, has_calls: bool) -> dict[str, str | None]:
        """Return why the message ended; the model's own end markers are no stop sequences."""
        reason = STOP_REASONS[ended.reason]
        word = ended.stopping_word if ended.reason == "stop" else None
        if word in self.stop_sequences:
            return {"stop_reason": "stop_sequence", "stop_sequence": word}
        if has_calls and reason == "end_turn":
            reason = "tool_use"
        return {"stop_reason": reason, "stop_sequence": None}


def usage(counted: Begun | Ended) -> dict[str, Any]:
    """Count tokens; Anthropic counts what was found in the cache apart."""
    shown: dict[str, Any] = {
        "input_tokens": counted.prompt_tokens - counted.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counted.cached_tokens,
    }
    if isinstance(counted, Begun):
        return shown | {"output_tokens": 0}
    thinking = {"thinking_tokens": counted.reasoning_tokens}
    return shown | {
        "output_tokens": counted.completion_tokens,
        "output_tokens_details": thinking,
    }


# ---- streamed --------------------------------------------------------------------------------


class Chunks:
    """Renders the events of one message: blocks one after the other, each opened and closed."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._index = -1  # of the open block
        self._open: str | int | None = None  # the channel of the open block; of a call, its index
        self._has_calls = False

    def first(self, begun: Begun) -> bytes:
        """Render the event that opens the message."""
        message = {
            **self._answer.head(),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage(begun),
        }
        return _event("message_start", {"message": message})

    def piece(self, piece: Piece) -> bytes:
        """Render what is new; nothing when there is none to tell."""
        if not (piece.reasoning or piece.calls):
            return self._text(piece.text) if piece.text else b""
        # A piece lists calls last, but what goes on with a call was said before any new text.
        events = [self._call(call) for call in piece.calls if not call.name]
        if piece.reasoning and self._answer.shows_thinking != "nothing":
            events.append(self._thinking(piece.reasoning))
        if piece.text:
            events.append(self._text(piece.text))
        events += [self._call(call) for call in piece.calls if call.name]
        return b"".join(events)

    def last(self, ended: Ended) -> bytes:
        """Render the events that close the message."""
        stop = self._answer.stop(ended, has_calls=self._has_calls)
        delta = {"delta": stop, "usage": usage(ended)}
        return self._close() + _event("message_delta", delta) + _event("message_stop", {})

    def _text(self, text: str) -> bytes:
        opening = self._enter("text", {"type": "text", "text": ""})
        delta = (self._index, encode(text))
        return opening + (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"text_delta","text":%b}}\n\n' % delta
        )

    def _thinking(self, thought: str) -> bytes:
        opening = self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if self._answer.shows_thinking == "omitted":
            return opening
        return opening + self._delta({"type": "thinking_delta", "thinking": thought})

    def _call(self, call: CallDelta) -> bytes:
        self._has_calls = True
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        opening = self._enter(call.index, block)
        if not call.arguments:
            return opening
        return opening + self._delta({"type": "input_json_delta", "partial_json": call.arguments})

    def _enter(self, channel: str | int, block: dict[str, Any]) -> bytes:
        """Open the block of a channel, if another is open or none."""
        if channel == self._open:
            return b""
        closing = self._close()
        is_first = self._index < 0
        self._index += 1
        self._open = channel
        started = {"index": self._index, "content_block": block}
        return closing + _event("content_block_start", started) + (PING if is_first else b"")

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        signature = {"type": "signature_delta", "signature": SIGNATURE}
        signed = self._delta(signature) if self._open == "thinking" else b""
        self._open = None
        return signed + _event("content_block_stop", {"index": self._index})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})


def _event(kind: str, members: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **members}))


# ---- whole -----------------------------------------------------------------------------------


class Choice(Gathered):
    """One message being put together from its events."""

    def content(self, shows_thinking: Shows) -> list[dict[str, Any]]:
        """Return the blocks; a call that was cut short is none, as its input is no object."""
        whole = self.whole()
        blocks: list[dict[str, Any]] = []
        if whole.reasoning and shows_thinking != "nothing":
            thought = whole.reasoning if shows_thinking == "all" else ""
            blocks.append({"type": "thinking", "thinking": thought, "signature": SIGNATURE})
        if whole.text:
            blocks.append({"type": "text", "text": whole.text})
        return blocks + [block for call in whole.calls if (block := _tool_use(call))]


def _tool_use(call: CallDelta) -> dict[str, Any] | None:
    """Render a call with its input as the model wrote it."""
    arguments = (call.arguments or "{}").encode()
    try:
        msgspec.json.decode(arguments, type=dict)
    except (msgspec.DecodeError, RecursionError):
        return None
    written = msgspec.Raw(arguments)
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": written}
