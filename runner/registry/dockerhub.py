"""The lists of Docker Hub's web API, to search in: repositories of ``ai`` and their tags."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from runner.errors import Kind, RunnerError
from runner.registry.listing import (
    DOCKER_HUB_NAMESPACE,
    Listed,
    ListedTag,
    parse_docker_hub_page,
    parse_docker_hub_tags,
)
from runner.registry.transport import ONCE, Transport

DOCKER_HUB_URL = "https://hub.docker.com"
PAGE_SIZE = 100  # the most it gives
MAX_PAGES = 10
MAX_REPLY_BYTES = 8 * 1024 * 1024


class DockerHub:
    """Thread-safe. Asks in one try; raises RunnerError: RATE_LIMITED, REGISTRY_UNAVAILABLE."""

    def __init__(self, transport: Transport, url: str = DOCKER_HUB_URL) -> None:
        self._transport = transport
        self._url = f"{url}/v2/repositories/{DOCKER_HUB_NAMESPACE}"

    def find_models(self, term: str, *, limit: int) -> tuple[Listed, ...]:
        """List repositories whose name or description has the term, most pulled first.

        The API cannot filter, so pages are read until there are enough.
        """
        query = urlencode({"page_size": PAGE_SIZE, "ordering": "-pull_count"})
        url: str | None = f"{self._url}/?{query}"
        found: list[Listed] = []
        for _ in range(MAX_PAGES):
            if url is None or len(found) >= limit:
                break
            rows, url = parse_docker_hub_page(self._get(url), url)
            found += (row for row in rows if _mentions(row, term.lower()))
        return tuple(found[:limit])

    def list_tags(self, name: str) -> tuple[ListedTag, ...]:
        """List the tags of a repository that :meth:`find_models` named, the newest ones."""
        base_name = quote(name.rpartition("/")[2], safe="")
        return parse_docker_hub_tags(self._get(f"{self._url}/{base_name}/tags?page_size=100"))

    def _get(self, url: str) -> bytes:
        headers = {"Accept": "application/json"}
        with self._transport.open("GET", url, headers=headers, patience=ONCE) as answer:
            if answer.status != 200:
                is_limited = answer.status == 429
                raise RunnerError(
                    Kind.RATE_LIMITED if is_limited else Kind.REGISTRY_UNAVAILABLE,
                    f"{answer.route} answered {answer.status} to a search",
                    hint="try again later",
                )
            return answer.read(MAX_REPLY_BYTES)


def _mentions(row: Listed, term: str) -> bool:
    return term in row.name.lower() or term in row.description.lower()
