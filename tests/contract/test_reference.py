"""What is told of fields is what is done: docs/api.md, /openapi.json, and requests with each field.

Requests are made of the declarations: every field with a value that its schema forbids, every one
that is ignored, and every one that is refused.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import openapi_spec_validator

from runner.api.fields import Field, Ignored, Refused, Shape
from tests.contract.places import PLACES, Json, Place
from tests.support import reference
from tests.support.fake_service import JSON_FIELD, Answer, Site, serving

ANY_TYPE: tuple[Any, ...] = ({"?": "?"}, "\0?", 0.5, True, [[]], -(10**12))


WRONG_VALUES = 2  # of each field


def asked(test: Callable[[Site], Any]) -> None:
    async def main() -> None:
        async with serving() as site, asyncio.timeout(60):
            await test(site)

    asyncio.run(main())


def test_the_page_is_what_the_code_says() -> None:
    async def test(site: Site) -> None:
        told = await asyncio.to_thread(reference.FILE.read_text, "utf-8")
        assert told == reference.render(site.routes), "run `make docs`"

    asked(test)


def test_openapi_tells_all_routes_and_is_valid() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("GET", "/openapi.json")
        document = answer.json
        openapi_spec_validator.validate(document)
        told = {(method, path) for path, item in document["paths"].items() for method in item}
        assert told == {(route.method.lower(), route.template) for route in site.routes}
        assert len(told) == len(site.routes)
        assert len(document["components"]["schemas"]) == 1 + len(reference.shapes(site.routes))

    asked(test)


def test_every_field_does_what_is_told_of_it() -> None:
    async def test(site: Site) -> None:
        schemas = (await site.send("GET", "/openapi.json")).json
        shapes = reference.shapes(site.routes)
        assert {shape.name for shape in shapes} == PLACES.keys()
        for shape in shapes:
            await asyncio.gather(*(check(site, shape, member, schemas) for member in shape.members))

    asked(test)


async def check(
    site: Site, shape: Shape, member: Field[Any] | Ignored | Refused, schemas: Json
) -> None:
    match member:
        case Field(name=name):
            properties = component(schemas, shape)["properties"]
            schema = {**schemas, **properties[name]}
            validator = jsonschema.Draft202012Validator(schema)
            wrong = [value for value in ANY_TYPE if not validator.is_valid(value)]
            for value in wrong[:WRONG_VALUES]:
                assert await refused(site, shape, name, value), (shape.name, name, value)
        case Refused(name=name):
            assert await refused(site, shape, name, {"?": "?"}), (shape.name, name)
        case Ignored(name=name):
            for place in PLACES[shape.name]:
                if place.answers:
                    answer = await send(site, place, name, {"?": "?"})
                    assert answer.status in (200, 202), (shape.name, name, answer.body)
                    assert mentions(answer.headers["x-ignored-fields"], name)


async def refused(site: Site, shape: Shape, name: str, value: Any) -> bool:
    """Whether one of the places where the shape stands answers 400 that names the member."""
    answers = [await send(site, place, name, value) for place in PLACES[shape.name]]
    return any(answer.status == 400 and mentions(answer.body.decode(), name) for answer in answers)


async def send(site: Site, place: Place, name: str, value: Any) -> Answer:
    body = json.dumps(place.within({**place.least, name: value})).encode()
    return await site.send(place.method, place.path, JSON_FIELD, body=body)


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def component(document: Json, shape: Shape) -> Json:
    found: Json = next(
        schema
        for schema in document["components"]["schemas"].values()
        if schema.get("title") == shape.name
    )
    return found
