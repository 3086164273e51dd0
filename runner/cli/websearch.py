"""``run --websearch``: the model may ask an MCP server, by default Docker Model Runner's, Exa."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from runner.cli.chat import Answer
from runner.cli.console import Console
from runner.cli.foreign import parse_url
from runner.cli.mcp import Tool, ToolServer
from runner.cli.output import one_line, printable
from runner.cli.progress import waiting
from runner.cli.remote import read_key
from runner.errors import Kind, RunnerError
from runner.places import clean

URL_VARIABLE = "RUNNER_WEBSEARCH_URL"
KEY_VARIABLE = "RUNNER_WEBSEARCH_KEY"
DEFAULT_URL = "https://mcp.exa.ai/mcp"

MAX_ROUNDS = 10  # of calls before an answer must come, as in Docker Model Runner
MAX_RESULT_CHARACTERS = 16_000  # about 4,000 tokens: several results fit a usual context

Ask = Callable[[dict[str, Any]], Answer]  # sends a request, shows the answer, and returns it

# What a server says of tools that it cannot put into the model's prompt; others than ours have no
# code for it, and call the request invalid.
_TOOLS_REFUSED = (Kind.TEMPLATE_ERROR, Kind.INVALID_REQUEST)


class WebSearch:
    """The tools of one server, in the hands of a model."""

    def __init__(self, console: Console, server: ToolServer, tools: Sequence[Tool]) -> None:
        self._console = console
        self._server = server
        self._names = {tool.name for tool in tools}
        self._offer = {"tools": list(map(_describe, tools))}

    def answer(self, request: dict[str, Any], ask: Ask) -> None:
        """Ask, and while the model calls tools, use them and ask again.

        Where tools are refused, it is asked once more without. Raises what ``ask`` raises.
        """
        try:
            answer = ask(request | self._offer)
        except RunnerError as error:
            if error.kind not in _TOOLS_REFUSED:
                raise
            self._console.say(
                f"Without web search, as this model takes no tools: {one_line(error)}"
            )
            ask(request)
            return
        messages = request["messages"]
        for rounds_left in reversed(range(MAX_ROUNDS)):
            if not answer.calls:
                return
            messages = [*messages, answer.message(), *map(self._use, answer.calls)]
            asked = request | self._offer | {"messages": messages}
            answer = ask(asked if rounds_left else asked | {"tool_choice": "none"})

    def _use(self, call: dict[str, Any]) -> dict[str, Any]:
        """Carry out one call, and return the message that tells the model what came of it."""
        name, text = call["function"]["name"], call["function"]["arguments"]
        return {"role": "tool", "tool_call_id": call["id"], "content": self._find(name, text)}

    def _find(self, name: str, text: str) -> str:
        if name not in self._names:
            return f"There is no tool {name}, only: {', '.join(sorted(self._names))}."
        try:
            arguments = json.loads(text or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            return "The arguments must be one JSON object."
        sent = json.dumps(arguments, ensure_ascii=False)
        self._console.say(f"Web search: {printable(f'{name} {sent}')}")
        try:
            with waiting(self._console.err, f"Waiting for {self._server.endpoint}"):
                found = self._server.use(name, arguments)
        except RunnerError as error:  # the model may still know an answer, or ask otherwise
            self._console.say(f"Web search failed: {one_line(error)}")
            return f"The search failed: {error.message}"
        if len(found) > MAX_RESULT_CHARACTERS:
            return f"{found[:MAX_RESULT_CHARACTERS]}\n[{len(found)} characters in all]"
        return found


@contextmanager
def open_search(console: Console) -> Iterator[WebSearch]:
    """Connect to the server of tools, and tell the person which it is. Raises RunnerError."""
    env = console.env
    endpoint, path = parse_url(
        clean(env.get(URL_VARIABLE)) or DEFAULT_URL, URL_VARIABLE, may_have_query=True
    )
    server = ToolServer(
        endpoint,
        path,
        api_key=read_key(env, KEY_VARIABLE),
        source=URL_VARIABLE,
        key_variable=KEY_VARIABLE,
    )
    with ExitStack() as stack:
        with waiting(console.err, f"Waiting for {endpoint}"):
            tools = stack.enter_context(server).tools()
        names = ", ".join(printable(tool.name) for tool in tools)
        if not tools:
            raise RunnerError(Kind.UNAVAILABLE, f"{endpoint} has no tools", hint=server.absent_hint)
        console.say(f"Web search: the model may send what you write to {endpoint} ({names}).")
        yield WebSearch(console, server, tools)


def _describe(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}
