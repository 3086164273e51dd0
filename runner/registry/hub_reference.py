"""Names of models on Hugging Face: ``hf.co/Org/Repo[:QUANT][@revision]``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from runner.errors import Kind, RunnerError
from runner.oci import Reference

HUB_DOMAIN = "huggingface.co"
MAX_REVISION_CHARACTERS = 255

_HOSTS = (HUB_DOMAIN, "hf.co")
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_SELECTOR = (
    "",
    "latest",
    "main",
)  # tags that say nothing of a quantisation (dmr-contract.md 4.9)


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository, and which of its models is meant. The hub is told the name's own case."""

    repository: str  # Org/Repo
    name: Reference  # the stored name: lower case, the tag as it was typed
    selector: str | None = None  # what the file name must say, as ``Q4_K_M``; None: ours to choose
    revision: str | None = None  # branch, tag or commit; None: the branch main

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what a user typed; raise RunnerError(INVALID_REFERENCE)."""
        named, at, revision = text.strip().partition("@")
        if at and not _is_revision(revision):
            raise _refuse(text, "the part after @ is not a branch, tag or commit")
        _, _, path = named.partition("/")
        repository, _, tag = path.partition(":")
        if not is_hub_name(named) or not is_hub_repository(repository):
            raise _refuse(text, "it does not name an organisation and a repository")
        selector = None if tag in _NO_SELECTOR else tag
        return cls(repository, Reference.parse(text), selector, revision or None)

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision or "") is not None

    def __str__(self) -> str:
        tag = f":{self.selector}" if self.selector else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf.co/{self.repository}{tag}{revision}"


def is_hub_name(text: str) -> bool:
    """Say whether a model's name leads to Hugging Face and not to a registry."""
    host, slash, _ = text.strip().partition("/")
    return bool(slash) and host.lower() in _HOSTS


def is_hub_repository(text: str) -> bool:
    """Say whether a text is ``Org/Repo`` in the characters that the hub allows."""
    return _REPOSITORY.fullmatch(text) is not None and ".." not in text


def _is_revision(text: str) -> bool:
    return (
        len(text) <= MAX_REVISION_CHARACTERS
        and _REVISION.fullmatch(text) is not None
        and ".." not in text
    )


def _refuse(text: str, problem: str) -> RunnerError:
    return RunnerError(
        Kind.INVALID_REFERENCE,
        f"invalid Hugging Face model {text.strip()[:160]!a}: {problem}",
        hint="write hf.co/ORG/REPO, with :QUANTISATION and @REVISION if you like",
    )
