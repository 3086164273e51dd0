"""Finds the route of a request on its raw path. Pure.

A template is literal segments and at most one ``{name}``, which spans slashes: the name of a
model, sent with ``/`` or ``%2F``. Literal segments are compared as sent, never decoded, so that no
encoding of a path reaches a route that another component did not see.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from runner.api.fields import Field, Shape
from runner.api.keys import Scope
from runner.errors import Kind, RunnerError

T = TypeVar("T")

# The same API under each of them: Docker Model Runner's two, and what SDKs are usually given.
OPENAI_PREFIXES = ("/engines/llama.cpp/v1", "/engines/v1", "/v1")
LLAMA_PREFIXES = ("/engines/llama.cpp", "/engines", "")

MAX_NAME_BYTES = 512  # a host, a repository of 255, a tag of 128 or a digest


@dataclass(frozen=True)
class Route(Generic[T]):
    """One method on one template. ``scope`` None: open to everybody."""

    method: str
    template: str
    scope: Scope | None
    target: T
    about: str  # what it does, in a few words
    body: Shape | None = None  # None: no JSON object is read
    query: tuple[Field[Any], ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The template as an expression over the raw path."""
        literals = [re.escape(part) for part in self.template.split("{name}")]
        return re.compile("(?P<name>.+?)".join(literals))


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """The route, and the model's name if its template has one."""

    route: Route[T]
    name: str


class MethodNotAllowed(RunnerError):
    """The path exists under other methods, which the ``Allow`` header names."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        self.allow = ", ".join(allowed)
        super().__init__(
            Kind.METHOD_NOT_ALLOWED, f"{method} is not possible here; use {self.allow}"
        )


def find(routes: Sequence[Route[T]], method: str, path: str) -> Match[T]:
    """Return the first route that fits; raise NOT_FOUND with near paths, or METHOD_NOT_ALLOWED."""
    if path != "/":
        path = path.removesuffix("/")
    fitting = [(route, match) for route in routes if (match := route.pattern.fullmatch(path))]
    for route, match in fitting:
        # RFC 9110 section 9.3.2: HEAD is GET without the content.
        if route.method == method or (route.method, method) == ("GET", "HEAD"):
            return Match(route, parse_name(match["name"]) if "{name}" in route.template else "")
    if not fitting:
        raise RunnerError(Kind.NOT_FOUND, f"there is no {path[:200]}", hint=_near(routes, path))
    raise MethodNotAllowed(method, allowed_methods(routes, path))


def allowed_methods(routes: Sequence[Route[T]], path: str) -> list[str]:
    """List what may be asked of a path; empty when it does not exist."""
    methods = {route.method for route in routes if route.pattern.fullmatch(path)}
    if not methods:
        return []
    return sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))


def parse_name(raw: str) -> str:
    """Decode a model's name out of a path, once; raise INVALID_REFERENCE for what is none."""
    try:
        name = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        name = ""
    segments = name.split("/")
    if (
        not name.isprintable()
        or len(name.encode()) > MAX_NAME_BYTES
        or "\\" in name
        or any(segment in ("", ".", "..") for segment in segments)
    ):
        raise RunnerError(
            Kind.INVALID_REFERENCE, "the path does not hold a model's name such as ai/smollm2"
        )
    return name


def _near(routes: Sequence[Route[T]], path: str) -> str:
    single = re.sub("/{2,}", "/", path)
    if single != path and any(route.pattern.fullmatch(single) for route in routes):
        return f"did you mean {single[:200]}?"
    templates = {route.template: f"{route.method} {route.template}" for route in reversed(routes)}
    near = difflib.get_close_matches(path[:100], list(templates), n=3, cutoff=0.5)
    if not near:
        return "GET / lists where to begin"
    return "near it: " + ", ".join(templates[template] for template in near)
