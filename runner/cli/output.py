"""Values to text for the terminal: tables, names, sizes, ages, JSON. Prints nothing itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runner.errors import RunnerError

_HUB_PREFIXES = ("docker.io/", "index.docker.io/")
_GAP = "  "

UNTAGGED = "<none>"  # a model without a name, as Docker shows it


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out columns left-aligned, two blanks apart, without borders; ends with a newline."""
    lines = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def render_json(value: Any) -> str:
    """Render a value as Docker Model Runner's CLI does: four blanks, UTF-8, a last newline."""
    return json.dumps(value, indent=4, ensure_ascii=False) + "\n"


def printable(text: str) -> str:
    """Replace what would steer a terminal: every control character becomes U+FFFD."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def printable_block(text: str) -> str:
    """Like :func:`printable`, for text of many lines: newline and tab stay."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter in "\n\t" or letter.isprintable() or _is_harmless(letter) else "\ufffd"
        for letter in text
    )


def _is_harmless(letter: str) -> bool:
    """Whether an unprintable character only joins or spaces others, as emoji need: no control."""
    return ord(letter) >= 0xA0 and letter not in _DIRECTIONS


# Overrides of the writing direction can show a text as another one than it is.
_DIRECTIONS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def one_line(error: RunnerError) -> str:
    """Render an error for people: what is wrong, then what to do."""
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    return printable(text.replace("\n", " "))


def display_name(tag: str) -> str:
    """Shorten a stored tag for people: no Hub host, no ``ai/``, no ``:latest``."""
    for prefix in _HUB_PREFIXES:
        tag = tag.removeprefix(prefix)
    return tag.removeprefix("ai/").removesuffix(":latest")


def short_id(digest: str) -> str:
    """Return the first 12 hex digits of ``sha256:…``."""
    return digest.partition(":")[2][:12] or digest[:12]


def decimal_size(size_bytes: int) -> str:
    """Render bytes in powers of 1000: ``270.60MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.2f}{unit}"
        size /= 1000
    return f"{size:.2f}TB"


def age(seconds: float) -> str:
    """Render a span as Docker does: ``3 weeks``, ``About an hour``, ``Less than a second``."""
    hours = seconds / 3600
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return _plural(int(seconds), "second")
    if seconds < 120:
        return "About a minute"
    if hours < 1:
        return f"{int(seconds / 60)} minutes"
    if hours < 2:
        return "About an hour"
    for limit_hours, unit_hours, unit in _SPANS:
        if hours < limit_hours:
            return f"{int(hours / unit_hours)} {unit}s"
    return f"{int(hours / (24 * 365))} years"


_SPANS = (
    (48, 1, "hour"),
    (24 * 14, 24, "day"),
    (24 * 60, 24 * 7, "week"),
    (24 * 365 * 2, 24 * 30, "month"),
)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
