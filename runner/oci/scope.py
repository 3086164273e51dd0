"""What a token is for: ``repository:NAME:pull,push``, the scope of registry tokens. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

MAX_SCOPES = 8  # in one challenge

_FORM = re.compile(r"repository(?:\([a-z0-9]+\))?:([a-z0-9._/-]{1,255}):([a-z,*]{1,64})")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Actions on one repository, sorted."""

    repository: str
    actions: tuple[str, ...]

    @classmethod
    def of(cls, repository: str, *actions: str) -> Self:
        """Make a scope; the order of actions does not matter."""
        return cls(repository, tuple(sorted(set(actions))))

    def __str__(self) -> str:
        return f"repository:{self.repository}:{','.join(self.actions)}"


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Parse a challenge's ``scope``: what is no repository's scope is left out."""
    matches = (_FORM.fullmatch(part) for part in text.split()[:MAX_SCOPES])
    return tuple(Scope.of(match[1], *match[2].split(",")) for match in matches if match)


def merge_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Join the actions of each repository; sorted, so that equal wishes are equal."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        actions.setdefault(scope.repository, set()).update(scope.actions)
    return tuple(sorted(Scope.of(name, *wanted) for name, wanted in actions.items()))


def agree_scopes(wanted: Iterable[Scope], asked: Iterable[Scope]) -> tuple[Scope, ...]:
    """Join what we want and what a registry asks us to get a token for.

    Of what it asks, only pulling is added: it may know a repository by another name, but a token
    for a pull never lets whoever gets to see it push.
    """
    harmless = (
        Scope.of(scope.repository, "pull") for scope in asked if {"pull", "*"} & set(scope.actions)
    )
    return merge_scopes((*wanted, *harmless))
