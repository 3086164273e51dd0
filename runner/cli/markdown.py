"""Markdown to styles of the terminal while it streams. Pure: text in, text out.

What is put out is never taken back: no cursor moves, and every style ends where its text does, so
that an answer may be broken off anywhere. Text is held back only from a mark that may open a span
until the span closes, its line ends, or it has become long; then the mark is a character as any.
Of no blocks but headings, lists, quotes, rules and fenced code: tables read well as they are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_SPAN = 240  # characters; what has not closed by then was no span


class Style(NamedTuple):
    """The codes around a text (ECMA-48, SGR)."""

    begin: str
    end: str

    def paint(self, text: str) -> str:
        """Style a text of one line."""
        return f"{self.begin}{text}{self.end}" if text else ""


BOLD = Style("\x1b[1m", "\x1b[22m")
DIM = Style("\x1b[2m", "\x1b[22m")
ITALIC = Style("\x1b[3m", "\x1b[23m")
CODE = Style("\x1b[36m", "\x1b[39m")
PLAIN = Style("", "")
RULE = "─" * 40

# How a line may begin. Each tells a block from its first characters; `_OPEN` those that may still
# become one.
_HEADING = re.compile(r" {0,3}#{1,6} +")
_BULLET = re.compile(r"( *)[-*+] +(?=\S)")
_QUOTE = re.compile(r" {0,3}> ?")
_FENCE = re.compile(r" *(?P<marks>`{3,}|~{3,})(?P<language>[^`]*)")
_RULE = re.compile(r" {0,3}(?:-{3,}|\*{3,}|_{3,}) *")
_OPEN = re.compile(r" *(?:>|#{0,6} *|[-+*] *|-+ *|\*+ *|_+ *|`{1,2}|~{1,2}|(?:`{3,}|~{3,})[^`]*)")

_MARK = re.compile(r"[*_`\\]")
_SPANS = (
    (re.compile(r"(`+)(?!`)(?P<inner>.+?)(?<!`)\1(?!`)"), CODE),
    (re.compile(r"\*\*(?=[^\s*])(?P<inner>.+?)(?<=\S)\*\*(?!\*)"), BOLD),
    (re.compile(r"__(?=[^\s_])(?P<inner>.+?)(?<=\S)__(?!\w)"), BOLD),
    (re.compile(r"\*(?=[^\s*])(?P<inner>(?:[^*]|\*\*)+?)(?<=[^\s*])\*(?!\*)"), ITALIC),
    (re.compile(r"_(?=[^\s_])(?P<inner>.+?)(?<=[^\s_])_(?!\w)"), ITALIC),
)
_OPENER = re.compile(r"`|\\$|([*_])\1*(?:(?!\1)\S|$)")  # what may still open a span
_ESCAPED = re.compile(r"\\([*_`])")


class Markdown:
    """One text, fed as it comes."""

    def __init__(self) -> None:
        self._head = ""  # of the current line, while its block is unknown
        self._line: _Line | None = None  # the rest of it, once that is known
        self._fence = ""  # which marks close the code that we are in

    def feed(self, text: str) -> str:
        """Take the next piece, and return what can be shown."""
        *lines, rest = text.split("\n")
        ended = "".join(f"{self._take(line, is_end=True)}\n" for line in lines)
        return ended + self._take(rest, is_end=False)

    def end(self) -> str:
        """Return what was held back."""
        return self._take("", is_end=True)

    def _take(self, text: str, *, is_end: bool) -> str:
        shown = ""
        if self._line is None:
            self._head += text
            if not is_end and _OPEN.fullmatch(self._head):
                return ""
            shown, text, self._line = self._begin(self._head, is_end)
            self._head = ""
        shown += self._line.feed(text, is_end=is_end)
        if is_end:
            self._line = None
        return shown

    def _begin(self, head: str, is_end: bool) -> tuple[str, str, _Line]:
        """Find out what block a line begins: what to show for that, the rest, and how it goes on.

        ``head`` is the whole line if ``is_end``.
        """
        if self._fence or _FENCE.fullmatch(head):
            if is_end and self._turn_fence(head):
                return DIM.paint(head), "", _Line(PLAIN)
            return "", head, _Line(CODE, has_spans=False)
        if is_end and _RULE.fullmatch(head):
            return DIM.paint(RULE), "", _Line(PLAIN)
        if match := _HEADING.match(head):
            return "", head[match.end() :], _Line(BOLD)
        if match := _BULLET.match(head):
            return f"{match[1]}• ", head[match.end() :], _Line(PLAIN)
        if match := _QUOTE.match(head):
            return DIM.paint("│ "), head[match.end() :], _Line(PLAIN)
        return "", head, _Line(PLAIN)

    def _turn_fence(self, line: str) -> bool:
        """Tell whether a line opens or closes code, and remember it."""
        match = _FENCE.fullmatch(line)
        if match is None:
            return False
        if not self._fence:
            self._fence = match["marks"]
            return True
        if match["marks"].startswith(self._fence) and not match["language"].strip():
            self._fence = ""
            return True
        return False


class _Line:
    """The spans of one line, after what told its block."""

    def __init__(self, style: Style, *, has_spans: bool = True) -> None:
        self._style = style
        self._has_spans = has_spans
        self._held = ""
        self._before = " "  # the character before what is held

    def feed(self, text: str, *, is_end: bool) -> str:
        """Return as much as is certain."""
        self._held += text
        shown = ""
        while self._held:
            match = _MARK.search(self._held) if self._has_spans else None
            if match is None:
                return shown + self._show_plain(len(self._held))
            shown += self._show_plain(match.start())
            span = self._show_span(is_end)
            if span is None:
                return shown
            shown += span
        return shown

    def _show_plain(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._before = text[-1:] or self._before
        return self._style.paint(text)

    def _show_span(self, is_end: bool) -> str | None:
        """Show the span that the held text begins with, or its mark; None: wait for more."""
        held = self._held
        if escaped := _ESCAPED.match(held):
            self._held = held[1:]
            return self._show_plain(len(escaped[1]))
        # As in snake_case, and where the run that it belongs to has been shown already.
        is_in_word = held[0] == "_" and (self._before.isalnum() or self._before == "_")
        for pattern, style in () if is_in_word else _SPANS:
            match = pattern.match(held)
            if match and (is_end or match.end() < len(held)):
                self._held, self._before = held[match.end() :], held[match.end() - 1]
                return self._paint(match["inner"], style)
        may_open = not is_in_word and _OPENER.match(held)
        if not is_end and may_open and len(held) < MAX_SPAN:
            return None
        run = 1 if held[0] == "\\" else len(held) - len(held.lstrip(held[0]))
        return self._show_plain(run)

    def _paint(self, inner: str, style: Style) -> str:
        if style is not CODE:
            inner = _Line(PLAIN).feed(inner, is_end=True)
        painted = style.paint(inner)
        return painted if style is self._style else self._style.paint(painted)
