"""Events of the engine to chat completions and chunks, as OpenAI's SDKs read them.

Pure. A streamed token costs one JSON string: what stays the same in every chunk of a request is
rendered once, when the request begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api import faults
from runner.api.jsontext import encode
from runner.api.openai import custom
from runner.errors import RunnerError
from runner.wire.messages import Begun, CallDelta, Ended, Piece, Ready, Timings, TokenLogprob
from runner.wire.pieces import Gathered

DONE = b"data: [DONE]\n\n"

# JSON has no minus infinity; OpenAI's API says "very unlikely" this way.
LEAST_LOGPROB = -9999.0

NONE: frozenset[str] = frozenset()

FINISH_REASONS = {"eos": "stop", "stop": "stop", "length": "length", "context": "length"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What all chunks of one answer say about it."""

    id: str
    created_s: int
    model: str  # as the request named it
    fingerprint: str

    def members(self, kind: str) -> dict[str, Any]:
        """Return the leading members of an answer or a chunk."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def fingerprint(version: str, ready: Ready) -> str:
    """Name what decides an answer beside the request: code, kernels and settings of the engine."""
    facts = encode([version, ready.system_info, ready.devices, ready.settings])
    return "fp_" + hashlib.sha256(facts).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Answer:
    """How one answer is told: for :mod:`runner.api.answering`."""

    identity: Identity
    include_usage: bool
    wants_logprobs: bool
    custom_tools: frozenset[str] = NONE  # their calls are told as text

    def choice(self) -> Choice:
        """Return an empty choice, for an answer that is told whole."""
        return Choice(self.custom_tools)

    def whole(self, made: Sequence[tuple[Choice, Ended]]) -> bytes:
        """Render the whole answer."""
        return completion(self.identity, made, wants_logprobs=self.wants_logprobs)

    def chunks(self, index: int) -> Chunks:
        """Return what renders one choice of a stream."""
        return Chunks(
            self.identity,
            index,
            include_usage=self.include_usage,
            custom_tools=self.custom_tools,
        )

    def tail(self, ended: Sequence[Ended]) -> bytes:
        """Render what follows the last chunks of all choices."""
        return (usage_chunk(self.identity, ended) if self.include_usage else b"") + DONE


# ---- streamed --------------------------------------------------------------------------------


class Chunks:
    """Renders the chunks of one choice."""

    def __init__(
        self,
        identity: Identity,
        index: int,
        *,
        include_usage: bool,
        custom_tools: frozenset[str] = NONE,
    ) -> None:
        # OpenAI: with include_usage every chunk has the member, null in all but the last.
        usage = b',"usage":null' if include_usage else b""
        head = encode(identity.members("chat.completion.chunk"))[:-1]
        self._head = b'data: %b,"choices":[{"index":%d,"delta":' % (head, index)
        self._content = self._head + b'{"content":'
        self._tail = b',"logprobs":null,"finish_reason":null}]%b}\n\n' % usage
        self._usage = usage
        self._calls = CallParts(custom_tools)

    def first(self, _: Begun) -> bytes:
        """Render the chunk that opens a choice."""
        return self._head + b'{"role":"assistant","content":""}' + self._tail

    def piece(self, piece: Piece) -> bytes:
        """Render what is new; nothing when there is none to tell."""
        if piece.reasoning or piece.calls:
            return self._channels(piece)
        if piece.logprobs:
            return self._delta(b'{"content":%b}' % encode(piece.text), piece.logprobs)
        if not piece.text:
            return b""
        return self._content + encode(piece.text) + b"}" + self._tail

    def last(self, ended: Ended) -> bytes:
        """Render the chunk that closes a choice, with llama-server's timings."""
        held = b"".join(self._delta(_calling(part), ()) for part in self._calls.finish())
        reason = finish_reason(ended, has_calls=self._calls.has_any).encode()
        timings = encode(render_timings(ended.timings))
        tail = b'{},"logprobs":null,"finish_reason":"%b"}],"timings":%b%b}\n\n' % (
            reason,
            timings,
            self._usage,
        )
        return held + self._head + tail

    def _channels(self, piece: Piece) -> bytes:
        """Render a chunk for each channel; the logprobs go with the first."""
        deltas = []
        if piece.reasoning:
            deltas.append(b'{"reasoning_content":%b}' % encode(piece.reasoning))
        if piece.text:
            deltas.append(b'{"content":%b}' % encode(piece.text))
        for call in piece.calls:
            deltas += [_calling(part) for part in self._calls.take(call)]
        if not deltas:  # what came is held back
            return self._delta(b"{}", piece.logprobs) if piece.logprobs else b""
        first, *rest = deltas
        chunks = [self._delta(first, piece.logprobs), *(self._delta(one, ()) for one in rest)]
        return b"".join(chunks)

    def _delta(self, delta: bytes, logprobs: tuple[TokenLogprob, ...]) -> bytes:
        if not logprobs:
            return self._head + delta + self._tail
        shown = encode({"content": render_logprobs(logprobs)})
        tail = b',"logprobs":%b,"finish_reason":null}]%b}\n\n' % (shown, self._usage)
        return self._head + delta + tail


class CallParts:
    """The calls of one choice as members of ``tool_calls``, part by part.

    OpenAI opens a call with its name and no arguments yet. The text of a custom tool is told at
    once, when the JSON around it is complete: calls come one after the other.
    """

    def __init__(self, custom_tools: frozenset[str]) -> None:
        self.has_any = False
        self._custom_tools = custom_tools
        self._held: list[str] | None = None  # arguments of a custom tool's call that is open
        self._index = 0  # of that call

    def take(self, call: CallDelta) -> Iterator[dict[str, Any]]:
        """Give the parts that tell what is new of a call."""
        self.has_any = True
        if call.name:
            yield from self.finish()
            yield self._open(call)
        if self._held is not None:
            self._held.append(call.arguments)
        elif call.arguments:
            yield {"index": call.index, "function": {"arguments": call.arguments}}

    def finish(self) -> Iterator[dict[str, Any]]:
        """Give what was held back of the last call."""
        if self._held is not None:
            said = custom.text_of("".join(self._held))
            yield {"index": self._index, "custom": {"input": said}}
            self._held = None

    def _open(self, call: CallDelta) -> dict[str, Any]:
        head: dict[str, Any] = {"index": call.index, "id": call.id}
        if call.name not in self._custom_tools:
            function = {"name": call.name, "arguments": ""}
            return {**head, "type": "function", "function": function}
        self._held, self._index = [], call.index
        return {**head, "type": "custom", "custom": {"name": call.name, "input": ""}}


def _calling(part: dict[str, Any]) -> bytes:
    """Render a delta that tells a part of a call."""
    return b'{"tool_calls":[%b]}' % encode(part)


def finish_reason(ended: Ended, *, has_calls: bool) -> str:
    """Return why a choice ended, in OpenAI's words."""
    reason = FINISH_REASONS[ended.reason]
    return "tool_calls" if has_calls and reason == "stop" else reason


def usage_chunk(identity: Identity, ended: Sequence[Ended]) -> bytes:
    """Render the chunk that ``stream_options.include_usage`` asks for."""
    members = identity.members("chat.completion.chunk")
    return b"data: %b\n\n" % encode({**members, "choices": [], "usage": render_usage(ended)})


def error_event(error: RunnerError) -> bytes:
    """Render the last event of a stream that failed after its head was sent."""
    return b"data: %b\n\n" % faults.render(error)


# ---- whole -----------------------------------------------------------------------------------


class Choice(Gathered):
    """One choice being put together from its events."""

    def __init__(self, custom_tools: frozenset[str] = NONE) -> None:
        super().__init__()
        self._custom_tools = custom_tools

    def render(self, index: int, ended: Ended, *, wants_logprobs: bool) -> dict[str, Any]:
        """Return the member of ``choices``."""
        whole = self.whole()
        return {
            "index": index,
            "message": _message(whole, self._custom_tools),
            "logprobs": {"content": render_logprobs(whole.logprobs)} if wants_logprobs else None,
            "finish_reason": finish_reason(ended, has_calls=bool(whole.calls)),
        }


def _message(whole: Piece, custom_tools: frozenset[str]) -> dict[str, Any]:
    """Render what an answer says; content is null in one that only calls."""
    content = None if whole.calls and not whole.text else whole.text
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if whole.reasoning:
        message["reasoning_content"] = whole.reasoning
    if whole.calls:
        message["tool_calls"] = [
            _call(call, is_custom=call.name in custom_tools) for call in whole.calls
        ]
    return message


def _call(call: CallDelta, *, is_custom: bool) -> dict[str, Any]:
    if is_custom:
        told = {"name": call.name, "input": custom.text_of(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": told}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def completion(
    identity: Identity, choices: Sequence[tuple[Choice, Ended]], *, wants_logprobs: bool
) -> bytes:
    """Render a whole answer."""
    ended = [last for _, last in choices]
    return msgspec.json.encode(
        {
            **identity.members("chat.completion"),
            "choices": [
                choice.render(index, last, wants_logprobs=wants_logprobs)
                for index, (choice, last) in enumerate(choices)
            ],
            "usage": render_usage(ended),
            "timings": render_timings(ended[0].timings),
        }
    )


# ---- parts -----------------------------------------------------------------------------------


def render_usage(ended: Sequence[Ended]) -> dict[str, Any]:
    """Count tokens; choices share one prompt, so it is counted once."""
    completion_tokens = sum(one.completion_tokens for one in ended)
    return {
        "prompt_tokens": ended[0].prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": ended[0].prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": ended[0].cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": sum(one.reasoning_tokens for one in ended)
        },
    }


def render_timings(timings: Timings) -> dict[str, float]:
    """Return llama-server's ``timings``. n tokens have n - 1 gaps, and those are what is timed.

    Guesses are told of where there were any, as llama-server does.
    """
    gaps = max(0, timings.predicted_n - 1)
    drafts = {"draft_n": timings.draft_n, "draft_n_accepted": timings.draft_n_accepted}
    return {
        "cache_n": timings.cache_n,
        "prompt_n": timings.prompt_n,
        "prompt_ms": timings.prompt_ms,
        "prompt_per_token_ms": _ratio(timings.prompt_ms, timings.prompt_n),
        "prompt_per_second": _ratio(timings.prompt_n * 1e3, timings.prompt_ms),
        "predicted_n": timings.predicted_n,
        "predicted_ms": timings.predicted_ms,
        "predicted_per_token_ms": _ratio(timings.predicted_ms, gaps),
        "predicted_per_second": _ratio(gaps * 1e3, timings.predicted_ms),
        **(drafts if timings.draft_n else {}),
    }


def _ratio(value: float, by: float) -> float:
    return round(value / by, 3) if by > 0 else 0.0


def render_logprobs(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Return what ``logprobs`` tells of tokens."""
    return [
        {
            **_token(token.token, token.piece, token.logprob),
            "top_logprobs": [_token(*top) for top in token.top],
        }
        for token in tokens
    ]


def _token(token: int, piece: bytes, logprob: float) -> dict[str, Any]:
    """A token may be part of a character: ``bytes`` is exact, ``token`` the nearest text."""
    return {
        "id": token,
        "token": piece.decode("utf-8", "replace"),
        "bytes": list(piece),
        "logprob": max(logprob, LEAST_LOGPROB),
    }
