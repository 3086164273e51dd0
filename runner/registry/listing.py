"""What Docker Hub and Hugging Face answer when models are searched for, parsed. Pure.

Members that a list leaves out, or has in a form of their own, count as not stated: a row with a
gap serves better than no list. Text is made printable, since it ends on a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from runner.registry.hub_reference import is_hub_repository
from runner.registry.hub_reply import HUB
from runner.registry.reply import parse_reply

MAX_TEXT_CHARACTERS = 200
DOCKER_HUB_NAMESPACE = "ai"

_LICENSE_TAG = "license:"


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository that a search found. Empty, 0 and None: not stated."""

    name: str  # ``ai/smollm2``, ``Org/Repo``
    description: str = ""
    downloads: int = 0
    stars: int = 0
    license: str = ""
    context_length: int | None = None  # tokens
    is_gated: bool = False  # asks who wants it to accept terms


@dataclass(frozen=True, slots=True)
class ListedTag:
    """A tag of a repository on Docker Hub."""

    name: str
    size_bytes: int | None
    digest: str


def parse_docker_hub_page(raw: bytes, url: str) -> tuple[tuple[Listed, ...], str | None]:
    """Parse a page of ``/v2/repositories/ai/``: its rows, and where the next page is."""
    value = parse_reply(raw, dict, "Docker Hub")
    following = value.get("next")
    if not isinstance(following, str) or urlsplit(urljoin(url, following))[:2] != urlsplit(url)[:2]:
        following = None
    rows = tuple(
        Listed(
            name=f"{DOCKER_HUB_NAMESPACE}/{name}",
            description=_text(row, "description"),
            downloads=_count(row, "pull_count") or 0,
            stars=_count(row, "star_count") or 0,
        )
        for row in _rows(value.get("results"))
        if (name := _text(row, "name")) and row.get("is_private") is not True
    )
    return rows, following and urljoin(url, following)


def parse_docker_hub_tags(raw: bytes) -> tuple[ListedTag, ...]:
    """Parse the first page of ``/v2/repositories/ai/{name}/tags``."""
    value = parse_reply(raw, dict, "Docker Hub")
    return tuple(
        ListedTag(_text(row, "name"), _count(row, "full_size"), _text(row, "digest"))
        for row in _rows(value.get("results"))
        if _text(row, "name")
    )


def parse_hub_models(raw: bytes) -> tuple[Listed, ...]:
    """Parse the answer to ``/api/models?search=…``."""
    return tuple(
        Listed(
            name=row["id"],
            description=_text(row, "pipeline_tag"),
            downloads=_count(row, "downloads") or 0,
            stars=_count(row, "likes") or 0,
            license=_license(row.get("tags")),
            context_length=_count(row.get("gguf"), "context_length"),
            is_gated=row.get("gated") in ("auto", "manual", True),
        )
        for row in _rows(parse_reply(raw, list, HUB))
        if is_hub_repository(str(row.get("id"))) and row.get("private") is not True
    )


def _license(tags: object) -> str:
    found = (tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
    names = (tag.removeprefix(_LICENSE_TAG) for tag in found if tag.startswith(_LICENSE_TAG))
    return _printable(next(names, ""))


def _rows(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (row for row in value if isinstance(row, dict))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return _printable(value) if isinstance(value, str) else ""


def _printable(text: str) -> str:
    """Keep what a terminal shows as itself: no escape sequence, no second line."""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(words)[:MAX_TEXT_CHARACTERS]


def _count(row: object, key: str) -> int | None:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
