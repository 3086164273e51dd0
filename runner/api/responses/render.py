"""Events of the engine to responses and their events, as OpenAI's SDKs read them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.api import jsontext
from runner.api.responses.errors import named
from runner.api.responses.output import Event
from runner.api.responses.transcript import Telling, Transcript
from runner.errors import Kind, RunnerError
from runner.wire.messages import Begun, Ended, Piece

Response = dict[str, Any]

# OpenAI's words for why an answer failed; Codex knows the first two.
_CODES = {
    Kind.CONTEXT_LENGTH_EXCEEDED: "context_length_exceeded",
    Kind.RATE_LIMITED: "rate_limit_exceeded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What all events of one answer say about it."""

    key: str  # of 32 hexadecimal digits: in the ids of the response and its items
    created_s: int
    echo: dict[str, Any]  # what it says of its request

    @property
    def id(self) -> str:
        """The response's id."""
        return f"resp_{self.key}"

    def response(self, status: str, output: Sequence[Event], **members: Any) -> Response:
        """Return the response at a moment of its life."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "status": status,
            "error": None,
            "incomplete_details": None,
            **self.echo,
            "output": list(output),
            "output_text": _output_text(output),
            "usage": None,
            **members,
        }


@dataclass(slots=True)
class Answer:
    """How one answer is told: for :mod:`runner.api.answering`.

    ``keep`` gets the response when it is complete, before its client is told so.
    """

    identity: Identity
    telling: Telling
    keep: Callable[[Response], None]
    streamed: Chunks = field(init=False)

    def __post_init__(self) -> None:
        self.streamed = Chunks(self.identity, self.choice())

    def choice(self) -> Transcript:
        """Return an empty answer, for one that is told whole."""
        return Transcript(self.identity.key, self.telling)

    def whole(self, made: Sequence[tuple[Transcript, Ended]]) -> bytes:
        """Render the whole answer."""
        [(transcript, ended)] = made
        for _ in transcript.end(is_cut=is_cut(ended)):
            pass
        return jsontext.encode(self._finish(transcript, ended))

    def chunks(self, _: int) -> Chunks:
        """Return what renders the stream."""
        return self.streamed

    def tail(self, ended: Sequence[Ended]) -> bytes:
        """Render the last event of a stream: the whole response."""
        response = self._finish(self.streamed.transcript, ended[0])
        return self.streamed.render(
            [{"type": f"response.{response['status']}", "response": response}]
        )

    def failed(self, error: RunnerError) -> bytes:
        """Render the last event of a stream that fails, and the first ones if none went out."""
        opening = b"" if self.streamed.is_told else self.streamed.begin()
        told = {"code": _CODES.get(error.kind, "server_error"), "message": str(named(error))}
        output = self.streamed.transcript.items
        response = self.identity.response("failed", output, error=told)
        self.keep(response)
        event = {"type": "response.failed", "response": response}
        return opening + self.streamed.render([event])

    def _finish(self, transcript: Transcript, ended: Ended) -> Response:
        reason = {"reason": "max_output_tokens"} if is_cut(ended) else None
        response = self.identity.response(
            "incomplete" if is_cut(ended) else "completed",
            transcript.items,
            incomplete_details=reason,
            usage=usage(ended),
        )
        self.keep(response)
        return response


class Chunks:
    """Renders the events of a stream, in their order."""

    def __init__(self, identity: Identity, transcript: Transcript) -> None:
        self.transcript = transcript
        self._identity = identity
        self.is_told = False  # whether anything but the opening was rendered
        self._number = 0  # of the next event

    def begin(self) -> bytes:
        """Render the events that open a stream."""
        self._number = 0  # those of before, if any, were not sent: nothing came after them
        response = self._identity.response("in_progress", [])
        kinds = ("response.created", "response.in_progress")
        return self.render({"type": kind, "response": response} for kind in kinds)

    def first(self, _: Begun) -> bytes:
        """Render the events that open a stream."""
        return self.begin()

    def piece(self, piece: Piece) -> bytes:
        """Render what is new."""
        self.is_told = True
        return self.render(self.transcript.take(piece))

    def last(self, ended: Ended) -> bytes:
        """Render the end of the last item."""
        return self.render(self.transcript.end(is_cut=is_cut(ended)))

    def render(self, events: Iterable[Event]) -> bytes:
        """Render events with their names and numbers."""
        return b"".join(self._render(event) for event in events)

    def _render(self, event: Event) -> bytes:
        data = numbered(event, self._number)
        self._number += 1
        return data


def numbered(event: Event, number: int) -> bytes:
    """Render one event with its name and its number."""
    data = jsontext.encode({**event, "sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), data)


def is_cut(ended: Ended) -> bool:
    """Whether an answer ended before the model did."""
    return ended.reason in ("length", "context")


def usage(ended: Ended) -> dict[str, Any]:
    """Count tokens."""
    return {
        "input_tokens": ended.prompt_tokens,
        "input_tokens_details": {"cached_tokens": ended.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": ended.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": ended.reasoning_tokens},
        "total_tokens": ended.prompt_tokens + ended.completion_tokens,
    }


def _output_text(output: Sequence[Event]) -> str:
    """Join the texts, as Docker Model Runner tells them; SDKs do that themselves."""
    messages = (item for item in output if item["type"] == "message")
    return "".join(part["text"] for item in messages for part in item["content"])
