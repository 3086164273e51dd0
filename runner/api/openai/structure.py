"""The structure an answer must have: OpenAI's ``response_format``, llama-server's ``json_schema``.

Pure.
"""

from __future__ import annotations

import json
from typing import Any

from runner.api.fields import Fields, as_object, refuse
from runner.api.openai import schema as schemas
from runner.errors import Kind, RunnerError

MAX_SCHEMA_CHARACTERS = 256 * 1024
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def parse(fields: Fields, ignored: dict[str, None]) -> str | None:
    """Take both fields; return the schema as JSON text, or None for free text."""
    formatted = _parse_response_format(fields, ignored)
    direct = fields.take("json_schema")
    if direct is None:
        return formatted
    if formatted is not None:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "json_schema and response_format ask for two structures; send one",
            param="json_schema",
        )
    return _render(direct, "json_schema", is_strict=False, ignored=ignored)


def _parse_response_format(fields: Fields, ignored: dict[str, None]) -> str | None:
    value = fields.object("response_format")
    if value is None:
        return None
    param = "response_format"
    format_fields = Fields(value, f"{param}.")
    kind = format_fields.take("type")
    if kind == "text":
        return None
    if kind == "json_object":
        # llama-server's addition: a schema beside the type.
        schema = format_fields.take("schema")
        return _render(
            ANY_OBJECT if schema is None else schema,
            f"{param}.schema",
            is_strict=False,
            ignored=ignored,
        )
    if kind != "json_schema":
        refuse(f"{param}.type", '"text", "json_object" or "json_schema"', kind)
    inner = Fields(as_object(format_fields.take("json_schema"), f"{param}.json_schema"))
    is_strict = inner.boolean("strict") or False
    schema = inner.take("schema")
    return _render(
        ANY_OBJECT if schema is None else schema,
        f"{param}.json_schema.schema",
        is_strict=is_strict,
        ignored=ignored,
    )


def _render(schema: Any, param: str, *, is_strict: bool, ignored: dict[str, None]) -> str:
    """Check a schema and write it as text; ``true`` allows any JSON value."""
    if schema is True:
        return "{}"
    if not isinstance(schema, dict):
        refuse(param, "a JSON schema (an object)", schema)
    unenforced = schemas.check(schema, param=param)
    if unenforced and is_strict:
        raise schemas.unenforceable(unenforced, param)
    ignored.update(dict.fromkeys(f"{param}#{pointer}" for pointer in unenforced))
    text = json.dumps(schema or ANY_OBJECT, ensure_ascii=False, separators=(",", ":"))
    if len(text) > MAX_SCHEMA_CHARACTERS:
        refuse(param, f"a schema of at most {MAX_SCHEMA_CHARACTERS} characters", text)
    return text
