"""What Hugging Face answers, parsed: a repository's revision, its files, and its refusals. Pure.

Sources: the hub's API as the ``huggingface_hub`` client uses it (``GET /api/models/{id}``,
``…/tree/{revision}``, header ``X-Error-Code``). All of it is text of strangers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.registry.hub_reference import HubReference, is_hub_repository
from runner.registry.reply import parse_reply, strange_reply

HUB = "Hugging Face"
MAX_PATH_CHARACTERS = 300
MAX_FILE_BYTES = 2**50

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NEXT_LINK = re.compile(r"<([^<>]*)>\s*;[^,]*\brel=\"?next\"?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HubRevision:
    """A commit of a repository, under the name that the repository has today."""

    repository: str
    commit: str  # 40 hex digits


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file at a commit, with what its bytes must hash to."""

    path: str  # in the repository, parts divided by "/"; never a path on disk
    size_bytes: int
    git_sha1: str  # of the git object: the file itself, or the pointer that LFS keeps instead
    sha256: Digest | None = None  # of the bytes, for files in LFS: all large ones

    @property
    def folder(self) -> str:
        """The path without its last part; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def base_name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def matches(self, data: bytes) -> bool:
        """Hash the bytes and compare."""
        if self.sha256 is not None:
            return self.sha256.matches(data)
        head = f"blob {len(data)}\0".encode()  # what git hashes before a file's bytes
        return hashlib.sha1(head + data, usedforsecurity=False).hexdigest() == self.git_sha1


def parse_revision(raw: bytes, asked: HubReference) -> HubRevision:
    """Parse the answer to ``/api/models/{id}/revision/{revision}``; raise RunnerError."""
    value = parse_reply(raw, dict, HUB)
    commit = value.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _strange("it states no commit")
    name = value.get("id")
    has_moved = isinstance(name, str) and is_hub_repository(name)
    return HubRevision(name if has_moved else asked.repository, commit)


def parse_tree(raw: bytes) -> tuple[HubFile, ...]:
    """Parse one page of ``/api/models/{id}/tree/{commit}?recursive=true``; raise RunnerError.

    Files whose path could mean something to a file system (``..``, a drive, a control character)
    are left out: no model needs them.
    """
    return tuple(_files(parse_reply(raw, list, HUB)))


def parse_next_page(link: str | None, url: str) -> str | None:
    """Return where the page after ``url`` is (RFC 8288); None after the last.

    Of the address given only the query is taken: a mirror may name the hub itself, and the token
    must not go where an answer says.
    """
    match = _NEXT_LINK.search(link or "")
    if match is None:
        return None
    return urlsplit(url)._replace(query=urlsplit(str(match[1])).query).geturl()


def explain_refusal(
    status: int, code: str | None, asked: HubReference, *, has_token: bool
) -> RunnerError:
    """Say why the hub refused a request for a repository. ``code`` is its X-Error-Code.

    The hub answers 401 for what does not exist as for what is private, so as not to tell.
    """
    page = f"https://huggingface.co/{asked.repository}"
    details = {"repository": asked.repository, "status": status}
    if code == "RevisionNotFound":
        return RunnerError(
            Kind.MODEL_NOT_FOUND,
            f"hf.co/{asked.repository} has no revision {asked.revision or 'main'}",
            hint=f"its branches and tags: {page}/tree/main",
            details=details,
        )
    if code == "GatedRepo":
        step = "your token's account is not in yet" if has_token else "set HF_TOKEN"
        return RunnerError(
            Kind.REGISTRY_DENIED,
            f"hf.co/{asked.repository} is gated: its owners ask you to accept their terms",
            hint=f"accept them at {page}; {step}",
            details=details,
        )
    if status == 404 or code == "RepoNotFound" or (status == 401 and not has_token):
        return RunnerError(
            Kind.MODEL_NOT_FOUND,
            f"hf.co/{asked.repository} does not exist, or is private",
            hint=f"check {page}" + ("" if has_token else "; for a private one set HF_TOKEN"),
            details=details,
        )
    if status in (401, 403):
        return RunnerError(
            Kind.REGISTRY_DENIED,
            f"Hugging Face refuses your token for hf.co/{asked.repository} (status {status})",
            hint="give HF_TOKEN a valid token that may read it: https://huggingface.co/settings/tokens",
            details=details,
        )
    return explain_status(status, has_token=has_token)


def explain_status(status: int, *, has_token: bool) -> RunnerError:
    """Say what a refusal means that is not about a repository."""
    if status == 429:
        hint = "wait a few minutes" + (
            "" if has_token else "; with HF_TOKEN set the limit is higher"
        )
        return RunnerError(
            Kind.RATE_LIMITED, "Hugging Face answers no more requests for now", hint=hint
        )
    return RunnerError(
        Kind.REGISTRY_UNAVAILABLE,
        f"Hugging Face answered {status}",
        hint="try again later; https://status.huggingface.co tells of outages",
        details={"status": status},
    )


def _files(entries: list[Any]) -> Iterator[HubFile]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise _strange("its list of files has an entry that is no object")
        if entry.get("type") != "file" or not _is_plain_path(entry.get("path")):
            continue
        lfs = entry.get("lfs") or {}
        if not isinstance(lfs, dict):
            raise _strange("a file's lfs is no object")
        yield HubFile(
            path=entry["path"],
            size_bytes=_size(lfs.get("size", entry.get("size"))),
            git_sha1=_git_sha1(entry.get("oid")),
            sha256=_sha256(lfs.get("oid")) if lfs else None,
        )


def _is_plain_path(path: object) -> bool:
    return (
        isinstance(path, str)
        and len(path) <= MAX_PATH_CHARACTERS
        and path.isprintable()
        and not any(character in path for character in ':\\"<>|?*')
        and all(part.strip(". ") for part in path.split("/"))
    )


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_FILE_BYTES:
        raise _strange("a file's size is no sane number")
    return value


def _git_sha1(value: object) -> str:
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise _strange("a file's oid is no SHA-1")
    return value


def _sha256(value: object) -> Digest:
    try:
        return Digest("sha256", str(value).removeprefix("sha256:"))
    except RunnerError as error:
        raise _strange("a large file's oid is no SHA-256") from error


def _strange(problem: str) -> RunnerError:
    return strange_reply(HUB, problem)
