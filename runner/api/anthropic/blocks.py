"""The content blocks of Anthropic's messages, each as the part of a message it stands for. Pure."""

from __future__ import annotations

import json
from typing import Any

from runner.api.anthropic.typed import TYPE, Typed, blocks, note_rest, one
from runner.api.fields import Fields, Ignored, Shape, boolean, members, required, text, word
from runner.api.openai.messages import MAX_NAME_CHARACTERS, parse_part

Part = dict[str, Any]

MAX_ID_CHARACTERS = 256
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")

_CACHED = Ignored("cache_control", "every prompt is cached, as far as there is memory")
_CITED = Ignored("citations", "answers do not cite")

# ---- what is shown ---------------------------------------------------------------------------

TEXT = required(text("text", "the text"))
TEXT_BLOCK = Shape("text block", (TYPE, TEXT, _CACHED, _CITED))

MEDIA_TYPE = required(word("media_type", "the image's format", IMAGE_TYPES))
DATA = required(text("data", "the image in base64"))
URL = required(text("url", "where the image is; fetched with --remote-media on"))
IMAGE_SOURCE = required(
    one(
        "source",
        "the image",
        {
            "base64": Shape("base64 image", (TYPE, MEDIA_TYPE, DATA)),
            "url": Shape("image by URL", (TYPE, URL)),
        },
    )
)
IMAGE_BLOCK = Shape(
    "image block",
    (TYPE, IMAGE_SOURCE, _CACHED, Ignored("transformations", "images are scaled as models need")),
)

TITLE = text("title", "told above the content")
CONTEXT = text("context", "told between title and content")
TEXT_DATA = required(text("data", "the text"))
PAGES = required(blocks("content", "the document", {"text": TEXT_BLOCK, "image": IMAGE_BLOCK}))
DOCUMENT_SOURCE = required(
    one(
        "source",
        "the document; of PDF files send the text",
        {
            "text": Shape(
                "plain text", (TYPE, TEXT_DATA, Ignored("media_type", "it is always text/plain"))
            ),
            "content": Shape("document of blocks", (TYPE, PAGES)),
        },
    )
)
DOCUMENT_BLOCK = Shape("document block", (TYPE, DOCUMENT_SOURCE, TITLE, CONTEXT, _CACHED, _CITED))

FOUND_AT = text("source", "where it was found; told above the content")
FINDING = required(blocks("content", "what was found", {"text": TEXT_BLOCK}))
SEARCH_RESULT_BLOCK = Shape(
    "search result block", (TYPE, TITLE, FOUND_AT, FINDING, _CACHED, _CITED)
)

SHOWN = {
    "text": TEXT_BLOCK,
    "image": IMAGE_BLOCK,
    "document": DOCUMENT_BLOCK,
    "search_result": SEARCH_RESULT_BLOCK,
}


# ---- calls and their results, thoughts -------------------------------------------------------

ID = required(text("id", "what its result calls it", max_characters=MAX_ID_CHARACTERS))
NAME = required(text("name", "the tool", max_characters=MAX_NAME_CHARACTERS))
INPUT = required(members("input", "what the tool was called with"))
TOOL_USE_BLOCK = Shape(
    "tool_use block",
    (TYPE, ID, NAME, INPUT, _CACHED, Ignored("caller", "only the model calls tools")),
)

USE_ID = required(text("tool_use_id", "the call it answers", max_characters=MAX_ID_CHARACTERS))
RESULT = blocks("content", "what the tool returned", SHOWN)
IS_ERROR = boolean("is_error", "whether the tool failed, which is told above the content")
TOOL_RESULT_BLOCK = Shape("tool_result block", (TYPE, USE_ID, RESULT, IS_ERROR, _CACHED))

THINKING = required(text("thinking", "what the model thought"))
THINKING_BLOCK = Shape(
    "thinking block", (TYPE, THINKING, Ignored("signature", "nothing is signed here"))
)
REDACTED_BLOCK = Shape(
    "redacted thinking block", (TYPE, Ignored("data", "only who encrypted it can read it"))
)


# ---- reading ---------------------------------------------------------------------------------


class Reader:
    """Reads blocks; names of members without effect are added to ``ignored``."""

    def __init__(self, ignored: dict[str, None]) -> None:
        self._ignored = ignored

    def shown(self, block: Typed) -> list[Part]:
        """Return the parts that one of the blocks of :data:`SHOWN` stands for."""
        kind, fields = block
        match kind:
            case "text":
                parts = [_text(fields.take(TEXT))]
            case "image":
                parts = [self._image(fields)]
            case "document":
                heads = [fields.take(TITLE), fields.take(CONTEXT)]
                parts = _headed(heads, self._document(fields))
            case _:
                heads = [fields.take(TITLE), fields.take(FOUND_AT)]
                parts = _headed(heads, self._all(fields.take(FINDING)))
        note_rest(fields, self._ignored)
        return parts

    def call(self, fields: Fields) -> Part:
        """Return the call that a ``tool_use`` block tells of."""
        # With blanks, as models write JSON: their own words are then found in the prefix cache.
        arguments = json.dumps(fields.take(INPUT), ensure_ascii=False)
        function = {"name": fields.take(NAME), "arguments": arguments}
        call = {"type": "function", "id": fields.take(ID), "function": function}
        note_rest(fields, self._ignored)
        return call

    def result(self, fields: Fields) -> Part:
        """Return the message that a ``tool_result`` block is."""
        parts = self._all(fields.take(RESULT) or [])
        if fields.take(IS_ERROR):
            parts = _headed(["Error:"], parts)
        identity = fields.take(USE_ID)
        note_rest(fields, self._ignored)
        return {"role": "tool", "tool_call_id": identity, "content": content_of(parts)}

    def thought(self, kind: str, fields: Fields) -> str:
        """Return what a block of thinking holds; of a redacted one, nothing."""
        thought = fields.take(THINKING) if kind == "thinking" else ""
        note_rest(fields, self._ignored)
        return thought

    def _all(self, given: list[Typed]) -> list[Part]:
        return [part for block in given for part in self.shown(block)]

    def _image(self, fields: Fields) -> Part:
        kind, source = fields.take(IMAGE_SOURCE)
        if kind == "url":
            url = source.take(URL)
        else:
            url = f"data:{source.take(MEDIA_TYPE)};base64,{source.take(DATA)}"
        return parse_part({"type": "image_url", "image_url": {"url": url}}, fields.param("source"))

    def _document(self, fields: Fields) -> list[Part]:
        kind, source = fields.take(DOCUMENT_SOURCE)
        parts = [_text(source.take(TEXT_DATA))] if kind == "text" else self._all(source.take(PAGES))
        note_rest(source, self._ignored)
        return parts


def content_of(parts: list[Part]) -> str | list[Part]:
    """Return the content that parts are: plain text where they are one text, or none."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _headed(heads: list[str | None], parts: list[Part]) -> list[Part]:
    head = "\n".join(head for head in heads if head)
    return [_text(head), *parts] if head else parts


def _text(text: str) -> Part:
    return {"type": "text", "text": text}
