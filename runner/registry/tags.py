"""The tags of a repository, page by page. Source: distribution-spec 1.1, "Listing Tags"."""

from __future__ import annotations

import re

from runner.registry.address import Origin, resolve_url
from runner.registry.failures import Cause, unavailable
from runner.registry.session import Session

MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_PAGES = 100
PAGE_SIZE = 1000

_NEXT = re.compile(r'\s*<([^>]{1,4096})>\s*;.*?\brel="?next"?', re.IGNORECASE)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def list_tags(session: Session, repository: str) -> tuple[str, ...]:
    """Return all tags in the registry's order; raise RunnerError of :meth:`Session.refusal`."""
    tags: list[str] = []
    url = f"{session.base_url}/v2/{repository}/tags/list?n={PAGE_SIZE}"
    for _ in range(MAX_PAGES):
        with session.open("GET", url) as answer:
            if answer.status != 200:
                raise session.refusal(answer, repository)
            value = answer.read_json(MAX_PAGE_BYTES)
            page = value.get("tags") if isinstance(value, dict) else None
            tags += [tag for tag in page or () if isinstance(tag, str) and _TAG.fullmatch(tag)]
            following = _NEXT.match(answer.headers.get("Link", ""))
        if following is None:
            return tuple(tags)
        url = resolve_url(url, following[1])
        if Origin.of(url) != Origin.of(session.base_url):
            raise unavailable(Cause.REDIRECT, f"{session.host} has its list of tags elsewhere")
    return tuple(tags)
