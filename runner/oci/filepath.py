"""File names that strangers wrote, in annotations and in lists of a hub's files."""

from __future__ import annotations

import re

MAX_PATH_CHARACTERS = 1024
MAX_PART_BYTES = 200  # file systems take 255; some name may be built around it
MAX_PARTS = 32

_FORBIDDEN = frozenset('\\<>:"|?*')  # a separator on Windows, drives, streams, wildcards
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


def safe_path(text: str) -> str | None:
    """Return a relative path that stays in its folder on every system; None for any other.

    Nothing is repaired: what would have to be changed is refused, so two texts never become one.
    """
    if len(text) > MAX_PATH_CHARACTERS or not text.isprintable() or _FORBIDDEN & set(text):
        return None
    parts = text.split("/")
    if len(parts) > MAX_PARTS or not all(map(_is_safe_part, parts)):
        return None
    return text


def _is_safe_part(part: str) -> bool:
    return (
        0 < len(part.encode("utf-8", "replace")) <= MAX_PART_BYTES
        and not part.endswith((".", " "))  # also `.` and `..`; Windows drops them from a name
        and not part.startswith(" ")
        and not _RESERVED.fullmatch(part)
    )
