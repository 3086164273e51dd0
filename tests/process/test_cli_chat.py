"""The interactive chat on a pseudo-terminal, as a person meets it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scripted_daemon import ScriptedDaemon
from tests.support.terminal import CTRL_C, CTRL_D, ENTER, Terminal

READY = "Send a message"


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon() as daemon:
        yield daemon


@pytest.fixture
def chat(daemon: ScriptedDaemon, tmp_path: Path) -> Iterator[Terminal]:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MODEL_RUNNER_HOST": daemon.url}
    with Terminal(["-m", "runner", "run", "parrot"], env) as terminal:
        terminal.look_for(READY)
        yield terminal


def test_a_question_is_answered_and_bye_leaves(chat: Terminal, daemon: ScriptedDaemon) -> None:
    chat.type("hello" + ENTER)
    chat.look_for("echo: hello")
    chat.look_for(READY)
    chat.type("again" + ENTER)
    chat.look_for("echo: again")
    chat.look_for(READY)
    chat.type("/bye" + ENTER)
    assert chat.wait() == 0
    assert [message["content"] for message in daemon.chats[1]["messages"]] == [
        "hello",
        "echo: hello ",
        "again",
    ]


def test_ctrl_d_leaves(chat: Terminal) -> None:
    chat.type(CTRL_D)
    assert chat.wait() == 0


def test_ctrl_c_stops_the_answer_and_not_the_chat(chat: Terminal, daemon: ScriptedDaemon) -> None:
    chat.type("forever" + ENTER)
    chat.look_for("tick tick")
    chat.type(CTRL_C)
    chat.look_for(READY)
    assert daemon.left.wait(5), "the daemon was not told to stop"
    chat.type("hello" + ENTER)
    chat.look_for("echo: hello")
    assert [message["content"] for message in daemon.chats[1]["messages"]] == ["hello"]


def test_ctrl_c_at_the_prompt_tells_how_to_leave(chat: Terminal) -> None:
    chat.type(CTRL_C)
    chat.look_for("Use Ctrl + d or /bye to exit.")
    chat.look_for(READY)


def test_ctrl_c_discards_a_line_that_was_begun(chat: Terminal, daemon: ScriptedDaemon) -> None:
    chat.type("half a thou")
    chat.look_for("thou")
    chat.type(CTRL_C)
    chat.look_for(READY)
    chat.type("whole" + ENTER)
    chat.look_for("echo: whole")
    assert daemon.chats[0]["messages"][-1]["content"] == "whole"


def test_three_quotes_hold_several_lines(chat: Terminal, daemon: ScriptedDaemon) -> None:
    chat.type('"""one' + ENTER)
    chat.look_for("\x1b[0m.")
    chat.type('two"""' + ENTER)
    chat.look_for("echo: one")
    assert daemon.chats[0]["messages"][-1]["content"] == "one\ntwo"


def test_an_unknown_command_and_an_error_leave_the_chat_open(chat: Terminal) -> None:
    chat.type("/nope" + ENTER)
    chat.look_for("Unknown command '/nope'. Type /? for help")
    chat.look_for(READY)
    chat.type("break" + ENTER)
    chat.look_for("the engine died")
    chat.look_for(READY)
    chat.type("/exit" + ENTER)
    assert chat.wait() == 0


def test_what_was_typed_is_kept_for_its_owner(chat: Terminal, tmp_path: Path) -> None:
    chat.type("remember me" + ENTER)
    chat.look_for("echo: remember")
    chat.look_for(READY)
    chat.type("/bye" + ENTER)
    assert chat.wait() == 0
    history = tmp_path / ".local/state/runner/history"
    assert "+remember me\n" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
