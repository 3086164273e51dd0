"""Hugging Face in this process: its API, its file addresses and the other host its large files are
on. The fixture ``hub`` serves an empty one. Looked at once by the real ``huggingface_hub`` client.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.http_stand_in import Answer, Gate, Seen, render_json, serving

CACHE_PATH = "/api/resolve-cache/models"


@dataclass
class HubRepository:
    """Commits of a repository, by branch; the newest commit of ``main`` is what search lists."""

    name: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    is_private: bool = False
    is_gated: bool = False
    downloads: int = 0
    likes: int = 0
    tags: tuple[str, ...] = ("gguf",)

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit that holds just these files; return its id."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path, data in sorted(files.items()):
            digest.update(path.encode() + b"\0" + git_sha1(data).encode())
        commit = digest.hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit


@dataclass
class HubStandIn:
    """The hub. Its switches act on the next request."""

    url: str = ""
    cdn_url: str = ""
    repositories: dict[str, HubRepository] = field(default_factory=dict)  # names in lower case
    renamed: dict[str, str] = field(default_factory=dict)  # old name in lower case → new name
    tokens: dict[str, set[str]] = field(default_factory=dict)  # → gated ones it was let in to
    page_size: int = 1000
    requests: list[Seen] = field(default_factory=list)
    cdn_requests: list[Seen] = field(default_factory=list)
    ignores_ranges: bool = False
    cuts: list[int] = field(default_factory=list)  # bytes after which a large file breaks off
    gate: Gate = field(default_factory=Gate)  # of large files; open unless a test closes it
    spoiled: int = 0  # large files that are still to come with a wrong byte
    altered: dict[str, bytes] = field(default_factory=dict)  # small files that arrive otherwise
    lfs_endings: tuple[str, ...] = (".gguf", ".safetensors")
    failures: list[Answer] = field(default_factory=list)  # given instead of API answers, in order
    hashed: dict[bytes, str] = field(default_factory=dict, repr=False)
    signatures: set[str] = field(default_factory=set)  # of addresses that have not expired
    issues_expired: bool = False  # addresses of large files expire before they are used

    def add(self, name: str, files: Mapping[str, bytes], **facts: Any) -> HubRepository:
        """Add a repository with one commit on main."""
        repository = HubRepository(name, **facts)
        repository.commit(files)
        self.repositories[name.lower()] = repository
        return repository

    def sha256(self, data: bytes) -> str:
        """Hash a file, once: a large one is asked for in many ranges."""
        if data not in self.hashed:
            self.hashed[data] = hashlib.sha256(data).hexdigest()
        return self.hashed[data]

    def api(self, seen: Seen) -> Answer:
        """Answer a request to the hub itself."""
        if self.failures:
            return self.failures.pop(0)
        parts = urlsplit(seen.path)
        path, query = parts.path.removeprefix(CACHE_PATH), parse_qs(parts.query)
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return _error(401, "Invalid credentials in Authorization header", None)
        if path == "/api/models":
            return self._search(query)
        is_api = path.startswith("/api/models/")
        name, _, rest = _split_name(path.removeprefix("/api/models"))
        if name.lower() in self.renamed:
            target = seen.path.replace(name, self.renamed[name.lower()], 1)
            return Answer(307, headers={"Location": target})
        repository = self.repositories.get(name.lower())
        if repository is None or (repository.is_private and not token):
            return _error(401 if not token else 404, "Repository not found", "RepoNotFound")
        if is_api:
            return self._describe(repository, rest, query, seen.path)
        if repository.is_gated and repository.name not in self.tokens.get(token, set()):
            return _error(403 if token else 401, "Access is restricted", "GatedRepo")
        return self._resolve(repository, rest, seen)

    def cdn(self, seen: Seen) -> Answer:
        """Answer a request to the host that large files are on."""
        parts = urlsplit(seen.path)
        if parse_qs(parts.query).get("signature", [""])[0] not in self.signatures:
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        sha256 = parts.path.rpartition("/")[2]
        data = next(data for data in self._all_files() if self.sha256(data) == sha256)
        if self.spoiled and seen.method == "GET":
            self.spoiled -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        headers = {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
        return _ranged(data, None if self.ignores_ranges else seen.headers.get("range"), headers)

    def _all_files(self) -> Iterator[bytes]:
        for repository in self.repositories.values():
            for files in repository.commits.values():
                yield from files.values()

    def _search(self, query: Mapping[str, list[str]]) -> Answer:
        wanted = query.get("search", [""])[0].lower()
        found = sorted(
            (
                repository
                for repository in self.repositories.values()
                if wanted in repository.name.lower() and not repository.is_private
            ),
            key=lambda repository: -repository.downloads,
        )
        return render_json([_facts(found_one) for found_one in found][: int(query["limit"][0])])

    def _describe(
        self, repository: HubRepository, rest: str, query: Mapping[str, list[str]], path: str
    ) -> Answer:
        kind, _, after = rest.partition("/")
        revision, _, folder = after.partition("/")
        commit = _find_commit(repository, unquote(revision or "main"))
        if commit is None:
            return _error(404, "Invalid rev id", "RevisionNotFound")
        if kind != "tree":
            return render_json({**_facts(repository), "sha": commit})
        is_recursive = query.get("recursive", [""])[0] in ("true", "True", "1")
        entries = self._tree(repository.commits[commit], unquote(folder), is_recursive=is_recursive)
        start = int(query.get("cursor", ["0"])[0])
        page = entries[start : start + self.page_size]
        answer = render_json(page)
        if start + len(page) < len(entries):
            base = re.sub(r"&cursor=\d+", "", path)
            address = f"{self.url}{base}&cursor={start + len(page)}"
            answer.headers["Link"] = f'<{address}>; rel="next"'
        return answer

    def _tree(
        self, files: Mapping[str, bytes], folder: str, *, is_recursive: bool
    ) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        below = {path: data for path, data in sorted(files.items()) if path.startswith(prefix)}
        folders = sorted(
            {
                prefix + "/".join(parts[:depth])
                for path in below
                for parts in [path.removeprefix(prefix).split("/")]
                for depth in range(1, len(parts))
            }
        )
        entries = [
            {"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders
        ]
        entries += [self._tree_file(path, data) for path, data in below.items()]
        return [
            entry
            for entry in entries
            if is_recursive or "/" not in entry["path"].removeprefix(prefix)
        ]

    def _tree_file(self, path: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
        if not path.endswith(self.lfs_endings):
            entry["oid"] = git_sha1(data)
        else:
            sha256 = self.sha256(data)
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\n".encode()
            entry["oid"] = git_sha1(pointer)
            entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}
        return entry

    def _resolve(self, repository: HubRepository, rest: str, seen: Seen) -> Answer:
        _, revision, file = rest.split("/", 2)
        commit = _find_commit(repository, unquote(revision))
        if commit is None:
            return _error(404, "Invalid rev id", "RevisionNotFound")
        path = unquote(file)
        if path not in repository.commits[commit]:
            return _error(404, "Entry not found", "EntryNotFound")
        data = repository.commits[commit][path]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not path.endswith(self.lfs_endings):
            # As the hub does since 2025: small files lie elsewhere on the same host.
            if not seen.path.startswith(CACHE_PATH):
                headers["Location"] = f"{CACHE_PATH}{seen.path}"
                return Answer(307, headers=headers)
            headers["ETag"] = f'"{git_sha1(data)}"'
            return _ranged(self.altered.get(path, data), seen.headers.get("range"), headers)
        sha256 = self.sha256(data)
        signature = secrets.token_hex(8)
        if not self.issues_expired:
            self.signatures.add(signature)
        headers["Location"] = f"{self.cdn_url}/{repository.name}/{sha256}?signature={signature}"
        headers["X-Linked-Etag"] = f'"{sha256}"'
        headers["X-Linked-Size"] = str(len(data))
        return Answer(302, headers=headers)


def git_sha1(data: bytes) -> str:
    """The id that git gives a file."""
    head = f"blob {len(data)}\0".encode()
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()


def _split_name(path: str) -> tuple[str, str, str]:
    owner, _, rest = unquote(path.lstrip("/"), errors="strict").partition("/")
    repository, slash, _ = rest.partition("/")
    # What follows keeps its escapes: a revision may contain a slash.
    return f"{owner}/{repository}", slash, path.lstrip("/").split("/", 2)[-1] if slash else ""


def _find_commit(repository: HubRepository, revision: str) -> str | None:
    commit = repository.branches.get(revision, revision)
    return commit if commit in repository.commits else None


def _facts(repository: HubRepository) -> dict[str, Any]:
    return {
        "_id": "1",
        "id": repository.name,
        "modelId": repository.name,
        "sha": repository.branches["main"],
        "private": repository.is_private,
        "gated": "manual" if repository.is_gated else False,
        "downloads": repository.downloads,
        "likes": repository.likes,
        "tags": list(repository.tags),
        "siblings": [
            {"rfilename": path} for path in repository.commits[repository.branches["main"]]
        ],
    }


def _ranged(data: bytes, wanted: str | None, headers: dict[str, str]) -> Answer:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
    if match is None:
        return Answer(200, data, headers)
    start, end = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
    if start >= len(data):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    headers = headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
    return Answer(206, data[start : end + 1], headers)


def _error(status: int, message: str, code: str | None) -> Answer:
    headers = {"Content-Type": "application/json", "X-Error-Message": message}
    if code:
        headers["X-Error-Code"] = code
    return Answer(status, json.dumps({"error": message}).encode(), headers)


@contextmanager
def serve_hub() -> Iterator[HubStandIn]:
    """Serve the hub and its large files on two free ports of loopback."""
    hub = HubStandIn()
    hub.gate.is_open.set()
    with ExitStack() as stack:
        hub.url = stack.enter_context(serving(hub.api, hub.requests))
        hub.cdn_url = stack.enter_context(
            serving(hub.cdn, hub.cdn_requests, cuts=hub.cuts, gate=hub.gate)
        )
        yield hub


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    """A hub without repositories."""
    with serve_hub() as served:
        yield served
