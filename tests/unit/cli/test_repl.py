from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from runner.cli.answer_page import View, is_styled
from runner.cli.chat import Conversation
from runner.cli.repl import converse, print_answer
from runner.errors import Kind, RunnerError
from tests.support.console import FakeRemote, Terminal, make_console

PATH = "POST /v1/chat/completions"


def answer(*texts: str) -> list[Any]:
    return [
        b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
        for text in texts
    ]


def chat(
    script: Iterable[str | BaseException], pieces: Any, *, verbose: bool = False
) -> tuple[str, str, Conversation, list[str], FakeRemote]:
    """Play lines and interrupts to the chat; returns stdout, stderr, conversation and prompts."""
    remote, conversation, prompts = FakeRemote({PATH: pieces}), Conversation("m"), []
    console = make_console(remote, is_terminal=True)
    lines = iter(script)

    def read(prompt: str) -> str:
        prompts.append(prompt)
        line = next(lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    converse(console, remote, conversation, read=read, view=View(is_verbose=verbose))  # type: ignore[arg-type]
    return console.out.getvalue(), console.err.getvalue(), conversation, prompts, remote  # type: ignore[attr-defined]


def test_a_question_is_answered_and_remembered() -> None:
    out, err, conversation, _, _ = chat(["hello"], answer("Hi", " there"))
    assert out == "Hi there\n\n"
    assert err == ""
    assert conversation.turns == [("hello", "Hi there")]


def test_ctrl_d_and_bye_leave() -> None:
    assert chat([EOFError()], [])[3] == ["> "]
    assert chat(["/bye", "never read"], [])[3] == ["> "]


def test_empty_lines_ask_nothing() -> None:
    assert chat(["", "   "], [])[4].requests == []


def test_a_fence_stretches_over_lines() -> None:
    _, _, conversation, prompts, _ = chat(['"""one', "two /bye", 'three"""'], answer("ok"))
    assert conversation.turns == [("one\ntwo /bye\nthree", "ok")]
    assert prompts == ["> ", ". ", ". ", "> "]


def test_a_fence_may_open_alone_and_close_on_its_line() -> None:
    assert chat(['"""', "one", '"""'], answer("ok"))[2].turns == [("one", "ok")]
    assert chat(['"""one"""'], answer("ok"))[2].turns == [("one", "ok")]


def test_ctrl_c_on_an_empty_line_tells_how_to_leave() -> None:
    _, err, _, _, _ = chat([KeyboardInterrupt()], [])
    assert err == "Use Ctrl + d or /bye to exit.\n"


def test_ctrl_c_in_a_fence_discards_it() -> None:
    _, err, conversation, prompts, _ = chat(['"""one', KeyboardInterrupt(), "two"], answer("ok"))
    assert conversation.turns == [("two", "ok")]
    assert prompts == ["> ", ". ", "> ", "> "]
    assert err == ""


def test_ctrl_c_ends_an_answer_and_not_the_chat() -> None:
    pieces = [*answer("Once upon"), KeyboardInterrupt()]
    out, _, conversation, prompts, _ = chat(["tell"], pieces)
    assert out == "Once upon\n"
    assert conversation.turns == []
    assert prompts == ["> ", "> "]


def test_an_error_leaves_the_chat_open() -> None:
    error = RunnerError(Kind.MODEL_NOT_FOUND, "no model m", hint="try: runner list")
    _, err, conversation, prompts, _ = chat(["hi"], error)
    assert err == "no model m; try: runner list\n"
    assert conversation.turns == []
    assert prompts == ["> ", "> "]


def test_commands_are_answered_on_stderr() -> None:
    out, err, _, _, remote = chat(["/nope", "/set parameter seed 3", "hi"], answer("ok"))
    assert err == "Unknown command '/nope'. Type /? for help\nSet seed to 3\n"
    assert out == "ok\n\n"
    assert remote.requests[0][1]["seed"] == 3


def test_verbose_tells_the_cost() -> None:
    said = chat(["hi"], answer("ok"), verbose=True)[1]
    assert said.startswith("prompt 0 tokens (0 cached), answer 0 tokens, first words after ")


def test_thoughts_are_shown_apart_and_not_remembered() -> None:
    thought = {"choices": [{"delta": {"reasoning_content": "Hm,\x1b[2J"}}]}
    pieces = [b"data: " + json.dumps(thought).encode() + b"\n\n", *answer("Paris")]
    out, err, conversation, _, _ = chat(["capital?"], pieces)
    assert out == "Paris\n\n"
    assert err == "Thinking:\nHm,\x1b[2J\n\n--\n\n"  # as they are: stderr is no terminal here
    assert conversation.turns == [("capital?", "Paris")]


def test_a_file_is_put_in_and_stays_in_the_conversation(tmp_path: Path) -> None:
    notes = tmp_path / "my notes.txt"
    notes.write_text("one two")
    _, err, conversation, _, _ = chat([f'sum up @"{notes}"'], answer("ok"))
    assert err == f"Added {notes} (7.00B)\n"
    assert conversation.turns == [("sum up one two", "ok")]


def test_a_file_that_is_not_there_leaves_the_chat_open() -> None:
    _, err, conversation, prompts, remote = chat(['sum up @"/no such"'], answer("ok"))
    assert err == "there is no file /no such\n"
    assert (conversation.turns, remote.requests, prompts) == ([], [], ["> ", "> "])


def test_a_dropped_file_is_no_command(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"\x89PNG")
    _, err, _, _, remote = chat([f"{image} what is this?"], answer("ok"))
    assert err == f"Added {image} (4.00B)\n"
    assert remote.requests[0][1]["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                {"type": "text", "text": "what is this?"},
            ],
        }
    ]


@pytest.mark.parametrize(("is_terminal", "shown"), [(True, "a\ufffd[2J\n"), (False, "a\x1b[2J\n")])
def test_what_a_model_says_cannot_steer_a_terminal(is_terminal: bool, shown: str) -> None:
    remote = FakeRemote({PATH: answer("a\x1b[2J")})
    console = make_console(remote, is_terminal=is_terminal)
    said = print_answer(console, remote, Conversation("m"), "hi", View())  # type: ignore[arg-type]
    assert console.out.getvalue() == shown  # type: ignore[attr-defined]
    assert said == "a\x1b[2J"


def test_markdown_is_styled_and_remembered_as_it_came() -> None:
    remote = FakeRemote({PATH: answer("so ", "**ve", "ry** \x1b[2J")})
    console = make_console(remote, is_terminal=True)
    said = print_answer(console, remote, Conversation("m"), "hi", View(is_styled=True))  # type: ignore[arg-type]
    assert console.out.getvalue() == "so \x1b[1mvery\x1b[22m \ufffd[2J\n"  # type: ignore[attr-defined]
    assert said == "so **very** \x1b[2J"


@pytest.mark.parametrize(
    ("color", "env", "styled_terminal", "styled_pipe"),
    [
        ("auto", {}, True, False),
        ("auto", {"NO_COLOR": "1"}, False, False),
        ("auto", {"TERM": "dumb"}, False, False),
        ("yes", {"NO_COLOR": "1"}, True, True),
        ("no", {}, False, False),
    ],
)
def test_styles_are_for_terminals_that_have_them(
    color: str, env: dict[str, str], styled_terminal: bool, styled_pipe: bool
) -> None:
    assert is_styled(color, Terminal(), env) is styled_terminal
    assert is_styled(color, io.StringIO(), env) is styled_pipe
