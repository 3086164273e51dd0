"""One answer on the screen: thoughts apart, then the text; what a model says steers no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TextIO

from runner.cli.chat import Said
from runner.cli.console import Console
from runner.cli.markdown import DIM, Markdown
from runner.cli.output import printable_block

THINKING = "Thinking:\n"
THOUGHT = "\n\n--\n\n"  # between thoughts and answer, as Docker Model Runner has it


COLORS = ("auto", "yes", "no")


class View(NamedTuple):
    """How answers are shown."""

    is_styled: bool = False  # Markdown as bold, italic and so on
    is_verbose: bool = False  # with what it cost


def is_styled(color: str, out: TextIO, env: Mapping[str, str]) -> bool:
    """Decide on styles; ``auto``: on a terminal that has them, unless $NO_COLOR is set."""
    if color != "auto":
        return color == "yes"
    return out.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


class AnswerPage:
    """Shows an answer piece by piece, and keeps its text.

    Thoughts go to stderr, so that a pipe or a file gets the answer alone.
    """

    def __init__(self, console: Console, *, is_styled: bool = False) -> None:
        self.text = ""
        self._console = console
        self._markdown = Markdown() if is_styled else None
        self._is_thinking = False

    def show(self, said: Said) -> None:
        """Show the next piece."""
        if said.is_thought:
            self._think(said.text)
            return
        self._end_thoughts()
        self.text += said.text
        clean = _clean(said.text, self._console.out)
        self._console.write(self._markdown.feed(clean) if self._markdown else clean)

    def pause(self) -> None:
        """End a paragraph: something else comes before the answer goes on."""
        self._end_thoughts()
        if self.text and not self.text.endswith("\n"):
            self.show(Said("\n\n"))

    def end(self) -> None:
        """End the last line."""
        self._end_thoughts()
        self._console.write((self._markdown.end() if self._markdown else "") + "\n")

    def _think(self, text: str) -> None:
        if not self._is_thinking:
            self._is_thinking = True
            self._murmur(THINKING)
        clean = _clean(text, self._console.err)
        is_dim = self._markdown is not None and self._console.err.isatty()
        self._murmur(DIM.paint(clean) if is_dim else clean)

    def _end_thoughts(self) -> None:
        if self._is_thinking:
            self._is_thinking = False
            self._murmur(THOUGHT)

    def _murmur(self, text: str) -> None:
        self._console.err.write(text)
        self._console.err.flush()


def _clean(text: str, stream: TextIO) -> str:
    return printable_block(text) if stream.isatty() else text
