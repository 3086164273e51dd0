"""Grammars put together from grammars. Pure."""

from __future__ import annotations

import re

# What a name is not looked for in: strings, classes, tokens, comments; then a name.
_PARTS = re.compile(
    r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|<[^>\n]*>|\{[^}\n]*\}|#[^\n]*|([a-zA-Z][a-zA-Z0-9-]*)'
)

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LITERAL = r'"(?:[^"\\]|\\.)*"'
# Anything up to a call; between the two perhaps white space, or marks that need not be there.
_TALK = re.compile(rf"until-\d+\?? (?=(?:space |{_LITERAL}\? )*[a-z0-9-]*tool-call)")
# The same between marks of its own, and in a channel of its own.
_MARKED_TALK = re.compile(rf"\(({_LITERAL}) until-\d+ {_LITERAL}\)\? (?=tool-call)")
_CHANNEL_OF_TALK = re.compile(rf"\({_LITERAL} until-\d+ .* \| (tools)\)")


def either(first: str, second: str) -> str:
    """Return the grammar of what one or the other of two GBNF texts allows."""
    renamed = f"{_prefix(first, 'a-')}\n{_prefix(second, 'b-')}"
    return f"root ::= a-root | b-root\n{renamed}"


def after(beginning: str, grammar: str) -> str:
    """Return the grammar of what another allows after a text that is there already."""
    escaped = "".join(_ESCAPES.get(character, character) for character in beginning)
    return f'root ::= "{escaped}" x-root\n{_prefix(grammar, "x-")}'


def forced(grammar: str, *, thought: str = "") -> str:
    """Return llama.cpp's grammar of required calls without the talk that may come around them.

    A model that need not stop talking may never come to its call. ``thought`` begins a thought,
    which may come all the same; empty: the template knows none.
    """

    def drop(talk: re.Match[str]) -> str:
        return talk[0] if thought and thought in talk[1] else ""

    def silence(root: re.Match[str]) -> str:
        line = _MARKED_TALK.sub(drop, root[0])
        line = re.sub(r"(tool-calls?) until-\d+\?", r"\1", line)
        line = _CHANNEL_OF_TALK.sub(r"\1", _TALK.sub("", line))
        return re.sub("(?:space ){2,}", "space ", line)

    silent = re.sub(r"(?m)^root ::= .*$", silence, grammar)
    return re.sub(r"(?m)^(any ::= )preamble \| ", r"\1", silent)  # of gpt-oss


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
