"""How each dialect says the same things: what hostile tests ask of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Members = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """One route for conversations; members are those of its request, but for the model."""

    path: str
    short: Members  # few tokens, and those at once
    say: Callable[[Any], Members]  # a conversation of one message, with this content
    picture: Callable[[str], Any]  # content with an image of this base64
    tool: Callable[[Any], Members]  # a function whose arguments have this schema, that is called
    tool_param: str  # the name of that schema in errors
    structure: Callable[[Any], Members]  # an answer held to this schema
    structure_param: str
    stop: Callable[[Any], Members]
    stop_param: str

    def request(self, content: Any, *more: Members) -> Members:
        """Return a whole request but for its model."""
        whole = self.say(content) | self.short
        for members in more:
            whole |= members
        return whole


def _turns(content: Any) -> Members:
    return {"messages": [{"role": "user", "content": content}]}


def _function(schema: Any) -> Members:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


CHAT = Dialect(
    path="/v1/chat/completions",
    short={"max_tokens": 2, "temperature": 0},
    say=_turns,
    picture=lambda data: [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    ],
    tool=lambda schema: {"tools": [_function(schema)], "tool_choice": "required"},
    tool_param="tools[0].function.parameters",
    structure=lambda schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    },
    structure_param="response_format",
    stop=lambda stops: {"stop": stops},
    stop_param="stop",
)
RESPONSES = Dialect(
    path="/v1/responses",
    short={"max_output_tokens": 16, "temperature": 0, "stop": ["e", "a", "o"]},
    say=lambda content: {"input": [{"role": "user", "content": content}]},
    picture=lambda data: [
        {"type": "input_image", "image_url": f"data:image/png;base64,{data}", "detail": "auto"}
    ],
    tool=lambda schema: {
        "tools": [{"type": "function", "name": "f", "parameters": schema, "strict": False}],
        "tool_choice": "required",
    },
    tool_param="tools[0].parameters",
    structure=lambda schema: {
        "text": {"format": {"type": "json_schema", "name": "s", "schema": schema}}
    },
    structure_param="text.format",
    stop=lambda stops: {"stop": stops},
    stop_param="stop",
)
MESSAGES = Dialect(
    path="/v1/messages",
    short={"max_tokens": 2, "temperature": 0},
    say=_turns,
    picture=lambda data: [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    ],
    tool=lambda schema: {
        "tools": [{"name": "f", "input_schema": schema}],
        "tool_choice": {"type": "any"},
    },
    tool_param="tools[0].input_schema",
    structure=lambda schema: {
        "output_config": {"format": {"type": "json_schema", "schema": schema}}
    },
    structure_param="output_config.format",
    stop=lambda stops: {"stop_sequences": stops},
    stop_param="stop_sequences",
)
OLLAMA = Dialect(
    path="/api/chat",
    short={"options": {"num_predict": 2, "temperature": 0}},
    say=_turns,
    picture=lambda data: "Look",  # beside the content: see hostile tests of its own
    tool=lambda schema: {"tools": [_function(schema)]},
    tool_param="tools[0].function.parameters",
    structure=lambda schema: {"format": schema},
    structure_param="format",
    stop=lambda stops: {"options": {"stop": stops}},
    stop_param="options.stop",
)
ALL = (CHAT, RESPONSES, MESSAGES, OLLAMA)
