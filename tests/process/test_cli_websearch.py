"""``run --websearch`` as a process, against the SDK's MCP server and a scripted model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scripted_daemon import ScriptedDaemon
from tests.support.search_server import FORMS, FOUND, running_search_server
from tests.support.terminal import ENTER, Terminal


class Searching(ScriptedDaemon):
    """Searches for what it is asked, and answers what was found."""

    def play(self, prompt: str) -> Iterator[bytes]:
        request = self.chats[-1]
        if request["messages"][-1]["role"] == "tool" or "tools" not in request:
            yield from super().play(prompt)
            return
        arguments = json.dumps({"query": prompt})
        begin = {"name": "web_search", "arguments": ""}
        yield _delta({"content": "Let me see."})
        yield _delta({"tool_calls": [{"index": 0, "id": "c1", "function": begin}]})
        for part in (arguments[:5], arguments[5:]):
            yield _delta({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        yield b"[DONE]"


def _delta(delta: dict[str, object]) -> bytes:
    return json.dumps({"choices": [{"delta": delta}]}).encode()


def environment(home: Path, daemon: ScriptedDaemon, search: str) -> dict[str, str]:
    ours = {"HOME": str(home), "MODEL_RUNNER_HOST": daemon.url, "RUNNER_WEBSEARCH_URL": search}
    return {"PATH": os.environ["PATH"], **ours}


@pytest.mark.parametrize("form", FORMS)
def test_the_model_searches_and_then_answers(form: str, tmp_path: Path) -> None:
    with Searching() as daemon, running_search_server(form) as url:
        answered = subprocess.run(
            [sys.executable, "-m", "runner", "run", "--websearch", "parrot", "moles?"],
            env=environment(tmp_path, daemon, url),
            input="",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert answered.stdout == f"Let me see.\n\necho: moles?: {FOUND} \n"
    assert answered.stderr == (
        f"Web search: the model may send what you write to {url.removesuffix('/mcp')} "
        '(web_search).\nWeb search: web_search {"query": "moles?"}\n'
    )
    call = {"name": "web_search", "arguments": '{"query": "moles?"}'}
    assert daemon.chats[1]["messages"] == [
        {"role": "user", "content": "moles?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "c1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": f"moles?: {FOUND}"},
    ]
    [tool] = daemon.chats[0]["tools"]
    assert (tool["type"], tool["function"]["name"]) == ("function", "web_search")
    assert tool["function"]["description"] == "Search the web."
    assert tool["function"]["parameters"]["required"] == ["query"]


def test_a_chat_searches_in_one_session_and_remembers_the_answers_alone(tmp_path: Path) -> None:
    arguments = ["-m", "runner", "run", "--websearch", "parrot"]
    with (
        Searching() as daemon,
        running_search_server() as url,
        Terminal(arguments, environment(tmp_path, daemon, url)) as chat,
    ):
        for question in ("moles?", "frogs?"):
            chat.look_for("Send a message")
            chat.type(question + ENTER)
            chat.look_for(f"echo: {question}: {FOUND}")
        chat.look_for("Send a message")
        chat.type("/bye" + ENTER)
        assert chat.wait() == 0
    assert [message["role"] for message in daemon.chats[2]["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


def test_without_a_server_of_tools_nothing_is_asked(tmp_path: Path) -> None:
    with Searching() as daemon:
        refused = subprocess.run(
            [sys.executable, "-m", "runner", "run", "--websearch", "parrot", "moles?"],
            env=environment(tmp_path, daemon, "http://127.0.0.1:1/mcp"),
            input="",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (refused.returncode, refused.stdout, daemon.chats) == (1, "", [])
    assert "no server answers at http://127.0.0.1:1: Connection refused" in refused.stderr
    assert "RUNNER_WEBSEARCH_URL takes another's address" in refused.stderr
