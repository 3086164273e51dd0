r"""Text from a peer made safe for one line of a log or a terminal."""

from __future__ import annotations


def escape(text: str, *, max_chars: int = 1024) -> str:
    r"""Return ``text`` with quotes, backslashes and everything not printable as ``\`` escapes.

    Line ends, ESC, and marks that turn the direction of writing (U+202E) are not printable. Text
    over ``max_chars`` is cut, with an ellipsis: a log line is no place for 64 KiB.
    """
    if len(text) > max_chars:
        text = text[:max_chars] + "…"
    if text.isprintable() and "\\" not in text and '"' not in text:
        return text
    return "".join(map(_escape_char, text))


def _escape_char(char: str) -> str:
    if char in ('"', "\\"):
        return "\\" + char
    if char.isprintable():
        return char
    return char.encode("unicode_escape").decode("ascii")
