"""The MCP client against servers that answer as they like."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runner.cli.foreign import parse_url
from runner.cli.mcp import MAX_ANSWER_BYTES, ToolServer
from runner.errors import Kind, RunnerError

AGREED = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}}
TOOL = {"name": "find", "inputSchema": {"type": "object"}}
Play = Callable[["Handler", dict[str, Any]], None]  # answers one request


class Handler(BaseHTTPRequestHandler):
    """Opens a session, and leaves what comes then to the test."""

    play: Play
    agreed: dict[str, Any] = AGREED
    session: str | None = "s1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((message, dict(self.headers)))  # type: ignore[attr-defined]
        if message["method"] == "initialize":
            session = [("Mcp-Session-Id", self.session)] if self.session else []
            self.result(message, self.agreed, *session)
        elif "id" not in message:
            self.reply(202, b"")
        else:
            self.play(message)

    def do_DELETE(self) -> None:
        self.server.seen.append(("DELETE", dict(self.headers)))  # type: ignore[attr-defined]
        self.reply(405, b"")

    def result(self, message: dict[str, Any], result: Any, *fields: tuple[str, str]) -> None:
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        self.reply(200, json.dumps(answer).encode(), ("Content-Type", "application/json"), *fields)

    def reply(self, status: int, body: bytes, *fields: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def events(self, *messages: Any) -> None:
        data = "".join(f"id: 1\ndata: {json.dumps(one) if one else ''}\n\n" for one in messages)
        self.reply(200, data.encode(), ("Content-Type", "text/event-stream; charset=utf-8"))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def playing(
    play: Play, *, handler: type[Handler] = Handler, **options: Any
) -> Iterator[tuple[ToolServer, list[Any]]]:
    """A client, and what its server has seen."""
    handler = type("Played", (handler,), {"play": play})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/mcp?a=b"
            endpoint, path = parse_url(url, "X", may_have_query=True)
            names = {"api_key": "k1", "source": "X_URL", "key_variable": "X_KEY"}
            yield ToolServer(endpoint, path, **(names | options)), server.seen  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def use(play: Play, **options: Any) -> str:
    with playing(play, **options) as (server, _), server:
        return server.use("find", {"what": "x"})


def refusal(play: Play, **options: Any) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        use(play, **options)
    return caught.value


def test_a_session_is_opened_used_and_ended() -> None:
    with playing(lambda h, m: h.result(m, {"content": []})) as (server, seen), server:
        server.use("find", {"what": "x"})
    messages = [message for message, _ in seen]
    assert [one if one == "DELETE" else one["method"] for one in messages] == [
        "initialize",
        "notifications/initialized",
        "tools/call",
        "DELETE",
    ]
    assert messages[0]["params"]["protocolVersion"] == "2025-06-18"
    assert messages[2]["params"] == {"name": "find", "arguments": {"what": "x"}}
    for _, headers in seen:
        assert headers["Authorization"] == "Bearer k1"
        assert headers["Accept"] == "application/json, text/event-stream"
    assert "Mcp-Session-Id" not in seen[0][1]
    for _, headers in seen[1:]:
        assert headers["Mcp-Session-Id"] == "s1"
        assert headers["MCP-Protocol-Version"] == "2025-06-18"


def test_tools_are_listed_page_by_page() -> None:
    def play(handler: Handler, message: dict[str, Any]) -> None:
        is_first = message["params"] == {}
        page = {"tools": [TOOL | {"description": "finds"}], "nextCursor": "2"}
        handler.result(message, page if is_first else {"tools": [TOOL | {"name": "find2"}]})

    with playing(play) as (server, seen), server:
        assert server.tools() == [
            ("find", "finds", {"type": "object"}),
            ("find2", "", {"type": "object"}),
        ]
    assert seen[3][0]["params"] == {"cursor": "2"}


def test_what_comes_before_an_answer_is_passed_over() -> None:
    def play(handler: Handler, message: dict[str, Any]) -> None:
        answer = {"id": message["id"], "result": {"content": [{"type": "text", "text": "yes"}]}}
        note = {"method": "notifications/message", "params": {}}
        handler.events(None, note, {"id": message["id"], "method": "ping"}, {"id": 99}, answer)

    assert use(play) == "yes"


def test_what_is_no_text_is_named() -> None:
    content = [
        {"type": "text", "text": "a\ud800"},
        {"type": "resource", "resource": {"uri": "x:y", "text": "b"}},
        {"type": "resource_link", "uri": "x:z"},
        {"type": "image", "data": "AA=="},
        None,
    ]
    assert use(lambda h, m: h.result(m, {"content": content})) == "a?\n\nb\n\nx:z\n\n[image]\n\n"


def test_a_session_that_is_forgotten_is_opened_again() -> None:
    def play(handler: Handler, message: dict[str, Any]) -> None:
        if message["id"] == 2:
            handler.reply(404, b"")
        else:
            handler.result(message, {"content": [{"type": "text", "text": "yes"}]})

    assert use(play) == "yes"


def test_a_server_without_sessions_is_told_no_end() -> None:
    class Stateless(Handler):
        session = None

    def play(handler: Handler, message: dict[str, Any]) -> None:
        handler.result(message, {"tools": []})

    with playing(play, handler=Stateless) as (server, seen):
        with server:
            server.tools()
        assert [message["method"] for message, _ in seen] == [
            "initialize",
            "notifications/initialized",
            "tools/list",
        ]
    assert "Mcp-Session-Id" not in seen[2][1]


def test_what_the_server_calls_an_error_is_told() -> None:
    error = {"code": -32602, "message": "no such tool"}
    refused = refusal(lambda h, m: h.events({"id": m["id"], "error": error}))
    assert (refused.kind, refused.message.endswith(": no such tool")) == (
        Kind.INVALID_REQUEST,
        True,
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "it is no JSON object"),
        (b"[]", "it is no JSON object"),
        (b"[" * 100_000, "it is no JSON object"),
        (b"{}", "it is not there"),
        (b'{"id": 2}', "it has neither a result nor an error"),
        (b'{"id": 2, "result": {}}', "the result of the tool has no content"),
        (b" " * (MAX_ANSWER_BYTES + 1), "it is over 4194304 bytes"),
    ],
    ids=["html", "list", "deep", "other", "neither", "empty", "large"],
)
def test_an_answer_that_is_not_of_mcp_is_refused(body: bytes, said: str) -> None:
    refused = refusal(lambda h, m: h.reply(200, body))
    assert refused.kind is Kind.UNAVAILABLE
    assert said in refused.message
    assert refused.hint == "X_URL takes another's address"


def test_endless_events_are_refused() -> None:
    def play(handler: Handler, message: dict[str, Any]) -> None:
        handler.reply(200, b"data: ", ("Content-Type", "text/event-stream"))
        handler.wfile.write(b"x" * (MAX_ANSWER_BYTES + 1))

    assert "over 4194304 bytes" in refusal(play).message


def test_signs_of_life_are_no_answer() -> None:
    def play(handler: Handler, message: dict[str, Any]) -> None:
        handler.reply(200, b":\n\n" * 10, ("Content-Type", "text/event-stream"))

    hours = iter(range(0, 36_000, 3_600))
    refused = refusal(play, clock=lambda: next(hours))
    assert refused.kind is Kind.TIMEOUT
    assert refused.message.endswith("did not finish its answer within 60 s")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"tools": {}}, "no list of tools"),
        ({"tools": [{"name": "find"}]}, "a tool has no name or no schema"),
        ({"tools": [], "nextCursor": "again"}, "more than 10 pages"),
    ],
)
def test_a_list_of_tools_that_is_none_is_refused(page: Any, said: str) -> None:
    with (
        playing(lambda h, m: h.result(m, page)) as (server, _),
        server,
        pytest.raises(RunnerError, match=said),
    ):
        server.tools()


def test_no_answer_leads_elsewhere() -> None:
    refused = refusal(lambda h, m: h.reply(307, b"", ("Location", "http://127.0.0.2:9/mcp")))
    assert "answers 307 and points to http://127.0.0.2:9/mcp" in refused.message
    assert refused.hint == "give that address to X_URL"


def test_a_key_that_is_missing_is_asked_for() -> None:
    refused = refusal(lambda h, m: h.reply(401, b'{"error": "who are you?"}'), api_key="")
    assert refused.kind is Kind.UNAUTHENTICATED
    assert refused.message.endswith(" answers 401: who are you?")
    assert refused.hint == "set X_KEY to a key of that server"


def test_a_place_where_nothing_is_is_named() -> None:
    refused = refusal(lambda h, m: h.reply(404, b"Not Found"))
    assert refused.message.startswith("http://127.0.0.1:")
    assert refused.message.endswith(" answers 404: Not Found")
    assert refused.hint == "X_URL takes another's address"


@pytest.mark.parametrize(
    ("answer", "id", "said"),
    [
        ({"protocolVersion": "2024-11-05"}, "s", "it speaks version '2024-11-05' of MCP"),
        ({"protocolVersion": "2026-07-28"}, "s", "expected 2025-03-26 or 2025-06-18 or 2025-11-25"),
        ({}, "s", "it speaks version None"),
        (AGREED, "\xe9", "Mcp-Session-Id is not of visible ASCII"),
    ],
)
def test_a_server_must_agree_on_what_is_spoken(answer: dict[str, Any], id: str, said: str) -> None:
    class Odd(Handler):
        agreed = answer
        session = id

    with (
        playing(lambda h, m: None, handler=Odd) as (server, _),
        pytest.raises(RunnerError, match=said),
        server,
    ):
        pass
