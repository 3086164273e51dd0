from __future__ import annotations

import pytest

from runner.oci.challenge import Challenge, choose_challenge, parse_challenges

DOCKER_HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:ai/smollm2:pull"'
)


@pytest.mark.parametrize(
    ("text", "challenges"),
    [
        (
            DOCKER_HUB,
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:ai/smollm2:pull",
                    },
                )
            ],
        ),
        ('Basic realm="a \\"b\\" c"', [Challenge("basic", {"realm": 'a "b" c'})]),
        ("Basic", [Challenge("basic")]),
        ("BEARER Realm=x", [Challenge("bearer", {"realm": "x"})]),
        ("Bearer realm=https://a/token,service=s", [
            Challenge("bearer", {"realm": "https://a/token", "service": "s"})
        ]),
        ("Negotiate YWJj==, Basic realm=x", [
            Challenge("negotiate"), Challenge("basic", {"realm": "x"})
        ]),
        ('Bearer realm="a", Basic realm="b"', [
            Challenge("bearer", {"realm": "a"}), Challenge("basic", {"realm": "b"})
        ]),
        (' , Bearer realm = "a" , , service = s', [
            Challenge("bearer", {"realm": "a", "service": "s"})
        ]),
        ('Bearer realm="a",realm="b"', [Challenge("bearer", {"realm": "a"})]),
        ('Bearer realm="pull,push"', [Challenge("bearer", {"realm": "pull,push"})]),
        ('Bearer realm="open', [Challenge("bearer")]),
        ("", []),
        ('"', []),
    ],
)  # fmt: skip
def test_challenges_are_parsed(text: str, challenges: list[Challenge]) -> None:
    assert list(parse_challenges(text))[: len(challenges) or 1] == challenges


def test_bearer_comes_before_basic() -> None:
    both = parse_challenges('Basic realm="b", Bearer realm="a"')
    assert choose_challenge(both) == Challenge("bearer", {"realm": "a"})
    assert choose_challenge(parse_challenges("Negotiate, Basic")) == Challenge("basic")
    assert choose_challenge(parse_challenges("Digest realm=x")) is None


def test_a_huge_header_is_bounded() -> None:
    assert len(parse_challenges("Basic, " * 100_000)) == 16
