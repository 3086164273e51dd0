"""The structure an answer must have: OpenAI's ``response_format``, llama-server's ``json_schema``.

Pure.
"""

from __future__ import annotations

import json
from typing import Any

from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Shape,
    anything,
    boolean,
    nested,
    refuse,
    required,
    text,
    word,
)
from runner.api.openai import schema as schemas
from runner.errors import Kind, RunnerError

MAX_SCHEMA_CHARACTERS = 256 * 1024
ANY_OBJECT: dict[str, Any] = {"type": "object"}


STRICT = boolean("strict", "whether a schema that cannot be enforced whole is refused")
SCHEMA = anything("schema", "the JSON schema", {"type": ["object", "boolean"]})
TGI_SCHEMA = anything(
    "value",
    "schema, as huggingface_hub writes it for every server that is not OpenAI's",
    {"type": ["object", "boolean"]},
)
LABEL = text("name", "a label for people")
NAMED_SCHEMA = required(
    nested(
        "json_schema",
        "the structure of an answer",
        Shape(
            "named JSON schema",
            (
                SCHEMA,
                STRICT,
                LABEL,
                Ignored("description", "the model does not read it"),
            ),
        ),
    )
)
KIND = required(
    word("type", "free text, any JSON, or a structure", ("text", "json_object", "json_schema"))
)
RESPONSE_FORMAT = nested(
    "response_format",
    "the form that the answer must have; it is enforced while generating",
    Shape("response format", (KIND, SCHEMA, TGI_SCHEMA, NAMED_SCHEMA)),
)
JSON_SCHEMA = anything(
    "json_schema",
    "the JSON schema that the answer must fit (llama-server's name)",
    {"type": ["object", "boolean"]},
)
FIELDS: tuple[Field[Any], ...] = (RESPONSE_FORMAT, JSON_SCHEMA)


def parse(fields: Fields, ignored: dict[str, None]) -> str | None:
    """Take both fields; return the schema as JSON text, or None for free text."""
    formatted = _parse_response_format(fields, ignored)
    direct = fields.take(JSON_SCHEMA)
    if direct is None:
        return formatted
    if formatted is not None:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "json_schema and response_format ask for two structures; send one",
            param="json_schema",
        )
    return write(direct, "json_schema", is_strict=False, ignored=ignored)


def _parse_response_format(fields: Fields, ignored: dict[str, None]) -> str | None:
    form = fields.take(RESPONSE_FORMAT)
    if form is None:
        return None
    kind = form.take(KIND)
    is_strict, holder, place = False, form, SCHEMA
    if kind == "json_schema":
        holder = form.take(NAMED_SCHEMA)
        holder.take(LABEL)
        is_strict = holder.take(STRICT) or False
    elif TGI_SCHEMA.name in form and SCHEMA.name not in form:
        place = TGI_SCHEMA
    # Beside the type json_object a schema is an addition of other servers.
    schema = None if kind == "text" else holder.take(place)
    ignored.update(dict.fromkeys(one.param(name) for one in (form, holder) for name in one))
    if kind == "text":
        return None
    return write(
        ANY_OBJECT if schema is None else schema,
        holder.param(place.name),
        is_strict=is_strict,
        ignored=ignored,
    )


def write(schema: Any, param: str, *, is_strict: bool, ignored: dict[str, None]) -> str:
    """Check a schema and write it as text; ``true`` allows any JSON value."""
    if schema is True:
        return "{}"
    if not isinstance(schema, dict):
        refuse(param, "a JSON schema (an object)", schema)
    unenforced = schemas.check(schema, param=param)
    if unenforced and is_strict:
        raise schemas.unenforceable(unenforced, param)
    ignored.update(dict.fromkeys(f"{param}#{pointer}" for pointer in unenforced))
    schema = schemas.written(schema or ANY_OBJECT)
    written = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    if len(written) > MAX_SCHEMA_CHARACTERS:
        refuse(param, f"a schema of at most {MAX_SCHEMA_CHARACTERS} characters", written)
    return written
