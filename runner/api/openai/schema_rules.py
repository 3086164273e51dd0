"""Which keywords of a JSON schema its grammar reads, where several stand side by side. Pure.

In llama.cpp one keyword rules a schema and those beside it are passed over in silence, and an
``allOf`` is an object or an enum, whatever its parts say. Read beside ``build_node`` of
``common/json-schema.cpp`` and ``_visit_all_of`` of ``common/json-schema-to-grammar.cpp``.
"""

from __future__ import annotations

from typing import Any, Literal

MAX_REFERENCES = 10  # that are followed one after the other
MAX_PARTS = 10_000  # of one allOf, and choices within a part

# Keywords that rule alone, the strongest first; a constant fits its type, so nothing is lost there.
_ALONE = ("$ref", "oneOf", "anyOf")
_VALUES = ("const", "enum")
_CONSTRAINTS = frozenset(
    {
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "oneOf",
        "pattern",
        "prefixItems",
        "properties",
        "required",
        "type",
    }
)

Part = Literal["object", "enum", "any", "other"]


def overruled(node: dict[str, Any]) -> list[str]:
    """List the keywords of a schema that are not read because another rules it."""
    for ruler in _ALONE:
        if ruler in node:
            return [name for name in node if name in _CONSTRAINTS and name != ruler]
    if "allOf" not in node or any(name in node for name in _VALUES):
        return []
    if not has_ruling_all_of(node):
        return ["allOf"]
    return [name for name in node if name in _CONSTRAINTS and name not in ("allOf", "type")]


def has_ruling_all_of(node: dict[str, Any]) -> bool:
    """Whether the grammar of a schema is that of its ``allOf``."""
    if "allOf" not in node or any(name in node for name in (*_ALONE, *_VALUES)):
        return False
    kinds = _types(node)
    is_object = not kinds or "object" in kinds
    return "string" in kinds or (is_object and not _has_properties(node))


def is_mergeable(root: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether the grammar of an ``allOf`` takes only what its parts do: all objects, or enums."""
    listed = node["allOf"]
    if not isinstance(listed, list):
        return True  # llama.cpp says what it expected there
    if len(listed) > MAX_PARTS:
        return False
    # Each once: ten thousand parts may name the same choice of ten thousand.
    parts = {id(part): part for part in (_followed(root, one) for one in listed)}
    kinds = {kind for part in parts.values() for kind in _kinds(root, part)}
    return kinds == {"enum"} or kinds in ({"object"}, {"object", "any"})


def _kinds(root: dict[str, Any], node: Any) -> set[Part]:
    """Tell of what kind a part of an ``allOf`` is, or of what kinds those it leaves a choice of."""
    choices = node.get("oneOf", node.get("anyOf")) if isinstance(node, dict) else None
    if not isinstance(choices, list):
        return {_kind(node)}
    if len(choices) > MAX_PARTS:
        return {"other"}
    return {_kind(_followed(root, choice)) for choice in choices}


def _followed(root: dict[str, Any], node: Any) -> Any:
    """Return what a schema that is a reference names, else the schema; None for no schema."""
    for _ in range(MAX_REFERENCES):
        if not (isinstance(node, dict) and isinstance(node.get("$ref"), str)):
            return node
        node = _target(root, node["$ref"])
    return None


def _kind(node: Any) -> Part:
    if not isinstance(node, dict):
        return "object"  # llama.cpp says what it expected there
    if "const" in node or isinstance(node.get("type"), list):
        return "other"
    if "enum" in node:
        return "enum"
    if _types(node) <= {"object"} and (_has_properties(node) or node.get("type") == "object"):
        return "object"
    return "other" if _CONSTRAINTS.intersection(node) - {"required"} else "any"


def _target(root: dict[str, Any], reference: str) -> Any:
    """Return what a reference into the same document names; None where it names nothing."""
    found: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        found = (
            found.get(name.replace("~1", "/").replace("~0", "~"))
            if isinstance(found, dict)
            else None
        )
    return found


def _has_properties(node: dict[str, Any]) -> bool:
    return "properties" in node or node.get("additionalProperties", True) is not True


def _types(node: dict[str, Any]) -> set[str]:
    kinds = node.get("type", [])
    listed = kinds if isinstance(kinds, list) else [kinds]
    return {kind for kind in listed if isinstance(kind, str)}
