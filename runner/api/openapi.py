"""``/openapi.json``: the routes and the shapes of their requests, as OpenAPI 3.1 has them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner.api.fields import Field, Ignored, Refused, Required, Shape
from runner.api.routes import Route

Json = dict[str, Any]

ABOUT = """\
Language models on this machine. A member of a request that is null counts as absent. Members \
marked x-ignored, and unknown ones, have no effect and are named in the header X-Ignored-Fields \
of the answer. A path may hold a model's name with its slashes as they are."""
ERROR: Json = {
    "description": "What is wrong, and of which field",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
ERROR_SCHEMA: Json = {
    "type": "object",
    "description": "Errors as OpenAI's SDKs read them; other dialects' routes have their own.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}


def document(routes: Sequence[Route[Any]], *, version: str) -> Json:
    """Describe all routes."""
    paths: dict[str, Json] = {}
    schemas = {"Error": ERROR_SCHEMA}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
        for shape in route.body.within() if route.body else ():
            schemas[_title(shape.name)] = _object(shape)
    return {
        "openapi": "3.1.0",
        "info": {"title": "runner", "version": version, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Only of servers that were given keys.",
                }
            },
        },
    }


def _operation(route: Route[Any]) -> Json:
    told: Json = {
        "operationId": _title(f"{route.method.lower()} {route.template}"),
        "summary": route.about,
        "responses": {"200": {"description": "Done"}, "default": ERROR},
        "security": [] if route.scope is None else [{}, {"key": [route.scope.value]}],
    }
    parameters = [_parameter(field) for field in route.query]
    if "{name}" in route.template:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        parameters.insert(0, name | {"description": "a model's name"})
    if parameters:
        told["parameters"] = parameters
    if route.body is not None:
        schema = _reference(route.body)
        told["requestBody"] = {
            "required": _needs_members(route.body),
            "content": {"application/json": {"schema": schema}},
        }
    return told


def _parameter(field: Field[Any]) -> Json:
    return {
        "name": field.name,
        "in": "query",
        "description": field.about,
        "required": isinstance(field, Required),
        "schema": _resolved(field.schema),
    }


def _object(shape: Shape) -> Json:
    """Render an object's schema; a refused member has one that nothing fits."""
    properties: dict[str, Json] = {}
    for member in shape.members:
        match member:
            case Field():
                properties[member.name] = {
                    **_resolved(member.schema),
                    "description": member.about,
                }
            case Ignored():
                properties[member.name] = {"description": member.about, "x-ignored": True}
            case Refused():
                properties[member.name] = {"description": member.about, "not": {}}
    made: Json = {"type": "object", "title": shape.name, "properties": properties}
    if needed := [one.name for one in shape.members if isinstance(one, Required)]:
        made["required"] = needed
    return made


def _needs_members(shape: Shape) -> bool:
    return any(isinstance(member, Required) for member in shape.members)


def _reference(shape: Shape) -> Json:
    return {"$ref": f"#/components/schemas/{_title(shape.name)}"}


def _resolved(schema: Any) -> Any:
    """Replace shapes within a schema by references to them."""
    match schema:
        case Shape():
            return _reference(schema)
        case Mapping():
            return {name: _resolved(member) for name, member in schema.items()}
        case list():
            return [_resolved(item) for item in schema]
    return schema


def _title(words: str) -> str:
    """Write words as one: ``ChatCompletion``."""
    return "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9_]+", words))
