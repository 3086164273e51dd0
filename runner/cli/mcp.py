"""A client of one MCP server over streamable HTTP: which tools it has, and what one of them says.

Only what a program needs that calls tools (modelcontextprotocol.io, "Transports"): no resources,
prompts or sampling, and no stream of the server's own messages. Whatever the server answers is
bounded in size and time, and no answer leads to another server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple, Self

import runner
from runner import http
from runner.cli.endpoint import Endpoint
from runner.cli.foreign import Foreign
from runner.cli.remote import Reply
from runner.errors import Kind, RunnerError

# The first is asked for: from the second on, a server may break an answer off to be asked again.
VERSIONS = ("2025-06-18", "2025-11-25", "2025-03-26")
ANSWER_S = 60.0
GOODBYE_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_PAGES = 10  # of the list of tools

_EVENTS = "text/event-stream"
_SESSION = "Mcp-Session-Id"
_INTRODUCTION = {
    "protocolVersion": VERSIONS[0],
    "capabilities": {},
    "clientInfo": {"name": "runner-cli", "version": runner.__version__},
}


class Tool(NamedTuple):
    """One tool, as its server describes it."""

    name: str
    description: str
    schema: dict[str, Any]  # of its arguments


class ToolServer(Foreign):
    """A session with one MCP server, as a context.

    Every method raises RunnerError: what :class:`Remote` raises, TIMEOUT for an answer that takes
    longer than ``ANSWER_S``, UNAVAILABLE for one that is too large or not of MCP, and
    INVALID_REQUEST for what the server calls an error.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        *,
        api_key: str,
        source: str,
        key_variable: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(endpoint, path, api_key=api_key)
        self.source = source
        self.key_variable = key_variable
        self.absent_hint = f"{source} takes another's address"
        self._clock = clock
        self._ids = count(1)
        self._session: list[tuple[str, str]] = []  # the fields of every request in it

    def __enter__(self) -> Self:
        """Agree on a version of the protocol, and open a session if the server keeps any."""
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session; a server that keeps it does so for its own reasons."""
        if len(self._session) > 1:
            with (
                suppress(RunnerError),
                self.stream("DELETE", "", headers=self._session, timeout_s=GOODBYE_S),
            ):
                pass

    def tools(self) -> list[Tool]:
        """List the tools."""
        listed: list[Tool] = []
        place: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            _, page = self._exchange("tools/list", place)
            tools, cursor = page.get("tools"), page.get("nextCursor")
            if not isinstance(tools, list):
                raise self._strange("it holds no list of tools")
            listed += map(self._read_tool, tools)
            if not isinstance(cursor, str):
                return listed
            place = {"cursor": cursor}
        raise self._strange(f"the list of tools has more than {MAX_PAGES} pages")

    def use(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool, and return what it says, which may be that it failed."""
        call = {"name": name, "arguments": arguments}
        try:
            _, result = self._exchange("tools/call", call)
        except RunnerError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            self._open()  # the server has forgotten the session
            _, result = self._exchange("tools/call", call)
        content = result.get("content")
        if not isinstance(content, list):
            raise self._strange("the result of the tool has no content")
        return "\n\n".join(map(_read_part, content))

    def _open(self) -> None:
        self._session = []
        headers, result = self._exchange("initialize", _INTRODUCTION)
        version, session = result.get("protocolVersion"), headers.get(_SESSION) or ""
        if version not in VERSIONS:
            expected = " or ".join(sorted(VERSIONS))
            raise self._strange(f"it speaks version {version!r} of MCP, expected {expected}")
        if not (session.isascii() and session.isprintable()):
            raise self._strange(f"{_SESSION} is not of visible ASCII")
        self._session = [("MCP-Protocol-Version", version)]
        if session:
            self._session.append((_SESSION, session))
        with self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}):
            pass

    # ---- one request and its answer --------------------------------------------------------------

    def _exchange(self, method: str, params: dict[str, Any]) -> tuple[http.Headers, dict[str, Any]]:
        """Send a request of JSON-RPC, and return the fields and the result of its answer."""
        id = next(self._ids)
        request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        with self._post(request) as reply:
            # Before the answer there may be others' messages: of progress, of the log.
            for message in self._messages(reply):
                if message.get("id") == id and "method" not in message:
                    return reply.headers, self._result(message)
        raise self._strange("it is not there")

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        match message:
            case {"result": dict(result)}:
                return result
            case {"error": {"message": str(text)}}:
                raise RunnerError(Kind.INVALID_REQUEST, f"{self.endpoint}: {text}")
            case _:
                raise self._strange("it has neither a result nor an error")

    def _messages(self, reply: Reply) -> Iterator[dict[str, Any]]:
        pieces = self._bounded(reply)
        media_type = (reply.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if media_type != _EVENTS:
            yield self._parse(b"".join(pieces))
            return
        decoder = http.sse.Decoder(max_event_bytes=MAX_ANSWER_BYTES)  # which all answers are under
        for piece in pieces:
            yield from (self._parse(event.data) for event in decoder.feed(piece) if event.data)

    def _bounded(self, reply: Reply) -> Iterator[bytes]:
        until_s, size_bytes = self._clock() + ANSWER_S, 0
        for piece in reply:
            size_bytes += len(piece)
            if size_bytes > MAX_ANSWER_BYTES:
                raise self._strange(f"it is over {MAX_ANSWER_BYTES} bytes")
            if self._clock() > until_s:
                message = f"{self.endpoint} did not finish its answer within {ANSWER_S:g} s"
                raise RunnerError(Kind.TIMEOUT, message)
            yield piece

    def _parse(self, text: str | bytes) -> dict[str, Any]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise self._strange("it is no JSON object")
        return message

    def _read_tool(self, described: Any) -> Tool:
        match described:
            case {"name": str(name), "inputSchema": dict(schema)}:
                return Tool(name, str(described.get("description") or ""), schema)
            case _:
                raise self._strange("a tool has no name or no schema")

    def _strange(self, what: str) -> RunnerError:
        message = f"the answer of {self.endpoint} is not of MCP: {what}"
        return RunnerError(Kind.UNAVAILABLE, message, hint=self.absent_hint)

    # ---- HTTP ------------------------------------------------------------------------------------

    def _post(self, message: dict[str, Any]) -> AbstractContextManager[Reply]:
        return self.stream("POST", "", message, headers=self._session, timeout_s=ANSWER_S)

    def _target(self, path: str) -> str:
        return self._path or "/"

    def _refused(self, head: http.Response, content: bytes) -> RunnerError:
        error = super()._refused(head, content)
        if head.status < 400:
            return error
        hint = self.absent_hint if error.kind is Kind.NOT_FOUND else error.hint
        message = f"{self.endpoint} answers {head.status}: {error.message}"
        return RunnerError(error.kind, message, hint=hint)

    def _fields(self, body: Any) -> Iterator[tuple[str, str]]:
        for name, value in super()._fields(body):
            yield name, f"{value}, {_EVENTS}" if name == "Accept" else value


def _read_part(part: Any) -> str:
    match part:
        case {"type": "text", "text": str(text)} | {"resource": {"text": str(text)}}:
            return text.encode("utf-8", "replace").decode()  # without halves of surrogate pairs
        case {"type": "resource_link", "uri": str(uri)}:
            return uri
        case {"type": str(kind)}:
            return f"[{kind}]"
        case _:
            return ""
