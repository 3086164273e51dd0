"""API keys and what each of them may do. Pure.

A key file holds one key a line, as ``KEY`` or ``KEY:scope+scope`` with scopes out of ``infer``,
``manage`` and ``admin``; a key without scopes has them all. Empty lines and lines that begin with
``#`` are comments. A key of the environment is taken as it is, and has all scopes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runner.errors import Kind, RunnerError


class Scope(StrEnum):
    """What a route needs and a key may have. They do not contain one another."""

    INFER = "infer"  # use models, list them
    MANAGE = "manage"  # add, tag, remove, unload models
    ADMIN = "admin"  # logs


ALL_SCOPES = frozenset(Scope)

# RFC 6750 section 2.1 calls it b64token; whatever printable a person chose is accepted.
_KEY = re.compile(r"[!-9;-~]{1,512}")


@dataclass(frozen=True, slots=True)
class Keys:
    """Digests of the keys with their scopes. The keys themselves are not kept."""

    scopes_by_digest: tuple[tuple[bytes, frozenset[Scope]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.scopes_by_digest)

    def scopes_of(self, key: str) -> frozenset[Scope] | None:
        """Return the scopes of ``key``, or None when it is not one of ours.

        Every stored key is compared, each in constant time, whether or not one matched before.
        """
        digest = _digest(key)
        found: frozenset[Scope] | None = None
        for stored, scopes in self.scopes_by_digest:
            if hmac.compare_digest(stored, digest):
                found = scopes
        return found


NO_KEYS = Keys()


def parse_keys(lines: Iterable[str], *, plain: Iterable[str] = ()) -> Keys:
    """Read keys, one a line; raise RunnerError(USAGE) naming the line, never the key.

    ``plain`` holds keys that are not lines of a file: taken as they are, with all scopes.
    """
    found = {_digest(key): ALL_SCOPES for key in plain}
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, colon, scopes = line.partition(":")
        if not _KEY.fullmatch(key):
            raise RunnerError(
                Kind.USAGE,
                f"API key {number}: expected 1 to 512 printable ASCII characters without blank",
                hint="write KEY or KEY:scope+scope, for example KEY:infer",
            )
        found[_digest(key)] = _parse_scopes(scopes, number) if colon else ALL_SCOPES
    return Keys(tuple(found.items()))


def _parse_scopes(text: str, number: int) -> frozenset[Scope]:
    words = [word.strip() for word in re.split(r"[+,]", text)]
    try:
        return frozenset(Scope(word) for word in words)
    except ValueError:
        raise RunnerError(
            Kind.USAGE,
            f"API key {number}: expected scopes out of infer, manage and admin, got {text!r}",
        ) from None


def name_key(key: str) -> str:
    """Return a name for what belongs to a key: always the same, and the key is not in it."""
    return hashlib.sha256(b"name:" + _digest(key)).hexdigest()[:32]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
