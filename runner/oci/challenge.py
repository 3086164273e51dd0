"""What a server wants proved: the WWW-Authenticate header, RFC 9110 section 11.6.1. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_HEADER_CHARACTERS = 8 * 1024
MAX_CHALLENGES = 16

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SEPARATOR = re.compile(r"[ \t,]*")
_PARAMETER = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*({_QUOTED}|{_TOKEN})")
# Some registries leave a realm's URL without quotes: everything up to the comma is taken.
_LOOSE_PARAMETER = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*([^\s,\"]+)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_SCHEME = re.compile(_TOKEN)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme, in lower case, with its parameters; their names are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """Parse the header, all its lines joined by commas; what breaks the grammar ends the list.

    A parameter that appears twice counts with its first value.
    """
    text = text[:MAX_HEADER_CHARACTERS]
    found: list[Challenge] = []
    at = _skip(text, 0)
    while len(found) < MAX_CHALLENGES and (scheme := _SCHEME.match(text, at)):
        parameters, at = _parameters(text, _skip(text, scheme.end()))
        found.append(Challenge(scheme[0].lower(), parameters))
    return tuple(found)


def choose_challenge(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Choose the one to answer: Bearer before Basic, nothing else."""
    by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
    return by_scheme.get("bearer") or by_scheme.get("basic")


def _parameters(text: str, at: int) -> tuple[dict[str, str], int]:
    """Read what follows a scheme: parameters, or a token68, which no scheme of ours has."""
    token68 = None if _PARAMETER.match(text, at) else _TOKEN68.match(text, at)
    if token68 is not None and token68[0].endswith("="):
        return {}, _skip(text, token68.end())
    found: dict[str, str] = {}
    while match := _parameter(text, at):
        name, value = match[1].lower(), match[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        found.setdefault(name, value)
        at = _skip(text, match.end())
    return found, at


def _parameter(text: str, at: int) -> re.Match[str] | None:
    """Match a parameter; one whose bare value goes on after the token is read loosely."""
    strict = _PARAMETER.match(text, at)
    if strict and (strict.end() == len(text) or text[strict.end()] in " \t,"):
        return strict
    return _LOOSE_PARAMETER.match(text, at)


def _skip(text: str, at: int) -> int:
    match = _SEPARATOR.match(text, at)
    return match.end() if match else at
