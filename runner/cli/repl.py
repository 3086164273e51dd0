"""The interactive chat: reads lines, obeys slash commands, prints answers as they stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain
from typing import Any

from runner.cli.answer_page import AnswerPage, View
from runner.cli.attachments import Content, attach
from runner.cli.chat import Answer, Conversation, Said, Spent, describe_cost
from runner.cli.console import Console
from runner.cli.output import one_line
from runner.cli.progress import waiting
from runner.cli.remote import Remote
from runner.cli.slash import is_command, obey
from runner.cli.websearch import WebSearch
from runner.errors import RunnerError

PROMPT = "> "
CONTINUATION = ". "

ReadLine = Callable[[str], str]  # raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C

_FENCE = '"""'


def converse(
    console: Console,
    remote: Remote,
    conversation: Conversation,
    *,
    read: ReadLine,
    view: View,
    search: WebSearch | None = None,
) -> None:
    """Chat until the person leaves. An error or Ctrl-C ends an answer, never the chat."""
    while (text := _read_text(console, read)) is not None:
        if is_command(text):
            reply = obey(text, conversation)
            if reply.leaves:
                return
            console.say(reply.text)
        elif text.strip():
            _take_turn(console, remote, conversation, text, view, search)


def print_answer(
    console: Console,
    remote: Remote,
    conversation: Conversation,
    prompt: Content,
    view: View,
    search: WebSearch | None = None,
) -> str:
    """Ask, print the answer while it comes, and return it. Raises RunnerError."""
    page = AnswerPage(console, is_styled=view.is_styled)

    def ask(request: dict[str, Any]) -> Answer:
        return _print_reply(console, remote, request, page, view)

    request = conversation.request(prompt)
    if search is None:
        ask(request)
    else:
        search.answer(request, ask)
    return page.text


def _print_reply(
    console: Console, remote: Remote, request: dict[str, Any], page: AnswerPage, view: View
) -> Answer:
    """Send one request, print what comes, and return it: the answer, or calls of tools."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        with waiting(console.err, "Waiting for the model"):
            answer = stack.enter_context(Answer(remote, request))
            pieces = iter(answer)
            said = next(pieces, Said(""))
        first_s = time.monotonic() - began_s
        for piece in chain([said], pieces):
            page.show(piece)
    if answer.calls:
        page.pause()
    else:
        page.end()
    if view.is_verbose:
        spent = Spent(first_s, time.monotonic() - began_s)
        console.say(describe_cost(answer, spent))
    return answer


def _take_turn(
    console: Console,
    remote: Remote,
    conversation: Conversation,
    text: str,
    view: View,
    search: WebSearch | None,
) -> None:
    """Ask; only a whole answer becomes part of the conversation."""
    try:
        prompt = read_prompt(console, text)
        answer = print_answer(console, remote, conversation, prompt, view, search)
    except KeyboardInterrupt:
        console.write("\n")
    except RunnerError as error:
        console.say(one_line(error))
    except OSError as error:
        console.say(f"{error.filename}: {error.strerror}")
    else:
        conversation.turns.append((prompt, answer))
        console.write("\n")


def read_prompt(console: Console, text: str) -> Content:
    """Put the files into a text that names them, and tell which; raises what ``attach`` does."""
    content, notes = attach(text)
    for note in notes:
        console.say(note)
    return content


def _read_text(console: Console, read: ReadLine) -> str | None:
    """Read one text, which a fence of three quotes may stretch over lines; None: the end."""
    lines: list[str] = []
    while True:
        try:
            line = read(CONTINUATION if lines else PROMPT)
        except EOFError:
            return None
        except KeyboardInterrupt:
            if not lines:
                console.say("Use Ctrl + d or /bye to exit.")
            lines = []
            continue
        if not lines and not line.lstrip().startswith(_FENCE):
            return line
        lines.append(line if lines else line.lstrip().removeprefix(_FENCE))
        if lines[-1].rstrip().endswith(_FENCE):
            lines[-1] = lines[-1].rstrip().removesuffix(_FENCE)
            return "\n".join(lines).strip("\n")
