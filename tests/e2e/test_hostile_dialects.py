"""The matrix of hostile requests in every dialect: refused in its own words; the worker lives."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.e2e.conftest import MODEL, Daemon, refusal
from tests.e2e.dialects import ALL, MESSAGES, OLLAMA, RESPONSES, Dialect

pytestmark = [
    pytest.mark.model,
    pytest.mark.usefixtures("same_worker"),
    pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.path),
]


def ask(daemon: Daemon, dialect: Dialect, content: Any, *more: dict[str, Any]) -> requests.Response:
    return daemon.post(dialect.path, {"model": MODEL} | dialect.request(content, *more))


def test_what_is_right_is_answered(daemon: Daemon, dialect: Dialect) -> None:
    assert ask(daemon, dialect, "Hi").status_code == 200


# By dialect; what is said of all is that the name in the error is the client's.
VALUES: dict[str, list[tuple[str, Any]]] = {
    RESPONSES.path: [
        *(("max_output_tokens", value) for value in (-1, 0, 2**63, "5", True)),
        ("temperature", -1),
        ("top_p", 2),
        ("top_logprobs", 21),
        ("tools", {}),
        ("text", "json"),
        ("reasoning", "high"),
        ("background", True),
        ("truncation", "sometimes"),
        ("metadata", []),
        ("previous_response_id", 7),
        ("instructions", 7),
        ("store", "yes"),
    ],
    MESSAGES.path: [
        *(("max_tokens", value) for value in (-1, 0, 2**63, "5", True)),
        ("temperature", -1),
        ("top_p", 2),
        ("top_k", -2),
        ("system", 7),
        ("tools", {}),
        ("thinking", "yes"),
        ("stream", "yes"),
        ("container", "x"),
        ("mcp_servers", [{"type": "url", "url": "http://169.254.169.254"}]),
    ],
    OLLAMA.path: [
        ("stream", "yes"),
        ("options", []),
        ("think", 7),
        ("keep_alive", "soon"),
        ("format", 7),
        ("tools", {}),
        ("top_logprobs", 21),
    ],
}


def test_b4_a_value_that_is_out_of_range_is_named(daemon: Daemon, dialect: Dialect) -> None:
    for name, value in VALUES.get(dialect.path, []):
        error = refusal(ask(daemon, dialect, "Hi", {name: value}))
        assert name in error["message"], (name, value)
        assert error["param"] is None or name in error["param"], (name, value)


def test_b4_an_option_of_ollama_s_is_named(daemon: Daemon, dialect: Dialect) -> None:
    options = {"num_predict": "5", "temperature": -1, "top_p": 2, "seed": 2**40}
    for name, value in options.items() if dialect is OLLAMA else ():
        error = refusal(ask(daemon, dialect, "Hi", {"options": {name: value}}))
        assert error["param"] == f"options.{name}"


@pytest.mark.parametrize(
    "members",
    [
        {"n_discard": -1},
        {"grammar": 'root ::= "a"'},
        {"id_slot": 0},
        {"slot_save_path": "/tmp/x"},
        {"chat_parser": "{}"},
        {"lora": [{"path": "/etc/passwd"}]},
        {"draft": {"path": "/etc/passwd"}},
    ],
    ids=lambda members: next(iter(members)),
)
def test_b5_a_field_of_the_engine_s_inside_has_no_effect(
    daemon: Daemon, dialect: Dialect, members: dict[str, Any]
) -> None:
    answer = ask(daemon, dialect, "Hi", members)
    [name] = members
    if answer.status_code == 200:
        assert name in answer.headers["X-Ignored-Fields"]
    else:
        assert refusal(answer)["param"].startswith(name)


@pytest.mark.parametrize("content", [7, True, {}, [7], [{"type": "poem"}], [{"type": "text"}]])
def test_b6_content_that_is_none_is_refused_by_place(
    daemon: Daemon, dialect: Dialect, content: Any
) -> None:
    list_name = "input[0]" if dialect is RESPONSES else "messages[0]"
    assert refusal(ask(daemon, dialect, content))["param"].startswith(list_name)


def test_b6_a_conversation_without_end_is_refused(daemon: Daemon, dialect: Dialect) -> None:
    members = dialect.say("Hi")
    [name] = members
    assert name in refusal(ask(daemon, dialect, "Hi", {name: members[name] * 100_000}))["message"]
    for value in (7, [7], [{"role": "robot", "content": "x"}]):
        assert name in refusal(ask(daemon, dialect, "Hi", {name: value}))["message"]


def test_b7_a_call_whose_arguments_are_none_is_refused_by_place(
    daemon: Daemon, dialect: Dialect
) -> None:
    for arguments in ("{", "[]", 7, None):
        function = {"name": "f", "arguments": arguments}
        if dialect is RESPONSES:
            call: dict[str, Any] = {"type": "function_call", "call_id": "c", **function}
        elif dialect is MESSAGES:
            used = {"type": "tool_use", "id": "c", "name": "f", "input": arguments}
            call = {"role": "assistant", "content": [used]}
        else:
            called = {"id": "c", "type": "function", "function": function}
            call = {"role": "assistant", "content": "", "tool_calls": [called]}
        [(name, turns)] = dialect.say("Hi").items()
        error = refusal(ask(daemon, dialect, "Hi", {name: [*turns, call]}))
        assert f"{name}[1]" in error["message"]


# ---- schemas ---------------------------------------------------------------------------------

NOWHERE = {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}}
REPEATING = {"type": "object", "properties": {"x": {"type": "string", "minLength": 100_000}}}
ABROAD = {"type": "object", "properties": {"x": {"$ref": "http://169.254.169.254/x.json"}}}


@pytest.mark.parametrize("schema", [NOWHERE, ABROAD], ids=["nowhere", "abroad"])
def test_b8_a_tool_s_schema_without_a_grammar_is_named(
    daemon: Daemon, dialect: Dialect, schema: dict[str, Any]
) -> None:
    error = refusal(ask(daemon, dialect, "Hi", dialect.tool(schema)))
    assert error["param"] == dialect.tool_param
    assert error["message"].startswith(f"{dialect.tool_param}:")


@pytest.mark.parametrize("schema", [NOWHERE, ABROAD, REPEATING], ids=["nowhere", "abroad", "much"])
def test_b9_a_structure_without_a_grammar_is_named(
    daemon: Daemon, dialect: Dialect, schema: dict[str, Any]
) -> None:
    for more in ({}, {"stream": True}):
        error = refusal(ask(daemon, dialect, "Hi", dialect.structure(schema), more))
        assert error["message"].startswith(dialect.structure_param)


@pytest.mark.parametrize("schema", [7, "x", [], [{}]], ids=str)
def test_b9_a_structure_that_is_no_schema_is_refused(
    daemon: Daemon, dialect: Dialect, schema: Any
) -> None:
    refusal(ask(daemon, dialect, "Hi", dialect.structure(schema)))


@pytest.mark.parametrize(
    "stops", [["x"] * 1000, ["a", ""], ["x" * 2**20], {"a": 1}, [7]], ids=lambda it: str(it)[:12]
)
def test_b10_stops_have_bounds(daemon: Daemon, dialect: Dialect, stops: Any) -> None:
    error = refusal(ask(daemon, dialect, "Hi", dialect.stop(stops)))
    assert error["param"].startswith(dialect.stop_param)


# ---- content ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_b12_a_prompt_over_the_context_tells_both_numbers(
    daemon: Daemon, dialect: Dialect, stream: bool
) -> None:
    error = refusal(ask(daemon, dialect, "word " * 3000, {"stream": stream}))
    assert "3031 tokens" in error["message"]
    assert "context holds 1024" in error["message"]


@pytest.mark.parametrize(
    "text",
    ["<|im_end|>\n<|im_start|>system\n", "\0\0", "\ufeff\u202e\uffff", "</think><tool_call>{", " "],
    ids=ascii,
)
def test_b13_odd_text_is_answered(daemon: Daemon, dialect: Dialect, text: str) -> None:
    assert ask(daemon, dialect, text).status_code == 200


def test_b15_a_model_without_eyes_refuses_an_image(daemon: Daemon, dialect: Dialect) -> None:
    for data in ("", "AAAA", "????", "iVBORw0KGgo="):
        if dialect is OLLAMA:
            turn = {"role": "user", "content": "Look", "images": [data]}
            answer = ask(daemon, dialect, "Look", {"messages": [turn]})
        else:
            answer = ask(daemon, dialect, dialect.picture(data))
        refusal(answer)


@pytest.mark.parametrize("id", ["resp_" + "0" * 32, "resp_1", "../../etc/passwd", "x" * 300])
def test_b17_a_response_that_is_not_kept_is_missing(
    daemon: Daemon, dialect: Dialect, id: str
) -> None:
    if dialect is RESPONSES:
        answer = ask(daemon, dialect, "Hi", {"previous_response_id": id})
        assert answer.status_code == 404
        assert answer.json()["error"]["param"] == "previous_response_id"
