"""Objects whose ``type`` says which other members they have, as Anthropic writes unions. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.api.fields import Field, Fields, Shape, as_array, as_object, refuse, required, text
from runner.api.openai.messages import MAX_PARTS

TYPE = required(text("type", "which of these objects it is"))

Typed = tuple[str, Fields]  # the type, and the other members
Shapes = Mapping[str, Shape]  # by type; each declares TYPE


def one(name: str, about: str, shapes: Shapes) -> Field[Typed]:
    """Declare a member that is an object of one of these types."""

    def read(value: Any, param: str) -> Typed:
        return open_typed(value, param, shapes)

    return Field(name, about, {"anyOf": list(shapes.values())}, read)


def blocks(name: str, about: str, shapes: Shapes) -> Field[list[Typed]]:
    """Declare a member that is a text, or blocks of these types; a text is read as one block."""

    def read(value: Any, param: str) -> list[Typed]:
        if isinstance(value, str):
            return [("text", shapes["text"].open({"text": value}, param))]
        given = as_array(value, param)
        if len(given) > MAX_PARTS:
            refuse(param, f"a text, or at most {MAX_PARTS} blocks", given)
        return [open_typed(block, f"{param}[{i}]", shapes) for i, block in enumerate(given)]

    listed = {"type": "array", "items": {"anyOf": list(shapes.values())}, "maxItems": MAX_PARTS}
    return Field(name, about, {"anyOf": [{"type": "string"}, listed]}, read)


def open_typed(value: Any, param: str, shapes: Shapes, *, by: Field[str] = TYPE) -> Typed:
    """Return the type of an object and its other members; raise INVALID_REQUEST for another.

    ``by`` is the member that says the type.
    """
    kind = as_object(value, param).get(by.name)
    if not isinstance(kind, str) or kind not in shapes:
        refuse(f"{param}.{by.name}", "one of " + ", ".join(shapes), kind)
    fields = shapes[kind].open(value, param)
    fields.take(by)
    return kind, fields


def note_rest(fields: Fields, ignored: dict[str, None]) -> None:
    """Add the members that nobody took: ``messages[].content[].cache_control``."""
    ignored.update(dict.fromkeys(_INDEX.sub("[]", fields.param(name)) for name in fields))


_INDEX = re.compile(r"\[\d+\]")
