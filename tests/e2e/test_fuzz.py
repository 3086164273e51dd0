"""Requests that are nearly right, on every route that reads one: no answer is a fault of ours."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import MODEL, Daemon

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("same_worker")]

SOME = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHORT = {"max_tokens": 2, "temperature": 0}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
FLAT = {"type": "json_schema", "name": "s", "schema": SCHEMA}
BRIEF = {"max_output_tokens": 2, "temperature": 0}
USED = {"type": "tool_use", "id": "c", "name": "f", "input": {"a": "b"}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "1"}
OPTIONS = {"options": {"num_predict": 2, "temperature": 0, "stop": ["x"], "num_ctx": 512}}
OLLAMA_TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
    },
    {"role": "tool", "content": "1", "tool_name": "f"},
]
CHAT = {"messages": TURNS, "tools": [{"type": "function", "function": FUNCTION}], "stream": True}

# What is right, by route. Left out is what reaches for a network or takes a model away.
RIGHT: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        CHAT | SHORT | {"tool_choice": "auto", "stream_options": {"include_usage": True}},
        CHAT | SHORT | {"stream": False, "tool_choice": "required"},
        {"messages": TURNS[:2], "response_format": FORMAT, "stop": ["x"], "n": 2} | SHORT,
    ],
    "/v1/completions": [
        {"prompt": ["a", [1, 2]], "logprobs": 2, "stream": True, "best_of": 1} | SHORT,
        {"prompt": "a", "echo": True, "seed": 1} | SHORT,
    ],
    "/v1/embeddings": [{"input": ["a", [1]], "encoding_format": "base64", "dimensions": 8}],
    "/v1/chat/completions/input_tokens": [CHAT],
    "/v1/responses/input_tokens": [{"input": "a", "instructions": "b", "tools": []}],
    "/rerank": [{"query": "a", "documents": ["b", {"text": "c"}], "top_n": 1}],
    "/score": [{"text_1": "a", "text_2": ["b"]}],
    "/tokenize": [{"content": "a", "add_special": True, "with_pieces": True}],
    "/detokenize": [{"tokens": [1, 2]}],
    "/apply-template": [CHAT],
    "/v1/responses": [
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "1"},
            ],
            "tools": [{"type": "function", **FUNCTION}],
            "stream": True,
            "include": ["message.output_text.logprobs"],
        }
        | BRIEF,
        {"input": "a", "instructions": "b", "text": {"format": FLAT}, "reasoning": {}} | BRIEF,
    ],
    "/v1/messages": [
        {
            "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [USED]},
                {"role": "user", "content": [RESULT]},
            ],
            "tools": [{"name": "f", "input_schema": SCHEMA}],
            "tool_choice": {"type": "auto"},
            "stream": True,
        }
        | SHORT,
        {"messages": TURNS[1:2], "thinking": {"type": "disabled"}, "stop_sequences": ["x"]} | SHORT,
    ],
    "/v1/messages/count_tokens": [{"messages": TURNS[1:2], "system": "a"}],
    "/api/chat": [
        {"messages": OLLAMA_TURNS, "tools": CHAT["tools"], "think": False} | OPTIONS,
        {"messages": OLLAMA_TURNS[:1], "stream": False, "format": SCHEMA, "keep_alive": 300}
        | OPTIONS,
    ],
    "/api/generate": [
        {"prompt": "a", "system": "b", "raw": False, "format": "json", "images": []} | OPTIONS,
        {"prompt": "a", "stream": False, "raw": True} | OPTIONS,
    ],
    "/api/embed": [{"input": ["a"], "truncate": True, "options": {}}],
    "/api/embeddings": [{"prompt": "a"}],
    "/api/show": [{"verbose": True}],
    "/infill": [{"input_prefix": "a", "input_suffix": "b", "input_extra": []} | SHORT],
}
# Answers of a length that nobody asked for would take the test's time.
KEPT = frozenset(
    {"max_tokens", "max_completion_tokens", "n_predict", "max_output_tokens", "num_predict"}
    # What keeps or unloads the model.
    | {"keep_alive", "options"}
)
WORDS = """
messages model stream n stop seed logit_bias logprobs top_logprobs response_format json_schema tools
tool_choice parallel_tool_calls chat_template_kwargs reasoning_format reasoning_effort samplers
add_generation_prompt continue_final_message cache_prompt ignore_eos temperature top_p top_k min_p
presence_penalty repeat_penalty repeat_last_n mirostat dry_sequence_breakers role content type text
prompt suffix echo best_of input query documents tokens user metadata store keep_alive lora id name
arguments function parameters properties items enum pattern $ref anyOf required tool_calls
tool_call_id reasoning_content image_url input_audio instructions include reasoning text format
previous_response_id call_id output system thinking tool_use_id source cache_control input_schema
images think raw template
"""
NAMES = WORDS.split()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        ["", "none", "auto", "required", "text", "json_object", MODEL, "\0", "9" * 40]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """List every member of a body that may be changed: its container, and its key or index."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            if key not in KEPT:
                found += [(value, key), *places(value[key])]
    return found


@st.composite
def bodies(draw: st.DrawFn, path: str) -> dict[str, Any]:
    """A right body with a few members changed, added or taken away."""
    body = copy.deepcopy(draw(st.sampled_from(RIGHT[path])))
    if draw(st.integers(0, 9)):
        body["model"] = MODEL
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(body) or [(body, "model")]))
        match draw(st.sampled_from(["change", "change", "add", "drop"])):
            case "change":
                container[key] = draw(VALUES)
            case "add" if isinstance(container, dict):
                container[draw(st.sampled_from(NAMES))] = draw(VALUES)
            case "add":
                container.append(draw(VALUES))
            case _ if isinstance(container, dict):
                container.pop(key, None)
            case _:
                del container[key]
    return body


# An error in the middle of a stream, as each dialect tells it.
FAULT = re.compile(
    rb'^event: error|^data: {"error"|^{"error"|"type":"response.failed"', re.MULTILINE
)


def check(answer: requests.Response) -> None:
    """An answer is one, or an error that is the client's and says what it is."""
    assert answer.status_code in (200, 400, 404, 413), (answer.status_code, answer.text[:500])
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert error if isinstance(error, str) else error["message"]
    else:
        assert not FAULT.search(answer.content), answer.text[:500]


@pytest.mark.parametrize("path", RIGHT)
def test_a_right_request_is_no_error_of_ours(daemon: Daemon, path: str) -> None:
    for body in RIGHT[path]:
        check(daemon.post(path, body | {"model": MODEL}))


@pytest.mark.parametrize("path", RIGHT)
def test_nothing_a_client_sends_is_our_fault(daemon: Daemon, path: str) -> None:
    @SOME
    @given(body=bodies(path))
    def try_one(body: dict[str, Any]) -> None:
        check(daemon.post(path, body))

    try_one()
