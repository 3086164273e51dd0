"""Grammars put together from grammars. Pure."""

from __future__ import annotations

import re

# What a name is not looked for in: strings, classes, tokens, comments; then a name.
_PARTS = re.compile(
    r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|<[^>\n]*>|\{[^}\n]*\}|#[^\n]*|([a-zA-Z][a-zA-Z0-9-]*)'
)


def either(first: str, second: str) -> str:
    """Return the grammar of what one or the other of two GBNF texts allows."""
    renamed = f"{_prefix(first, 'a-')}\n{_prefix(second, 'b-')}"
    return f"root ::= a-root | b-root\n{renamed}"


def forced(grammar: str) -> str:
    """Return llama.cpp's grammar of required calls without the talk that may come before them.

    A model that need not stop talking may never come to its call.
    """
    return re.sub(r"(?m)^(root ::= .*?) until-\d+\?", r"\1", grammar)


def bare(grammar: str) -> str:
    """Return llama.cpp's grammar of JSON without the Markdown fence that may stand around it."""
    fenced = r'\("```json" space response-format space "```" \| (space response-format space)\)'
    return re.sub(fenced, r"\1", grammar)


def plural(grammar: str) -> str:
    """Return llama.cpp's grammar of calls without repeating what may be nothing: that recurses."""
    return re.sub(r"(?m)^(tool-calls ::= \()tool-call\? ", r"\1tool-call ", grammar)


def single(grammar: str) -> str:
    """Return llama.cpp's grammar of calls with one call alone, where it lets them repeat."""
    return re.sub(r"(?m)^(tool-calls ::= \(.*\))\+$", r"\1", grammar)


def _prefix(grammar: str, prefix: str) -> str:
    def rename(part: re.Match[str]) -> str:
        return prefix + part[0] if part[1] else part[0]

    return _PARTS.sub(rename, grammar)
