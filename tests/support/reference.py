"""docs/api.md: every route, and every field of its requests, as the code declares them.

``python -m tests.support.reference`` writes it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.api.fields import NO_LIMIT, Field, Ignored, Refused, Required, Shape
from runner.api.routes import Route
from tests.support.fake_service import serving

FILE = Path(__file__).parents[2] / "docs" / "api.md"

HEAD = """\
# Routes and fields of requests

Made from the code by `make docs`; a test compares them. `GET /openapi.json` tells the same to
programs.

A field that is `null` counts as absent. A field that is honoured and has a wrong value is a 400
that names it, and so is one that is refused. One that is ignored has no effect, as one that is not
listed; both are named in the header `X-Ignored-Fields` of the answer.

Paths that begin with `/v1` are also there under `/engines/v1` and `/engines/llama.cpp/v1`, and
llama-server's and rankings under `/engines` and `/engines/llama.cpp`.
"""


def render(routes: Sequence[Route[Any]]) -> str:
    """Write the whole page."""
    plain = {_key(route): route for route in reversed(routes)}
    shown = [route for route in routes if plain[_key(route)] is route]
    lines = [HEAD, "| Route | What it does | Scope | Request |", "|---|---|---|---|"]
    for route in shown:
        scope = "" if route.scope is None else route.scope.value
        about = [route.about, *(f"`?{one.name}`: {one.about}" for one in route.query)]
        request = _link(route.body) if route.body else ""
        path = f"`{route.method} {_plain(route.template)}`"
        lines.append(f"| {path} | {'; '.join(about)} | {scope} | {request} |")
    for shape in shapes(shown):
        lines += _section(shape)
    return "\n".join(lines) + "\n"


def shapes(routes: Sequence[Route[Any]]) -> list[Shape]:
    """List every shape of the routes' requests once."""
    bodies = [shape for route in routes if route.body for shape in route.body.within()]
    return list(dict.fromkeys(bodies))


def _section(shape: Shape) -> Iterator[str]:
    yield f"\n## {_heading(shape)}\n"
    yield "| Field | Takes | What it does |"
    yield "|---|---|---|"
    rows: dict[tuple[str, str], list[str]] = {}
    for member in sorted(shape.members, key=_rank):
        rows.setdefault(_effect(member), []).append(f"`{member.name}`")
    for (takes, about), names in rows.items():
        yield f"| {', '.join(names)} | {takes} | {about} |"


def _effect(member: Field[Any] | Ignored | Refused) -> tuple[str, str]:
    match member:
        case Required():
            return f"{_words(member.schema)}, required", member.about
        case Field():
            return _words(member.schema), member.about
        case Ignored():
            return "ignored", member.about
    return "refused", member.about + (f"; {member.hint}" if member.hint else "")


def _rank(member: Field[Any] | Ignored | Refused) -> int:
    """Sort what is honoured before what is ignored, and that before what is refused."""
    return 0 if isinstance(member, Required) else (Field, Ignored, Refused).index(type(member)) + 1


def _words(schema: Any) -> str:
    """Say in words what a schema takes."""
    match schema:
        case Shape():
            return _link(schema)
        case {"enum": values}:
            return ", ".join(f"`{_literal(value)}`" for value in values)
        case {"const": value}:
            return f"`{_literal(value)}`"
        case {"anyOf": choices}:
            return " or ".join(_words(choice) for choice in choices)
        case {"type": list(kinds)}:
            return " or ".join(_words({**schema, "type": kind}) for kind in kinds)
        case {"type": "array", "items": items}:
            return f"array of {_words(items)}"
        case {"type": "integer" | "number" as kind, "minimum": low, **rest}:
            return f"{kind} {_span(low, rest.get('maximum'))}"
        case {"type": str(kind)}:
            return kind
    return "anything"


def _span(low: float, high: float | None) -> str:
    if high is None or high >= NO_LIMIT:
        return f"of {low:g} or more"
    return f"from {low:g} to {high if isinstance(high, int) else format(high, 'g')}"


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _heading(shape: Shape) -> str:
    return shape.name[:1].upper() + shape.name[1:]


def _link(shape: Shape) -> str:
    return f"[{shape.name}](#{re.sub('[^a-z0-9_ -]', '', shape.name.lower()).replace(' ', '-')})"


def _key(route: Route[Any]) -> tuple[str, str]:
    return route.method, _plain(route.template)


def _plain(template: str) -> str:
    """Take off the prefixes under which the same API is there again."""
    for prefix in ("/engines/llama.cpp", "/engines"):
        rest = template.removeprefix(prefix)
        if rest != template and rest.startswith(_AGAIN):
            return rest
    return template


_AGAIN = (
    "/v1/",
    "/tokenize",
    "/detokenize",
    "/apply-template",
    "/infill",
    "/completion",
    "/lora-adapters",
    "/props",
    "/slots",
    "/embedding",
    "/rerank",
    "/score",
)


async def _main() -> None:
    async with serving() as site:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(render(site.routes), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_main())
