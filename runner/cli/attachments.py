"""Files that a prompt names: ``@notes.txt`` becomes its text, ``@photo.png`` an image beside it.

As in Docker Model Runner's chat. An ``@`` counts where a word begins; ``@"my file.txt"`` may hold
blanks. The path of an image may also stand without ``@``, as terminals paste a dropped file.
Only what a person typed is read so: text from a pipe is data, which must not open files.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, NamedTuple

from runner.cli.output import decimal_size, printable
from runner.errors import Kind, RunnerError

Content = str | list[dict[str, Any]]  # of a message: a text, or OpenAI's parts

MAX_TEXT_BYTES = 4 * 1024 * 1024  # about a million tokens: no model here holds more
MAX_MEDIA_BYTES = 100 * 1000 * 1000  # Docker Model Runner's limit; the server has its own

_IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}
_SOUNDS = {".wav": "wav", ".mp3": "mp3", ".flac": "flac"}

_ENDINGS = "|".join(ending.removeprefix(".") for ending in _IMAGES)
_REFERENCE = re.compile(
    rf"""(?<!\S)(?:
        @(?:"(?P<double>[^"\n]+)"|'(?P<single>[^'\n]+)'|(?P<bare>[^\s"']\S*))
        |(?P<dropped>(?:~|\.{{1,2}})?/(?:\\.|[^\s\\])+\.(?:{_ENDINGS})(?!\S))
        |'(?P<quoted>(?:~|\.{{1,2}})?/[^'\n]+\.(?:{_ENDINGS}))'
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_AFTER_WORDS = ".,;:!?)]}"  # what a sentence puts behind a name


class Attached(NamedTuple):
    """A prompt with its files, and what to tell the person of them."""

    content: Content
    notes: list[str]


def attach(prompt: str) -> Attached:
    """Read the files that ``prompt`` names.

    Raises RunnerError(USAGE) for a quoted name that is none, a file too large, and one that is
    neither text nor of a known kind; OSError for one that may not be read. A word after ``@`` that
    names no file is a word.
    """
    parts: list[dict[str, Any]] = []
    notes: list[str] = []

    def replace(match: re.Match[str]) -> str:
        path, after = _find(match)
        if path is None:
            if match["bare"]:
                notes.append(f"{printable(match[0])} names no file here, and is sent as it stands")
            return match[0]
        part = _read_media(path)
        size = decimal_size(path.stat().st_size)
        notes.append(f"Added {printable(str(path))} ({size})")
        if part is None:
            return _read_text(path) + after
        parts.append(part)
        return after

    text = _REFERENCE.sub(replace, prompt)
    return Attached(append(parts, text.strip()) if parts else text, notes)


def append(content: Content, text: str) -> Content:
    """Add a text after a content, a blank line between."""
    if isinstance(content, str):
        return "\n\n".join(part for part in (content, text) if part)
    before = [part["text"] for part in content if part["type"] == "text"]
    whole = "\n\n".join(part for part in (*before, text) if part)
    files = [part for part in content if part["type"] != "text"]
    return [*files, {"type": "text", "text": whole}] if whole else files


def _find(match: re.Match[str]) -> tuple[Path | None, str]:
    """Return the file that is meant, and what of the word stands behind its name."""
    if bare := match["bare"]:
        name = bare.rstrip(_AFTER_WORDS)
        found = _resolve(bare)
        return (found, "") if found else (_resolve(name), bare[len(name) :])
    if dropped := match["dropped"]:
        return _resolve(re.sub(r"\\(.)", r"\1", dropped)), ""
    if quoted := match["quoted"]:
        return _resolve(quoted), ""
    named = match["double"] or match["single"]
    found = _resolve(named)
    if found is None:
        raise RunnerError(Kind.USAGE, f"there is no file {named}")
    return found, ""


def _resolve(name: str) -> Path | None:
    """Return the file of that name; None for what is none, as a folder or a pipe."""
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, ~nobody, a NUL
        return None


def _read_media(path: Path) -> dict[str, Any] | None:
    """Return an image or a sound as a part of a message; None for a file of no such kind."""
    ending = path.suffix.lower()
    if ending in _IMAGES:
        url = f"data:{_IMAGES[ending]};base64,{_encode(path)}"
        return {"type": "image_url", "image_url": {"url": url}}
    if ending in _SOUNDS:
        sound = {"data": _encode(path), "format": _SOUNDS[ending]}
        return {"type": "input_audio", "input_audio": sound}
    return None


def _encode(path: Path) -> str:
    return base64.b64encode(_read(path, MAX_MEDIA_BYTES)).decode("ascii")


def _read_text(path: Path) -> str:
    try:
        return _read(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RunnerError(
            Kind.USAGE,
            f"{path} is neither text in UTF-8 nor an image or a sound",
            hint=f"known are {', '.join([*_IMAGES, *_SOUNDS])}",
        ) from None


def _read(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise RunnerError(
            Kind.USAGE, f"{path} is too large: at most {decimal_size(most_bytes)} can be sent"
        )
    return content
