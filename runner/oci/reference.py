"""Model references: the names users type, and the full names that are stored.

Four forms: ``name``, ``name:tag``, ``name@digest``, ``name:tag@digest``. Short names follow Docker
Model Runner: no registry means Docker Hub, no organisation means ``ai``, no tag means ``latest``.

On Hugging Face ``name:tag@revision`` names a git revision. It is stored as
``name:tag-at-revision``, so that what is pinned and what is not stand side by side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from runner.errors import Kind, RunnerError
from runner.oci.digest import HEX_LENGTHS, Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_ORGANIZATION = "ai"
DEFAULT_TAG = "latest"
MAX_NAME_CHARACTERS = 255  # domain and repository, as in the distribution specification

_DOMAIN_ALIASES = {"hf.co": "huggingface.co", "index.docker.io": DEFAULT_DOMAIN}
_GIT_HOSTS = ("huggingface.co", "hf.co")
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_REGISTRY = re.compile(
    rf"(?:localhost|\[[0-9a-f:.]+\]|(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}"
    rf"|(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]*[a-z0-9]))(?::[0-9]{{1,5}})?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_ID = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Reference:
    """A full name. ``tag`` is None only when there is a digest; a digest is what counts then."""

    domain: str
    repository: str
    tag: str | None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse and normalise what a user typed; raise RunnerError(INVALID_REFERENCE).

        The name is lower-cased, the tag keeps its case. 64 hex digits are an id, never a name, as
        in the distribution project's grammar. Source: dmr-contract.md 3.1 and 3.2.
        """
        if not text.isascii():  # before lower(), which turns a Kelvin sign into a k
            raise _refuse(text, "it has characters that are not ASCII")
        name, at, suffix = text.strip().partition("@")
        revision = suffix if _is_revision(name, suffix) else ""
        digest = _parse_digest(suffix, text) if at and not revision else None
        name, tag = _split_tag(name)
        if name in HEX_LENGTHS or _ID.fullmatch(name):
            raise _refuse(text, "it is a digest, or part of one")
        domain, repository = _split_domain(name.lower(), text)
        if len(domain) + 1 + len(repository) > MAX_NAME_CHARACTERS:
            raise _refuse(text, f"its name is longer than {MAX_NAME_CHARACTERS} characters")
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        if revision:
            tag = f"{tag}-at-{_NOT_IN_TAG.sub('-', revision)}"
        if tag is not None and not _TAG.fullmatch(tag):
            raise _refuse(text, "its tag is not letters, digits, '_', '.' and '-', up to 128")
        return cls(domain, repository, tag, digest)

    @property
    def name(self) -> str:
        """Domain and repository."""
        return f"{self.domain}/{self.repository}"

    @property
    def base_name(self) -> str:
        """The last part of the repository: what a partial name is compared with."""
        return self.repository.rpartition("/")[2]

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"

    @property
    def familiar(self) -> str:
        """The shortest name that parses to this reference: ``docker.io/ai/x:latest`` → ``x``."""
        full = str(self)
        if self.digest is None:
            full = full.removesuffix(f":{DEFAULT_TAG}")
        without_domain = full.removeprefix(f"{DEFAULT_DOMAIN}/")
        short = without_domain.removeprefix(f"{DEFAULT_ORGANIZATION}/")
        # `docker.io/ai/a/b` must not become `a/b`, which is another model.
        return next(name for name in (short, without_domain, full) if self._may_be_written(name))

    def _may_be_written(self, name: str) -> bool:
        try:
            return type(self).parse(name) == self
        except RunnerError:
            return False  # `docker.io/a.b_c/d` without its registry has none that is a host


def find_registry(text: str) -> str | None:
    """Return the domain when a text names a registry alone: ``ghcr.io``, ``localhost:5000``.

    ``qwen2.5:7b`` is a model: the last label of a host's name never begins with a digit. A name
    without a dot, such as ``registry:5000``, is one when it is written as a URL.
    """
    scheme, _, bare = text.strip().lower().rpartition("://")
    host = bare.removesuffix("/")
    form = {"": _REGISTRY, "http": _DOMAIN, "https": _DOMAIN}.get(scheme)
    if form is None or not form.fullmatch(host):
        return None
    return _DOMAIN_ALIASES.get(host, host)


def _is_revision(name: str, suffix: str) -> bool:
    """Tell whether what follows ``@`` is a git revision; where it could be a digest, it is one."""
    is_on_git_host = name.partition("/")[0].lower() in _GIT_HOSTS
    return is_on_git_host and suffix != "" and suffix.partition(":")[0] not in HEX_LENGTHS


def _parse_digest(suffix: str, text: str) -> Digest:
    try:
        return Digest.parse(suffix)
    except RunnerError:
        problem = f"after @ comes sha256: and 64 lower-case hex digits, not {suffix[:80]!a}"
        raise _refuse(text, problem) from None


def _split_tag(name: str) -> tuple[str, str | None]:
    """Split at the last colon after the last slash; an empty tag counts as none."""
    path, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    return f"{path}{slash}{base}", tag or None


def _split_domain(name: str, text: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    domain, repository = DEFAULT_DOMAIN, name
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain, repository = _DOMAIN_ALIASES.get(first, first), rest
    if domain == DEFAULT_DOMAIN and "/" not in repository:
        repository = f"{DEFAULT_ORGANIZATION}/{repository}"
    match = _DOMAIN.fullmatch(domain)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise _refuse(text, f"{domain[:80]!a} is not a registry host")
    if not _REPOSITORY.fullmatch(repository):
        raise _refuse(text, "its name is not letters, digits and single separators '.', '_', '-'")
    return domain, repository


def _refuse(text: str, problem: str) -> RunnerError:
    return RunnerError(
        Kind.INVALID_REFERENCE,
        f"invalid model reference {text.strip()[:160]!a}: {problem}",
        hint="write NAME, ORG/NAME or HOST/ORG/NAME, with :TAG or @sha256:… if you like",
    )
