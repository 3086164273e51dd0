"""The lists of Docker Hub's web API, in this process: repositories of ``ai`` and their tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.http_stand_in import Answer, Seen, render_json, serving

PREFIX = "/v2/repositories/ai"


@dataclass
class DockerHubStandIn:
    """Repositories by name, most pulled first: description, pulls, and (tag, size, digest)s."""

    url: str = ""
    repositories: dict[str, tuple[str, int, list[tuple[str, int, str]]]] = field(
        default_factory=dict
    )
    requests: list[Seen] = field(default_factory=list)
    failures: list[Answer] = field(default_factory=list)  # given instead of answers, in order

    def answer(self, seen: Seen) -> Answer:
        if self.failures:
            return self.failures.pop(0)
        parts = urlsplit(seen.path)
        query = parse_qs(parts.query)
        name, _, rest = parts.path.removeprefix(PREFIX).strip("/").partition("/")
        if not name:
            return self._list(int(query["page_size"][0]), int(query.get("page", ["1"])[0]))
        if rest != "tags" or name not in self.repositories:
            return Answer(404, b'{"message": "object not found"}')
        tags = [
            {"name": tag, "full_size": size, "digest": digest, "images": [{"size": size}]}
            for tag, size, digest in self.repositories[name][2]
        ]
        return render_json({"count": len(tags), "next": None, "results": tags})

    def _list(self, size: int, page: int) -> Answer:
        names = list(self.repositories)
        found = [
            {
                "name": name,
                "namespace": "ai",
                "description": self.repositories[name][0],
                "is_private": False,
                "star_count": 7,
                "pull_count": self.repositories[name][1],
            }
            for name in names[(page - 1) * size : page * size]
        ]
        is_last = page * size >= len(names)
        following = None if is_last else f"{self.url}{PREFIX}/?page_size={size}&page={page + 1}"
        return render_json({"count": len(names), "next": following, "results": found})


@pytest.fixture
def docker_hub() -> Iterator[DockerHubStandIn]:
    """A Docker Hub without models."""
    docker_hub = DockerHubStandIn()
    with serving(docker_hub.answer, docker_hub.requests) as docker_hub.url:
        yield docker_hub
