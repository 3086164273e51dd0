"""Where each kind of object stands in requests, by its shape's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.fake_service import chat_body

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where objects of a shape stand in a request, and the least that one is."""

    path: str
    least: Json
    within: Callable[[Json], Json] = lambda body: body  # the body that has the object
    answers: bool = True  # whether the scripted engine can answer it
    method: str = "POST"


def chat(**members: Any) -> Json:
    return chat_body("say Hi", **members)


def said(role: str, **members: Any) -> Place:
    least = {"role": role, "content": "say Hi", **members}
    return Place(CHAT, least, lambda message: chat(messages=[message]))


def showing(kind: str, value: Json) -> Json:
    return chat(messages=[{"role": "user", "content": [{"type": kind, kind: value}]}])


CHAT = "/v1/chat/completions"
WAV = "UklGRgAAAABXQVZF"  # the head of one
FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
FUNCTION = {"name": "f", "arguments": "{}"}
WRITTEN = {"name": "c", "input": "a text"}


def calling(call: Json) -> Json:
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    return chat(messages=[turn, {"role": "tool", "content": "say Hi"}])


OPENAI: dict[str, list[Place]] = {
    "chat completion": [Place(CHAT, chat())],
    "stream options": [Place(CHAT, {}, lambda options: chat(stream_options=options))],
    "message": [said("assistant", tool_calls=[]), said("tool")],
    "content part": [
        Place(CHAT, part, lambda part: chat(messages=[{"role": "user", "content": [part]}]))
        for part in ({"type": "text", "text": "say Hi"}, {"type": "refusal", "refusal": "say no"})
    ]
    + [
        Place(
            CHAT,
            {"type": kind},
            lambda part: chat(messages=[{"role": "user", "content": [part]}]),
            answers=False,
        )
        for kind in ("image_url", "input_audio", "file")
    ],
    "image": [
        Place(CHAT, {"url": "data:,"}, lambda one: showing("image_url", one), answers=False),
    ],
    "sound": [
        Place(CHAT, {"data": WAV}, lambda one: showing("input_audio", one), answers=False),
    ],
    "file": [
        Place(
            CHAT,
            {"file_data": f"data:audio/wav;base64,{WAV}"},
            lambda one: showing("file", one),
            answers=False,
        ),
    ],
    "tool call": [Place(CHAT, {"function": FUNCTION}, calling)],
    "called function": [Place(CHAT, FUNCTION, lambda one: calling({"function": one}))],
    "custom tool call": [Place(CHAT, {"type": "custom", "custom": WRITTEN}, calling)],
    "called custom tool": [
        Place(CHAT, WRITTEN, lambda one: calling({"type": "custom", "custom": one}))
    ],
    "tool": [
        Place(CHAT, {"type": "function", "function": {"name": "f"}}, lambda one: chat(tools=[one]))
    ],
    "function": [
        Place(CHAT, {"name": "f"}, lambda one: chat(tools=[{"type": "function", "function": one}]))
    ],
    "custom tool": [
        Place(CHAT, {"type": "custom", "custom": {"name": "c"}}, lambda one: chat(tools=[one]))
    ],
    "custom": [
        Place(CHAT, {"name": "c"}, lambda one: chat(tools=[{"type": "custom", "custom": one}]))
    ],
    "response format": [
        Place(CHAT, FORM, lambda form: chat(response_format=form)),
        Place(CHAT, {"type": "json_object"}, lambda form: chat(response_format=form)),
    ],
    "named JSON schema": [
        Place(CHAT, {}, lambda named: chat(response_format={**FORM, "json_schema": named}))
    ],
    "adapter": [
        Place(CHAT, {at: value, "scale": 1}, lambda one: chat(lora=[one]), answers=False)
        for at, value in (("id", 0), ("name", "x"))
    ],
    "completion": [Place("/v1/completions", {"model": "a", "prompt": "say Hi"})],
    "tokenize": [Place("/tokenize", {"content": "Hi"})],
    "detokenize": [Place("/detokenize", {"tokens": [1]})],
    "infill": [Place("/infill", {"model": "a", "input_prefix": "say Hi", "input_suffix": ""})],
    "completion of llama-server": [Place("/completion", {"model": "a", "prompt": "say Hi"})],
    "snippet": [
        Place(
            "/infill",
            {"text": "Hi"},
            lambda one: {
                "model": "a",
                "input_prefix": "say Hi",
                "input_suffix": "",
                "input_extra": [one],
            },
        )
    ],
    "embeddings": [
        Place("/v1/embeddings", {"model": "a", "input": "Hi"}, answers=False),
        Place("/v1/embeddings", {"model": "a", "content": "Hi"}, answers=False),
    ],
    "ranking": [
        Place("/v1/rerank", {"model": "a", "query": "q", name: ["Hi"]}, answers=False)
        for name in ("documents", "texts")
    ],
    "embedding of text-embeddings-inference": [
        Place("/embed", {"model": "a", "inputs": "Hi"}, answers=False)
    ],
    "scoring": [Place("/v1/score", {"model": "a", "text_1": "Hi", "text_2": "Hi"}, answers=False)],
}

# ---- Docker Model Runner's, and ours ---------------------------------------------------------

MANAGEMENT: dict[str, list[Place]] = {
    "pull": [Place("/models/create", {"from": "a"})],
    "push": [Place("/models/a/push", {})],
    "package": [Place("/models/package", {"name": "b"})],
    "repackage": [Place("/models/a/repackage", {"target": "b"})],
    "login": [Place("/registries/login", {"host": "h", "username": "u", "password": "p"})],
    "logout": [Place("/registries/logout", {"host": "h"})],
    "check": [Place("/models/check", {})],
    "prune": [Place("/models/prune", {})],
    "import": [Place("/models/import", {"from": "hf", "path": "/nowhere"})],
    "move": [Place("/models/move", {"path": "/nowhere"})],
    "tuning": [Place("/engines/tune", {"model": "a"})],
    "configuration": [Place("/engines/_configure", {"model": "a"})],
    "speculative decoding": [
        Place("/engines/_configure", {}, lambda one: {"model": "a", "speculative": one})
    ],
    "engine's options": [
        Place("/engines/_configure", {}, lambda one: {"model": "a", "llamacpp": one})
    ],
    "installation": [Place("/engines/install-backend", {"backend": "llama.cpp"})],
    "removal": [Place("/engines/uninstall-backend", {"backend": "llama.cpp"}, answers=False)],
    "unloading": [Place("/engines/unload", {"all": True})],
}

# ---- Anthropic's -----------------------------------------------------------------------------

MESSAGES = "/v1/messages"


def message(*said: Json, **members: Any) -> Json:
    messages = [*said] or [{"role": "user", "content": "say Hi"}]
    return {"model": "a", "max_tokens": 5, "messages": messages, **members}


def block(least: Json, role: str = "user", answers: bool = True) -> list[Place]:
    """A block of a message, which the text of another follows."""

    def within(one: Json) -> Json:
        shown = {"role": role, "content": [one]}
        return message(shown, {"role": "user", "content": [{"type": "text", "text": "say Hi"}]})

    return [Place(MESSAGES, least, within, answers)]


def source(kind: str, least: Json, answers: bool = True) -> list[Place]:
    """A source of an image or a document."""

    def within(one: Json) -> Json:
        return message({"role": "user", "content": [{"type": kind, "source": one}, SAY]})

    return [Place(MESSAGES, least, within, answers)]


def choice(**least: Any) -> list[Place]:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    return [
        Place(MESSAGES, least, lambda one: message(tools=tools, tool_choice=one), answers=False)
    ]


def thinking(kind: str) -> list[Place]:
    return [Place(MESSAGES, {"type": kind}, lambda one: message(thinking=one))]


SAY = {"type": "text", "text": "say Hi"}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
ANTHROPIC: dict[str, list[Place]] = {
    "messages request": [Place(MESSAGES, message())],
    "output config": [Place(MESSAGES, {}, lambda one: message(output_config=one))],
    "format": [
        Place(
            MESSAGES,
            {"type": "json_schema", "schema": {"type": "object"}},
            lambda one: message(output_config={"format": one}),
        )
    ],
    "tool of a messages request": [
        Place(
            MESSAGES,
            {"name": "f", "input_schema": {"type": "object"}},
            lambda one: message(tools=[one]),
        )
    ],
    "thinking enabled": thinking("enabled"),
    "thinking adaptive": thinking("adaptive"),
    "thinking between tools": thinking("between_tools"),
    "thinking disabled": thinking("disabled"),
    "tool choice auto": choice(type="auto"),
    "tool choice any": choice(type="any"),
    "tool choice tool": choice(type="tool", name="f"),
    "tool choice none": choice(type="none"),
    "message of the user": [
        Place(MESSAGES, {"role": "user", "content": "say Hi"}, lambda one: message(one))
    ],
    "message of the assistant": [
        Place(MESSAGES, {"role": "assistant", "content": "say Hi"}, lambda one: message(one))
    ],
    "message of the system": [
        Place(
            MESSAGES,
            {"role": "system", "content": "Hi"},
            lambda one: message(one, {"role": "user", "content": "say Hi"}),
        )
    ],
    "text block": block(SAY),
    "image block": block({"type": "image", "source": PIXEL}, answers=False),
    "document block": block(
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}}
    ),
    "search result block": block(
        {"type": "search_result", "title": "t", "source": "s", "content": [SAY]}
    ),
    "tool_result block": block({"type": "tool_result", "tool_use_id": "1", "content": "Hi"}),
    "tool_use block": block(
        {"type": "tool_use", "id": "1", "name": "f", "input": {}}, role="assistant"
    ),
    "thinking block": block({"type": "thinking", "thinking": "Hm"}, role="assistant"),
    "redacted thinking block": block({"type": "redacted_thinking", "data": "?"}, role="assistant"),
    "base64 image": source("image", PIXEL, answers=False),
    "image by URL": source("image", {"type": "url", "url": "http://x/"}, answers=False),
    "plain text": source("document", {"type": "text", "data": "Hi"}),
    "document of blocks": source("document", {"type": "content", "content": [SAY]}),
}


# ---- responses -------------------------------------------------------------------------------


def response(**members: Any) -> Json:
    return {"model": "a", "input": "say Hi", **members}


def response_with(name: str, least: Json) -> list[Place]:
    return [Place("/v1/responses", least, lambda one: response(**{name: one}))]


def response_item(least: Json, answers: bool = True) -> list[Place]:
    """An item that a message of the user follows."""
    last = {"role": "user", "content": "say Hi"}
    return [Place("/v1/responses", least, lambda one: response(input=[one, last]), answers)]


def response_part(least: Json, role: str = "user", answers: bool = True) -> list[Place]:
    """A part of a message, the text of another of which follows."""

    def within(one: Json) -> Json:
        return response(
            input=[{"role": role, "content": [one]}, {"role": "user", "content": "say Hi"}]
        )

    return [Place("/v1/responses", least, within, answers)]


def response_tool(least: Json) -> list[Place]:
    return [Place("/v1/responses", least, lambda one: response(tools=[one]))]


CALL: Json = {"call_id": "1", "name": "f"}
RESPONSES: dict[str, list[Place]] = {
    "response": [Place("/v1/responses", response())],
    "response reasoning options": response_with("reasoning", {}),
    "response text options": response_with("text", {}),
    "response stream options": response_with("stream_options", {}),
    "response message": response_item({"role": "user", "content": "Hi"}),
    "response function call": response_item({"type": "function_call", **CALL, "arguments": "{}"}),
    "response custom tool call": response_item({"type": "custom_tool_call", **CALL, "input": ""}),
    "response tool output": response_item(
        {"type": "function_call_output", "call_id": "1", "output": "Hi"}
    ),
    "response reasoning": response_item({"type": "reasoning", "summary": []}),
    "response item reference": response_item({"type": "item_reference", "id": "1"}, answers=False),
    "response text part": response_part({"type": "input_text", "text": "Hi"}),
    "response refusal part": response_part({"type": "refusal", "refusal": "no"}, role="assistant"),
    "response image part": response_part(
        {"type": "input_image", "image_url": "data:,"}, answers=False
    ),
    "response audio part": response_part(
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, answers=False
    ),
    "response file part": response_part(
        {"type": "input_file", "file_data": "data:,"}, answers=False
    ),
    "response thought part": [
        Place(
            "/v1/responses",
            {"type": "summary_text", "text": "Hm"},
            lambda one: response(
                input=[
                    {"type": "reasoning", "summary": [one]},
                    {"role": "user", "content": "say Hi"},
                ]
            ),
        )
    ],
    "response function": response_tool({"type": "function", "name": "f"}),
    "response custom tool": response_tool({"type": "custom", "name": "f"}),
    "response namespace": response_tool({"type": "namespace", "name": "f", "tools": []}),
    "response format of text": [
        Place(
            "/v1/responses",
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
            lambda one: response(text={"format": one}),
        )
    ],
}


# ---- Ollama's --------------------------------------------------------------------------------


def ollama(**members: Any) -> Json:
    said = {"role": "user", "content": "say Hi"}
    return {"model": "a", "messages": [said], "stream": False, **members}


def ollama_turn(one: Json) -> Json:
    said = {"role": "assistant", "content": "", "tool_calls": [one]}
    return ollama(messages=[said, {"role": "user", "content": "say Hi"}])


OLLAMA: dict[str, list[Place]] = {
    "Ollama chat request": [Place("/api/chat", ollama())],
    "Ollama options": [Place("/api/chat", {}, lambda one: ollama(options=one))],
    "Ollama message": [
        Place(
            "/api/chat", {"role": "user", "content": "say Hi"}, lambda one: ollama(messages=[one])
        )
    ],
    "Ollama tool call": [Place("/api/chat", {"function": {"name": "f"}}, ollama_turn)],
    "Ollama function call": [
        Place("/api/chat", {"name": "f"}, lambda one: ollama_turn({"function": one}))
    ],
    "Ollama generate request": [
        Place("/api/generate", {"model": "a", "prompt": "say Hi", "stream": False})
    ],
    "Ollama embed request": [Place("/api/embed", {"model": "a", "input": "Hi"}, answers=False)],
    "Ollama embeddings request": [
        Place("/api/embeddings", {"model": "a", "prompt": "Hi"}, answers=False)
    ],
    "Ollama create request": [
        Place("/api/create", {"model": "b", "from": "a", "stream": False}, answers=False)
    ],
    "Ollama model parameters": [
        Place("/api/create", {}, lambda one: {"model": "b", "from": "a", "parameters": one})
    ],
    "Ollama show request": [Place("/api/show", {"model": "a"})],
    "Ollama copy request": [Place("/api/copy", {"source": "a", "destination": "b"})],
    "Ollama delete request": [Place("/api/delete", {"model": "a"}, method="DELETE")],
    "Ollama pull or push request": [Place("/api/pull", {"model": "a", "stream": False})],
}

PLACES = {**OPENAI, **RESPONSES, **ANTHROPIC, **OLLAMA, **MANAGEMENT}
