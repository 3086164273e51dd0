"""Events of the engine to Ollama's lines of JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from runner.api.jsontext import encode
from runner.api.openai.render import render_logprobs
from runner.wire.messages import Begun, CallDelta, Ended, Piece
from runner.wire.pieces import Gathered, join_calls

DONE_REASONS = {"eos": "stop", "stop": "stop", "length": "length", "context": "length"}


@dataclass(slots=True)
class Timing:
    """When a request came, and what counts since. All in nanoseconds."""

    arrived_unix_ns: int
    arrived_ns: int  # by the clock of ``now_ns``
    now_ns: Callable[[], int]  # which never goes back
    _written: tuple[int, str] = (-1, "")  # the last second that was written, and how

    def elapsed_ns(self) -> int:
        """Return how long ago it came."""
        return self.now_ns() - self.arrived_ns

    def now(self) -> str:
        """Write the time of day, as :func:`render_moment` does."""
        seconds, rest_ns = divmod(self.arrived_unix_ns + self.elapsed_ns(), 10**9)
        if self._written[0] != seconds:
            self._written = (seconds, _render_second(seconds))
        return f"{self._written[1]}.{rest_ns:09}Z"


def render_moment(unix_ns: int) -> str:
    """Write a time as Go does (RFC 3339 with nanoseconds, UTC)."""
    seconds, rest_ns = divmod(unix_ns, 10**9)
    return f"{_render_second(seconds)}.{rest_ns:09}Z"


def _render_second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).replace(tzinfo=None).isoformat()


# ---- where an answer's parts stand -----------------------------------------------------------

Said = dict[str, Any]  # the members of an answer that tell what was said


def chat_members(whole: Piece) -> Said:
    """Return them as ``/api/chat`` has them: in a message."""
    message: Said = {"role": "assistant", "content": whole.text}
    if whole.reasoning:
        message["thinking"] = whole.reasoning
    if calls := [call for delta in whole.calls for call in _render_call(delta)]:
        message["tool_calls"] = calls
    return {"message": message}


def generate_members(whole: Piece) -> Said:
    """Return them as ``/api/generate`` has them: side by side."""
    thinking = {"thinking": whole.reasoning} if whole.reasoning else {}
    return {"response": whole.text, **thinking}


def _render_call(call: CallDelta) -> list[dict[str, Any]]:
    """Render a whole call; one that was cut off has no arguments that could be told."""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        return []
    function = {"index": call.index, "name": call.name, "arguments": arguments}
    return [{"id": call.id, "function": function}]


NOTHING = Piece(0, "", 0)


# ---- answers ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """How one answer is told: for :mod:`runner.api.answering`."""

    model: str  # as the request named it
    members: Callable[[Piece], Said]
    timing: Timing
    load_ns: int

    def choice(self) -> Gathered:
        """Return an empty answer, for one that is told whole."""
        return Gathered()

    def whole(self, made: Sequence[tuple[Gathered, Ended]]) -> bytes:
        """Render the whole answer."""
        ((choice, ended),) = made
        whole = choice.whole()
        return self.last_line(whole, ended).rstrip()

    def chunks(self, _: int) -> Chunks:
        """Return what renders a stream."""
        return Chunks(self)

    def tail(self, _: Sequence[Ended]) -> bytes:
        """Render nothing: the last line tells all."""
        return b""

    def line(self, piece: Piece) -> bytes:
        """Render what is new."""
        return self._line(piece, {"done": False})

    def last_line(self, piece: Piece, ended: Ended) -> bytes:
        """Render the end, with what is still to say and the statistics."""
        timings = ended.timings
        return self._line(
            piece,
            {
                "done": True,
                "done_reason": DONE_REASONS[ended.reason],
                "total_duration": self.timing.elapsed_ns(),
                "load_duration": self.load_ns,
                "prompt_eval_count": ended.prompt_tokens,
                "prompt_eval_duration": round(timings.prompt_ms * 1e6),
                "eval_count": ended.completion_tokens,
                "eval_duration": round(timings.predicted_ms * 1e6),
            },
        )

    def _line(self, piece: Piece, state: dict[str, Any]) -> bytes:
        line = {"model": self.model, "created_at": self.timing.now(), **self.members(piece)}
        if piece.logprobs:
            line["logprobs"] = render_logprobs(piece.logprobs)
        return encode(line | state) + b"\n"


class Chunks:
    """The lines of one answer as it comes; calls are told when they are whole.

    What all lines of text have in common is rendered once.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._calls: list[CallDelta] = []
        before, _, after = encode(answer.members(NOTHING)).partition(b'""')  # where text stands
        self._head = b'{"model":%b,"created_at":"' % encode(answer.model)
        self._before = b'",' + before[1:]
        self._after = after[:-1] + b',"done":false}\n'

    def first(self, _: Begun) -> bytes:
        """Render nothing: there is no opening."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """Render what is new; nothing when there is none to tell."""
        if piece.text and not (piece.reasoning or piece.calls or piece.logprobs):
            now = self._answer.timing.now().encode()
            return self._head + now + self._before + encode(piece.text) + self._after
        self._calls += piece.calls
        shown = msgspec.structs.replace(piece, calls=()) if piece.calls else piece
        if not (shown.text or shown.reasoning or shown.logprobs):
            return b""  # for example a call that goes on
        return self._answer.line(shown)

    def last(self, ended: Ended) -> bytes:
        """Render the calls, and the end."""
        told = b""
        if self._calls:
            calls = msgspec.structs.replace(NOTHING, calls=join_calls(self._calls))
            told = self._answer.line(calls)
        return told + self._answer.last_line(NOTHING, ended)


def kept(model: str, said: Said, *, is_loaded: bool, now: str) -> bytes:
    """Render the answer to a request that says nothing but how long a model is kept."""
    reason = "load" if is_loaded else "unload"
    return encode({"model": model, "created_at": now, **said, "done": True, "done_reason": reason})
