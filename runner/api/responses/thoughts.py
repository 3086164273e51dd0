"""Thoughts as ``encrypted_content``: how clients that keep nothing else give them back. Pure.

OpenAI hides thoughts there. Here they are no secret: the client was told them, and a person can
read them with base64. What another server wrote is not read.
"""

from __future__ import annotations

import base64

_MARK = "thoughts:"


def seal(thoughts: str) -> str:
    """Write thoughts as an opaque text."""
    return _MARK + base64.b64encode(thoughts.encode()).decode("ascii")


def unseal(content: str) -> str | None:
    """Read what :func:`seal` wrote; None for what it did not."""
    if not content.startswith(_MARK):
        return None
    try:
        return base64.b64decode(content.removeprefix(_MARK), validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are ones
        return None
