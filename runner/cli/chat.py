"""A conversation and one streamed answer: what ``run`` asks and how it reads the reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from runner import http
from runner.cli.attachments import Content
from runner.cli.remote import Remote, build_error
from runner.errors import Kind, RunnerError

PATH = "/v1/chat/completions"
LOAD_S = 600.0  # the head of an answer waits for the model's load; afterwards there are heartbeats

_DONE = "[DONE]"


@dataclass(slots=True)
class Conversation:
    """What was said to one model, and how it shall be asked."""

    model: str
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)  # members of the request
    turns: list[tuple[Content, str]] = field(default_factory=list)  # (prompt, answer)

    def request(self, prompt: Content) -> dict[str, Any]:
        """Build the request that asks ``prompt`` after all earlier turns."""
        messages: list[dict[str, Any]] = []
        if self.system:
            messages.append({"role": "system", "content": self.system})
        for asked, answered in self.turns:
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answered})
        messages.append({"role": "user", "content": prompt})
        return {
            **self.parameters,
            "model": self.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


class Said(NamedTuple):
    """A piece of an answer, or of the thoughts before it."""

    text: str
    is_thought: bool = False


class Answer:
    """One streamed answer, as a context: iterate for what is said; then the counts are known.

    Leaving early closes the connection, which tells the daemon to stop the work.
    """

    def __init__(self, remote: Remote, request: dict[str, Any]) -> None:
        self.text = ""
        self.calls: list[dict[str, Any]] = []  # of tools, as OpenAI's messages have them
        self.usage: dict[str, Any] = {}
        self.timings: dict[str, Any] = {}
        self.finish_reason = ""
        self._open = remote.stream("POST", PATH, request, timeout_s=LOAD_S)

    def __enter__(self) -> Self:
        """Send the request; returns when the answer's head has come, which may be after a load."""
        self._reply = self._open.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._open.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[Said]:
        """Yield the pieces as they come. Raises RunnerError when the answer ends in an error."""
        decoder = http.sse.Decoder()
        is_stream = False
        for piece in self._reply:
            try:
                events = decoder.feed(piece)
                chunks = [_parse(one.data) for one in events if one.data != _DONE]
            except (ValueError, http.ProtocolError) as error:
                raise RunnerError(
                    Kind.UNAVAILABLE, f"the server's answer is no stream of JSON objects: {error}"
                ) from None
            is_stream = is_stream or bool(events)
            for chunk in chunks:
                yield from self._read(chunk)
        if not is_stream:
            raise RunnerError(
                Kind.UNAVAILABLE,
                "the server's answer is no stream of events",
                hint="is it an OpenAI-compatible API that answers at this address?",
            )

    def message(self) -> dict[str, Any]:
        """Return the answer as the conversation's next message, without its thoughts."""
        message = {"role": "assistant", "content": self.text or None}
        return message | ({"tool_calls": self.calls} if self.calls else {})

    def _read(self, chunk: dict[str, Any]) -> Iterator[Said]:
        if "error" in chunk:
            raise build_error(500, chunk["error"])
        self.usage = chunk.get("usage") or self.usage
        self.timings = chunk.get("timings") or self.timings
        for choice in chunk.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            delta = choice.get("delta") or {}
            if text := delta.get("reasoning_content"):
                yield Said(text, is_thought=True)
            if text := delta.get("content"):
                self.text += text
                yield Said(text)
            for part in delta.get("tool_calls") or ():
                self._take_call(part)

    def _take_call(self, part: dict[str, Any]) -> None:
        """Take a part of a call: the first has its id and name, all have some of the arguments."""
        index, said = part.get("index"), part.get("function") or {}
        if not (isinstance(index, int) and 0 <= index < len(self.calls)):
            call = {"id": part.get("id") or f"call_{len(self.calls)}", "type": "function"}
            self.calls.append(call | {"function": {"name": "", "arguments": ""}})
            index = -1
        function = self.calls[index]["function"]
        function["name"] += said.get("name") or ""
        function["arguments"] += said.get("arguments") or ""


def _parse(data: str) -> dict[str, Any]:
    chunk = json.loads(data)
    if not isinstance(chunk, dict):
        raise ValueError(f"got {data[:40]}")
    return chunk


class Spent(NamedTuple):
    """Seconds since the question was sent, as the person waited them."""

    first_s: float  # until something was said
    total_s: float


def describe_cost(answer: Answer, spent: Spent) -> str:
    """Tell what an answer cost: token counts and rates, as far as the server told them."""
    prompt, completion = (
        answer.usage.get(f"{part}_tokens", 0) for part in ("prompt", "completion")
    )
    cached = (answer.usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    thought = (answer.usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    thinking = f" ({thought} thinking)" if thought else ""
    parts = [f"prompt {prompt} tokens ({cached} cached){_rate(answer.timings, 'prompt')}"]
    parts.append(f"answer {completion} tokens{thinking}{_rate(answer.timings, 'predicted')}")
    if answer.finish_reason:
        parts.append(f"ended by {answer.finish_reason}")
    parts.append(f"first words after {spent.first_s:.2f} s, {spent.total_s:.2f} s in all")
    return ", ".join(parts)


def _rate(timings: dict[str, Any], part: str) -> str:
    count, spent_ms = timings.get(f"{part}_n", 0), timings.get(f"{part}_ms", 0.0)
    return f" in {spent_ms / 1000:.2f} s ({count / spent_ms * 1000:.1f}/s)" if spent_ms else ""
