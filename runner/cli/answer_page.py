"""One answer on the screen: thoughts apart, then the text; what a model says steers no terminal."""

from __future__ import annotations

from runner.cli.chat import Said
from runner.cli.console import Console
from runner.cli.output import printable_block

THINKING = "Thinking:\n"
THOUGHT = "\n\n--\n\n"  # between thoughts and answer, as Docker Model Runner has it


class AnswerPage:
    """Shows an answer piece by piece, and keeps its text.

    Thoughts go to stderr, so that a pipe or a file gets the answer alone.
    """

    def __init__(self, console: Console) -> None:
        self.text = ""
        self._console = console
        self._is_thinking = False

    def show(self, said: Said) -> None:
        """Show the next piece."""
        if said.is_thought:
            self._think(said.text)
            return
        self._end_thoughts()
        self.text += said.text
        clean = printable_block if self._console.out.isatty() else str
        self._console.write(clean(said.text))

    def end(self) -> None:
        """End the last line."""
        self._end_thoughts()
        self._console.write("\n")

    def _think(self, text: str) -> None:
        err = self._console.err
        header = "" if self._is_thinking else THINKING
        self._is_thinking = True
        err.write(header + (printable_block(text) if err.isatty() else text))
        err.flush()

    def _end_thoughts(self) -> None:
        if self._is_thinking:
            self._is_thinking = False
            self._console.err.write(THOUGHT)
            self._console.err.flush()
