"""JSON for streams that are read line by line. Pure.

Some readers end a line at more than LF: Python's ``str.splitlines``, and with it the ``iter_lines``
of HTTP clients, at characters that JSON leaves as they are.
"""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode

_LINE_ENDS = tuple(
    (character.encode(), b"\\u%04x" % ord(character)) for character in "\x85\u2028\u2029"
)


def encode(value: Any) -> bytes:
    """Render a value on one line, whatever ends a line for its reader."""
    data = _encode(value)
    if not data.isascii():
        for character, escape in _LINE_ENDS:
            data = data.replace(character, escape)
    return data
