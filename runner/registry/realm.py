"""Which token server may see a login: the realm of a challenge is a stranger's word. Pure."""

from __future__ import annotations

from runner.errors import Kind, RunnerError
from runner.registry.address import Origin
from runner.registry.failures import Cause, unavailable

# Names below these belong to whoever registered them, so two labels do not make a family.
_SECOND_LEVEL = frozenset(("ac", "co", "com", "edu", "go", "gov", "mil", "ne", "net", "or", "org"))


def judge_realm(
    realm: str, registry: Origin, *, has_secret: bool, trusted_hosts: frozenset[str]
) -> Origin:
    """Return the origin of a realm that may be asked for a token.

    Raises RunnerError: REGISTRY_UNAVAILABLE for a realm that nobody may be sent to, REGISTRY_DENIED
    for one that must not see a secret of this registry.
    """
    try:
        origin = Origin.of(realm)
    except ValueError as problem:
        raise unavailable(
            Cause.ANSWER, f"{registry.authority} names a token server that is refused: {problem}"
        ) from problem
    if origin.scheme == "http" and registry.scheme == "https":
        raise unavailable(
            Cause.ANSWER,
            f"{registry.authority} names a token server of plain http, at {origin.authority}",
            "tokens and passwords could be read on the way; that is refused",
        )
    is_known = bool({origin.host, origin.authority} & trusted_hosts)
    if has_secret and not is_known and not is_family(origin.host, registry.host):
        raise RunnerError(
            Kind.REGISTRY_DENIED,
            f"{registry.authority} wants its login sent to {origin.authority}, which is not of its "
            "own domain: nothing was sent",
            hint=f"if that is its token server, allow it: RUNNER_TRUSTED_HOSTS={origin.authority}",
        )
    return origin


def is_family(one: str, other: str) -> bool:
    """Tell whether two hosts are the same, or below one registered domain."""
    return one == other or (
        (domain := registered_domain(one)) is not None and (domain == registered_domain(other))
    )


def registered_domain(host: str) -> str | None:
    """Return the part of a name that somebody registered; None for an address or a bare name.

    By rule of thumb (``a.example.com``, ``a.example.co.uk``): the list of public suffixes is not
    at hand. It errs towards fewer relations for names below ``co.uk`` and the like.
    """
    labels = host.rstrip(".").split(".")
    if ":" in host or labels[-1].isdigit():
        return None
    count = 3 if len(labels[-1]) == 2 and len(labels) > 1 and labels[-2] in _SECOND_LEVEL else 2
    return ".".join(labels[-count:]) if len(labels) >= count else None
