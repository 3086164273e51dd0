"""Checks a JSON schema against what the grammar made from it can enforce. Pure.

llama.cpp turns a schema into a grammar and passes over in silence what a grammar cannot say
(``uniqueItems``, ``multipleOf``, ...). A request with ``strict`` is refused
instead, naming the place; without it the places are reported to the client. Read beside
``common/json-schema.cpp`` of the pinned source, which decides what is honoured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.api.openai import schema_patterns as patterns
from runner.api.openai.schema_rules import has_ruling_all_of, is_mergeable, overruled
from runner.errors import Kind, RunnerError

MAX_NODES = 10_000  # schemas within the schema, after unfolding arrays of types
MAX_VALUES = 10_000  # of all enums

# Members that hold no constraint on the text, or that the grammar honours wherever they stand.
_ALWAYS = frozenset(
    {
        "$anchor",
        "$comment",
        "$defs",
        "$id",
        "$ref",
        "$schema",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
        "deprecated",
        "description",
        "enum",
        "example",
        "examples",
        "format",
        "nullable",
        "oneOf",
        "prefixItems",
        "properties",
        "readOnly",
        "required",
        "title",
        "type",
        "writeOnly",
    }
)
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_BY_TYPE: dict[str, frozenset[str]] = {
    "integer": _BOUNDS,
    "number": _BOUNDS,  # by the worker: llama.cpp passes over them
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"pattern", "minLength", "maxLength"}),
}
_FORMATS = frozenset(
    {"date", "time", "date-time", "uuid", "uuid1", "uuid2", "uuid3", "uuid4", "uuid5"}
)
_ANNOTATIONS = frozenset({"binary", "password"})  # formats that OpenAPI has for people
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_KINDS = ", ".join(f'"{name}"' for name in _TYPES)
# Without a type these say which one is meant.
_IMPLIED_TYPE = {"items": "array", "prefixItems": "array", "pattern": "string"} | dict.fromkeys(
    ("format", "minLength", "maxLength"), "string"
)


# Members that hold schemas: by names of their own, and one or several.
_HOLD_NAMED = ("properties", "$defs", "definitions")
_HOLD = ("items", "prefixItems", "allOf", "anyOf", "oneOf")


def check(schema: dict[str, Any], *, param: str) -> list[str]:
    """Return JSON pointers of the keywords that will not be enforced.

    Raises INVALID_REQUEST when the schema is so large, or unfolds so far, that making a grammar of
    it would take a client's whole patience, for a type that JSON has not, and for an ``allOf``
    whose grammar would be of others.
    """
    unenforced: list[str] = []
    nodes = values = 0
    for pointer, node, copies in _walk(schema):
        nodes += copies
        values += len(node["enum"]) if isinstance(node.get("enum"), list) else 0
        if nodes > MAX_NODES or values > MAX_VALUES:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{param}: expected at most {MAX_NODES} schemas and {MAX_VALUES} enum values",
                param=param,
            )
        if not _is_type(node.get("type")):
            place = f"{param}#{pointer}/type"
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{place}: expected {_KINDS}, or a list of them, got {node['type']!r:.80}",
                param=place,
            )
        if has_ruling_all_of(node) and not is_mergeable(schema, node):
            place = f"{param}#{pointer}/allOf"
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{place}: its parts are enforced where all are objects, or all are enums",
                hint="write one schema in its place",
                param=place,
            )
        unenforced += [f"{pointer}/{keyword}" for keyword in _unenforced(node)]
    return unenforced


def _is_type(kind: Any) -> bool:
    kinds = kind if isinstance(kind, list) and kind else [kind]
    return kind is None or all(isinstance(one, str) and one in _TYPES for one in kinds)


def unenforceable(pointers: list[str], param: str) -> RunnerError:
    """Return the refusal of a strict schema, by the keywords that :func:`check` returned."""
    return RunnerError(
        Kind.INVALID_REQUEST,
        f"{param}: {pointers[0]} cannot be enforced while generating",
        hint='leave it out, or send "strict": false to have it ignored',
        param=f"{param}#{pointers[0]}",
        details={"unenforced": pointers[:20]},
    )


def _walk(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (pointer, schema, how often the grammar repeats it) for every schema inside.

    An array of types is unfolded into one copy a type, with all that is below it.
    """
    pending: list[tuple[str, Any, int]] = [("", schema, 1)]
    while pending:
        pointer, node, copies = pending.pop()
        if not isinstance(node, dict):
            continue  # llama.cpp says what it expected there
        yield pointer, node, copies
        kinds = node.get("type")
        copies = min(copies * len(kinds), MAX_NODES + 1) if isinstance(kinds, list) else copies
        pending += [(f"{pointer}/{path}", child, copies) for path, child in _children(node)]


def _children(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for keyword in _HOLD_NAMED:
        if isinstance(members := node.get(keyword), dict):
            for name, child in members.items():
                yield f"{keyword}/{name.replace('~', '~0').replace('/', '~1')}", child
    for keyword in _HOLD:
        child = node.get(keyword)
        if isinstance(child, list):
            yield from ((f"{keyword}/{index}", item) for index, item in enumerate(child))
        elif child is not None:
            yield keyword, child
    if isinstance(extra := node.get("additionalProperties"), dict):
        yield "additionalProperties", extra


def _unenforced(node: dict[str, Any]) -> list[str]:
    """List the keywords of one schema that its grammar leaves out."""
    honoured = set(_ALWAYS)
    for kind in _types(node):
        honoured |= _BY_TYPE.get(kind, frozenset())
    found = [keyword for keyword, value in node.items() if keyword not in honoured and _says(value)]
    if "string" in _types(node):
        found += [keyword for keyword in _unwritable(node) if keyword not in found]
    found += [keyword for keyword in overruled(node) if keyword not in found]
    if {"items", "prefixItems"} <= node.keys() and "prefixItems" not in found:
        found.append("prefixItems")
    if "pattern" in node or _says_pattern(node.get("format")):
        found += [name for name in ("minLength", "maxLength") if name in node and name not in found]
    return found


def _unwritable(node: dict[str, Any]) -> Iterator[str]:
    """Name what says of a text what no grammar can."""
    pattern, name = node.get("pattern"), node.get("format")
    if isinstance(pattern, str) and patterns.written(pattern) is None:
        yield "pattern"
    # Beside a pattern llama.cpp does not look at a format.
    is_read = pattern is None and _says_pattern(name)
    if isinstance(name, str) and name not in _ANNOTATIONS and not is_read:
        yield "format"


def _says_pattern(name: Any) -> bool:
    return isinstance(name, str) and (name in _FORMATS or patterns.format_pattern(name) is not None)


def written(schema: Any) -> Any:
    """Return a schema with its patterns as llama.cpp reads them, and with those of its formats.

    A pattern that no grammar can say is left out: llama.cpp would read another into it. One that
    nobody can read stays, for llama.cpp to refuse.
    """
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for keyword in _HOLD_NAMED:
        if isinstance(members := schema.get(keyword), dict):
            made[keyword] = {name: written(child) for name, child in members.items()}
    for keyword in (*_HOLD, "additionalProperties"):
        child = schema.get(keyword)
        if isinstance(child, list):
            made[keyword] = [written(item) for item in child]
        elif child is not None:
            made[keyword] = written(child)
    _write_pattern(made)
    return made


def _write_pattern(node: dict[str, Any]) -> None:
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        found = patterns.written(pattern)
    elif pattern is None and isinstance(node.get("format"), str) and "string" in _types(node):
        found = patterns.format_pattern(node["format"])
    else:
        return  # llama.cpp says what it expected there
    if found is not None:
        node["pattern"] = found
    elif isinstance(pattern, str) and not patterns.is_malformed(pattern):
        del node["pattern"]
        node.setdefault("type", "string")


def _says(value: Any) -> bool:
    """``uniqueItems: false`` and the like constrain nothing."""
    return value is not False and value is not None and value != {}


def _types(node: dict[str, Any]) -> list[str]:
    kinds = node.get("type")
    if isinstance(kinds, str):
        return [kinds]
    if isinstance(kinds, list):
        return [kind for kind in kinds if isinstance(kind, str)]
    return [kind for keyword, kind in _IMPLIED_TYPE.items() if keyword in node]
