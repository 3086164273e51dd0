from __future__ import annotations

import json
from typing import Any

import pytest

from runner.cli.answer_page import View
from runner.cli.chat import Conversation
from runner.cli.endpoint import Endpoint
from runner.cli.mcp import Tool
from runner.cli.repl import print_answer
from runner.cli.websearch import MAX_RESULT_CHARACTERS, WebSearch
from runner.errors import Kind, RunnerError
from tests.support.console import FakeRemote, make_console

PATH = "POST /v1/chat/completions"
FIND = Tool("find", "Finds pages.", {"type": "object"})
OFFER = [
    {
        "type": "function",
        "function": {
            "name": "find",
            "description": "Finds pages.",
            "parameters": {"type": "object"},
        },
    }
]


class FakeServer:
    """Answers each call with the next of some texts; an error is raised."""

    endpoint = Endpoint("search", 443, is_tls=True)

    def __init__(self, *found: str | RunnerError) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._found = iter(found)

    def use(self, name: str, arguments: dict[str, Any]) -> str:
        self.calls.append((name, arguments))
        found = next(self._found)
        if isinstance(found, RunnerError):
            raise found
        return found


def says(*deltas: dict[str, Any]) -> list[bytes]:
    return [
        b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"
        for delta in deltas
    ]


def calls(name: str, arguments: str, index: int = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]}


def ask(
    answers: list[Any], server: FakeServer, **parameters: Any
) -> tuple[str, str, list[dict[str, Any]]]:
    """One question; returns what was printed, what was told, and the requests."""
    answered = iter(answers)

    def answer(_: Any) -> Any:
        following = next(answered)
        if isinstance(following, RunnerError):
            raise following
        return following

    remote = FakeRemote({PATH: answer})
    console = make_console(remote)
    search = WebSearch(console, server, [FIND])  # type: ignore[arg-type]
    conversation = Conversation("m", parameters=parameters)
    print_answer(console, remote, conversation, "hi", View(), search)  # type: ignore[arg-type]
    requests = [body for _, body in remote.requests]
    return console.out.getvalue(), console.err.getvalue(), requests  # type: ignore[attr-defined]


def result_of(requests: list[dict[str, Any]]) -> str:
    message = requests[1]["messages"][-1]
    assert message["role"] == "tool"
    content: str = message["content"]
    return content


def test_an_answer_without_calls_is_the_answer() -> None:
    out, err, requests = ask([says({"content": "ok"})], FakeServer())
    assert (out, err) == ("ok\n", "")
    assert [request["tools"] for request in requests] == [OFFER]


def test_calls_are_carried_out_in_order_and_told() -> None:
    server = FakeServer("one", "two")
    first = says(calls("find", '{"q": 1}'), calls("find", '{"q": "\u202e"}', 1))
    out, err, requests = ask([first, says({"content": "ok"})], server)
    assert (out, server.calls) == ("ok\n", [("find", {"q": 1}), ("find", {"q": "\u202e"})])
    assert err == 'Web search: find {"q": 1}\nWeb search: find {"q": "\ufffd"}\n'
    assert [message.get("content") for message in requests[1]["messages"]] == [
        "hi",
        None,
        "one",
        "two",
    ]


def test_a_call_may_come_in_parts_of_any_size() -> None:
    parts = [{"index": 0, "function": {"arguments": letter}} for letter in '{"q":"x"}']
    first = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "find"}}, *parts]}
    server = FakeServer("found")
    _, _, requests = ask([says(first), says({"content": "ok"})], server)
    assert server.calls == [("find", {"q": "x"})]
    assert requests[1]["messages"][1]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "find", "arguments": '{"q":"x"}'}}
    ]


def test_a_call_without_an_id_or_an_index_gets_one() -> None:
    whole = {"tool_calls": [{"function": {"name": "find", "arguments": None}}]}
    server = FakeServer("a", "b")
    _, _, requests = ask([says(whole, whole), says({"content": "ok"})], server)
    assert server.calls == [("find", {}), ("find", {})]
    ids = [call["id"] for call in requests[1]["messages"][1]["tool_calls"]]
    assert ids == ["call_0", "call_1"]


def test_a_tool_that_is_not_there_is_answered_and_never_called() -> None:
    server = FakeServer()
    _, _, requests = ask([says(calls("rm", "{}")), says({"content": "ok"})], server)
    assert result_of(requests) == "There is no tool rm, only: find."
    assert server.calls == []


@pytest.mark.parametrize("arguments", ["{", "[]", '"x"', "[" * 100_000])
def test_arguments_that_are_none_are_answered(arguments: str) -> None:
    server = FakeServer()
    _, _, requests = ask([says(calls("find", arguments)), says({"content": "ok"})], server)
    assert result_of(requests) == "The arguments must be one JSON object."
    assert server.calls == []


def test_a_search_that_fails_is_told_to_both() -> None:
    server = FakeServer(RunnerError(Kind.TIMEOUT, "it slept", hint="wake it"))
    out, err, requests = ask([says(calls("find", "{}")), says({"content": "ok"})], server)
    assert out == "ok\n"
    assert err == "Web search: find {}\nWeb search failed: it slept; wake it\n"
    assert result_of(requests) == "The search failed: it slept"


def test_a_long_result_is_cut() -> None:
    server = FakeServer("x" * (MAX_RESULT_CHARACTERS + 1))
    _, _, requests = ask([says(calls("find", "{}")), says({"content": "ok"})], server)
    assert result_of(requests) == "x" * 16_000 + "\n[16001 characters in all]"


def test_after_ten_rounds_an_answer_must_come() -> None:
    server = FakeServer(*["again"] * 10)
    endless = [says(calls("find", "{}"))] * 10
    out, _, requests = ask([*endless, says({"content": "well"})], server, tool_choice="required")
    assert (out, len(server.calls), len(requests)) == ("well\n", 10, 11)
    assert [request["tool_choice"] for request in requests] == ["required"] * 10 + ["none"]
    assert all(request["tools"] == OFFER for request in requests)


def test_what_is_said_between_searches_is_a_paragraph_each() -> None:
    first = says({"content": "Hm."}, calls("find", "{}"))
    out, _, _ = ask([first, says({"content": "ok"})], FakeServer("found"))
    assert out == "Hm.\n\nok\n"


@pytest.mark.parametrize("kind", [Kind.TEMPLATE_ERROR, Kind.INVALID_REQUEST])
def test_a_model_without_tools_is_asked_without(kind: Kind) -> None:
    refused = RunnerError(kind, "the template knows no tools")
    out, err, requests = ask([refused, says({"content": "ok"})], FakeServer())
    assert out == "ok\n"
    assert err == (
        "Without web search, as this model takes no tools: the template knows no tools\n"
    )
    assert ["tools" in request for request in requests] == [True, False]


@pytest.mark.parametrize("kind", [Kind.CONTEXT_LENGTH_EXCEEDED, Kind.UNAVAILABLE])
def test_another_fault_is_told(kind: Kind) -> None:
    with pytest.raises(RunnerError, match="too long"):
        ask([RunnerError(kind, "too long")], FakeServer())


def test_a_fault_without_tools_is_the_one_that_counts() -> None:
    refused = [RunnerError(Kind.INVALID_REQUEST, "no tools"), RunnerError(Kind.STORE, "no disk")]
    with pytest.raises(RunnerError, match="no disk"):
        ask(refused, FakeServer())
