"""Images and sounds in messages: files of known formats as data URLs or base64. Pure.

What comes out is a part ``{"type": "image" | "audio", "data": base64, "param": its name in
errors}``; the worker, which is expendable, decodes it. An image that is named by URL is a part
``{"type": "remote_image", "url": ..., "param": ...}`` until :func:`put_files` puts its file there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    anything,
    as_text,
    nested,
    refuse,
    required,
    text,
)
from runner.errors import Kind, RunnerError

MAX_FILES = 64  # of one request
ROLES = ("user", "tool")  # whose messages may hold them
PARTS = ("image_url", "input_image", "input_audio", "file")
REMOTE = "remote_image"  # the type of a part whose file is still to be fetched
REMOTE_SCHEMES = ("https://", "http://")
UNKNOWN_PARTS = ("audio", "video_url", "input_video")  # that models elsewhere take

URL = required(
    text("url", "the image as data:image/png;base64,..., or its URL with --remote-media on")
)
IMAGE = Shape("image", (URL, Ignored("detail", "images are scaled as the model needs")))
SOUND_DATA = required(text("data", "a WAV, MP3 or FLAC file in base64"))
SOUND = Shape("sound", (SOUND_DATA, Ignored("format", "the data tells it")))
FILE_DATA = required(text("file_data", "an image or a sound, as a data URL"))
FILE = Shape(
    "file",
    (
        FILE_DATA,
        Ignored("filename", "the data tells what it is"),
        Refused("file_id", "is not supported: this server keeps no files"),
    ),
)
IMAGE_URL = anything(
    "image_url", "an image, or its data URL", {"anyOf": [IMAGE, {"type": "string"}]}
)
INPUT_AUDIO = nested("input_audio", "a sound", SOUND)
INPUT_FILE = nested("file", "an image or a sound", FILE)
MEMBERS = (IMAGE_URL, INPUT_AUDIO, INPUT_FILE)  # of a content part

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"fLaC", "audio"),
    (b"ID3", "audio"),
    (b"\xff\xfb", "audio"),
    (b"\xff\xf3", "audio"),
    (b"\xff\xf2", "audio"),
)


def parse_part(kind: str, fields: Fields, param: str) -> dict[str, Any]:
    """Take the file of a content part of one of the types ``PARTS``, which is at ``param``."""
    if kind == "input_audio":
        return _part(_nested(fields, INPUT_AUDIO, param).take(SOUND_DATA), param, ("audio",))
    if kind == "file":
        url = _nested(fields, INPUT_FILE, param).take(FILE_DATA)
        return _part(_data_of_url(url, param), param, ("image", "audio"))
    value, name = fields.take(IMAGE_URL), f"{param}.image_url"
    if isinstance(value, dict):
        value = IMAGE.open(value, name).take(URL)
    url = as_text(value, name)
    if url.lower().startswith(REMOTE_SCHEMES):
        return {"type": REMOTE, "url": url, "param": param}
    return _part(_data_of_url(url, param), param, ("image",))


def _nested(fields: Fields, field: Field[Fields], param: str) -> Fields:
    found = fields.take(field)
    if found is None:
        refuse(f"{param}.{field.name}", "an object", None)
    return found


def check(messages: list[dict[str, Any]]) -> None:
    """Raise INVALID_REQUEST for a conversation's files: too many, or where no model looks."""
    count = 0
    for message in messages:
        content = message["content"]
        for part in content if isinstance(content, list) else ():
            if "param" not in part:
                continue
            count, param = count + 1, part["param"]
            if message["role"] not in ROLES:
                text = f"{param}: messages with the role {message['role']} hold text only"
                raise RunnerError(Kind.INVALID_REQUEST, text, param=param)
            if count > MAX_FILES:
                text = f"{param}: a request may hold {MAX_FILES} images and sounds"
                raise RunnerError(Kind.INVALID_REQUEST, text, param=param)


# ---- files elsewhere -------------------------------------------------------------------------


class RemoteFile(NamedTuple):
    """A file that is named by its URL, and what errors call it."""

    url: str
    param: str


def remote_files(messages: list[dict[str, Any]]) -> tuple[RemoteFile, ...]:
    """Return the files of a conversation that are still to be fetched, in order."""
    return tuple(RemoteFile(part["url"], part["param"]) for part in _remote_parts(messages))


def put_files(messages_json: str, files: Mapping[str, bytes]) -> str:
    """Put the files, by URL, into a conversation; raise INVALID_REQUEST for what is no image."""
    messages = msgspec.json.decode(messages_json)
    for part in _remote_parts(messages):
        content, param = files[part["url"]], part["param"]
        kind = _check_kind(content, param, ("image",))
        part.clear()
        part.update(type=kind, data=base64.b64encode(content).decode(), param=param)
    return msgspec.json.encode(messages).decode()


def _remote_parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = [message["content"] for message in messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part for part in parts if part["type"] == REMOTE]


# ---- files in the request --------------------------------------------------------------------


def _data_of_url(url: str, param: str) -> str:
    """Return the base64 of a data URL."""
    head, comma, data = url.partition(",")
    scheme, _, kind = head.partition(":")
    if scheme.lower() != "data" or not comma or not kind.lower().endswith(";base64"):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param}: expected a data URL in base64",
            hint="send the file itself: data:image/png;base64,...",
            param=param,
        )
    return data


def _part(data: str, param: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    if not data.isascii():
        refuse(param, "base64", data)
    try:
        content = binascii.a2b_base64("".join(data.split()), strict_mode=True)
    except binascii.Error:
        refuse(param, "base64", data)
    return {"type": _check_kind(content, param, kinds), "data": data, "param": param}


def _check_kind(content: bytes, param: str, kinds: tuple[str, ...]) -> str:
    """Return what a file is, by its first bytes; raise INVALID_REQUEST for what is not wanted."""
    kind = _kind_of(content)
    if kind is None or kind not in kinds:
        expected = " or ".join(_NAMES[one] for one in kinds)
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param}: expected {expected}, got {_describe(content)}",
            param=param,
        )
    return kind


_NAMES = {"image": "a JPEG, PNG, GIF or BMP image", "audio": "a WAV, MP3 or FLAC sound"}


def _kind_of(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "audio"
    return next((kind for start, kind in _STARTS if content.startswith(start)), None)


def _describe(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP image"
    if content.startswith(b"%PDF"):
        return "a PDF"
    if content.lstrip()[:5] in (b"<svg ", b"<?xml"):
        return "an SVG image"
    kind = _kind_of(content)
    return f"{len(content)} bytes of another kind" if kind is None else _NAMES[kind]
