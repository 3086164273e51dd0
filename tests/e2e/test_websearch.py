"""``run --websearch`` with the embedded model, which is made to search first: it is too small to
think of that, and its template knows no tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runner.cli.answer_page import View
from runner.cli.chat import Conversation
from runner.cli.endpoint import parse_endpoint
from runner.cli.remote import Remote, Reply
from runner.cli.repl import print_answer
from runner.cli.websearch import open_search
from tests.e2e.conftest import MODEL, Daemon
from tests.support.console import make_console
from tests.support.search_server import FOUND, running_search_server

pytestmark = pytest.mark.model


class Eager(Remote):
    """Lets the model answer what was found, and nothing before."""

    def __init__(self, url: str) -> None:
        super().__init__([parse_endpoint(url, "")])
        self.requests: list[dict[str, Any]] = []

    @contextmanager
    def stream(self, method: str, path: str, body: Any = None, **options: Any) -> Iterator[Reply]:
        self.requests.append(body)
        choice = "none" if body["messages"][-1]["role"] == "tool" else "required"
        with super().stream(method, path, body | {"tool_choice": choice}, **options) as reply:
            yield reply


def test_the_model_calls_the_tool_of_a_server_and_reads_its_answer(daemon: Daemon) -> None:
    remote = Eager(daemon.url)
    parameters = {"temperature": 0, "max_tokens": 64}
    with running_search_server() as url:
        console = make_console(remote, env={"RUNNER_WEBSEARCH_URL": url})
        with open_search(console) as search:
            asked = Conversation(MODEL, parameters=parameters)
            prompt = "When did the Mole Museum of Ulm open?"
            said = print_answer(console, remote, asked, prompt, View(), search)
    question, call, found = remote.requests[1]["messages"]
    assert question == {"role": "user", "content": prompt}
    assert call["tool_calls"][0]["function"]["name"] == "web_search"
    assert found["content"].endswith(FOUND)
    assert console.out.getvalue() == f"{said}\n"  # type: ignore[attr-defined]
    assert said
