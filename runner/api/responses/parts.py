"""Parts of items: what is said, shown or thought. Pure."""

from __future__ import annotations

from typing import Any

from runner.api.fields import (
    Fields,
    Ignored,
    Refused,
    Shape,
    as_array,
    as_object,
    members,
    refuse,
    required,
    text,
    word,
)

MAX_PARTS = 1_000

Part = dict[str, Any]

TYPE = text("type", "the kind of part")
TEXT = required(text("text", "the text"))
REFUSAL = required(text("refusal", "why an earlier answer was refused"))
IMAGE_URL = required(
    text("image_url", "the image as a data URL, or its URL with --remote-media on")
)
DETAIL = word("detail", "told again by input_items", ("auto", "low", "high", "original"))
AUDIO = required(members("input_audio", "the sound: data in base64, and its format"))
FILE_DATA = required(text("file_data", "the file, as a data URL"))
FILENAME = text("filename", "what the file is called", max_characters=1024)
_CACHE = Ignored("prompt_cache_breakpoint", "all prompts are cached")
_NO_FILE = Refused("file_id", "names a file, and none are kept here", "send its data")

TEXT_PART = Shape(
    "response text part",
    (
        TYPE,
        TEXT,
        _CACHE,
        Ignored("annotations", "the model does not read them"),
        Ignored("logprobs", "they were of an earlier answer"),
    ),
)
REFUSAL_PART = Shape("response refusal part", (TYPE, REFUSAL))
IMAGE_PART = Shape("response image part", (TYPE, IMAGE_URL, DETAIL, _CACHE, _NO_FILE))
AUDIO_PART = Shape("response audio part", (TYPE, AUDIO))
FILE_PART = Shape(
    "response file part",
    (
        TYPE,
        FILE_DATA,
        FILENAME,
        _CACHE,
        _NO_FILE,
        Ignored("detail", "a file is read whole"),
        Refused("file_url", "names a file elsewhere, and none is fetched", "send its data"),
    ),
)
THOUGHT_PART = Shape("response thought part", (TYPE, TEXT))

PART_SHAPES = [TEXT_PART, REFUSAL_PART, IMAGE_PART, AUDIO_PART, FILE_PART]
SHAPES = {
    "input_text": TEXT_PART,
    "output_text": TEXT_PART,
    "text": TEXT_PART,
    "refusal": REFUSAL_PART,
    "input_image": IMAGE_PART,
    "input_audio": AUDIO_PART,
    "input_file": FILE_PART,
}
_OF_ANSWERS = ("output_text", "input_text", "text", "refusal")
_OF_OTHERS = ("input_text", "output_text", "text", "input_image", "input_audio", "input_file")


def parse_content(
    value: Any, param: str, ignored: dict[str, None], *, is_answer: bool
) -> list[Part]:
    """Read what a message says or a tool answered: a text, or parts of several kinds."""
    if isinstance(value, str):
        return [_text_part(value, is_answer=is_answer)]
    parts = as_array(value, param)
    if not 1 <= len(parts) <= MAX_PARTS:
        refuse(param, f"a text, or 1 to {MAX_PARTS} parts", parts)
    return [
        _parse_part(part, f"{param}[{index}]", ignored, is_answer=is_answer)
        for index, part in enumerate(parts)
    ]


def parse_thoughts(parts: list[Any], param: str, kind: str) -> list[Part]:
    """Read the parts of thoughts, or of their summary."""
    if len(parts) > MAX_PARTS:
        refuse(param, f"at most {MAX_PARTS} parts", parts)
    thoughts: list[Part] = []
    for index, part in enumerate(parts):
        fields = THOUGHT_PART.open(part, f"{param}[{index}]")
        fields.take(TYPE)
        thoughts.append({"type": kind, "text": fields.take(TEXT)})
    return thoughts


def _parse_part(value: Any, param: str, ignored: dict[str, None], *, is_answer: bool) -> Part:
    kind = as_object(value, param).get("type")
    kinds = _OF_ANSWERS if is_answer else _OF_OTHERS
    if not isinstance(kind, str) or kind not in kinds:
        refuse(f"{param}.type", "one of " + ", ".join(kinds), kind)
    shape = SHAPES[kind]
    fields = shape.open(value, param)
    fields.take(TYPE)
    part = _read_part(fields, shape, is_answer=is_answer)
    ignored.update(dict.fromkeys(f"input[].content[].{name}" for name in fields))
    return part


def _read_part(fields: Fields, shape: Shape, *, is_answer: bool) -> Part:
    if shape is TEXT_PART:
        return _text_part(fields.take(TEXT), is_answer=is_answer)
    if shape is REFUSAL_PART:
        return {"type": "refusal", "refusal": fields.take(REFUSAL)}
    if shape is IMAGE_PART:
        detail = fields.take(DETAIL) or "auto"
        return {"type": "input_image", "image_url": fields.take(IMAGE_URL), "detail": detail}
    if shape is AUDIO_PART:
        return {"type": "input_audio", "input_audio": fields.take(AUDIO)}
    name = fields.take(FILENAME) or "file"
    return {"type": "input_file", "file_data": fields.take(FILE_DATA), "filename": name}


def _text_part(text: str, *, is_answer: bool) -> Part:
    if is_answer:
        return {"type": "output_text", "text": text, "annotations": []}
    return {"type": "input_text", "text": text}
