"""Origins, addresses, and which token server may see a login."""

from __future__ import annotations

import pytest

from runner.errors import RunnerError
from runner.registry.address import Origin, Reach, literal_reach, may_lead, reach_of, resolve_url
from runner.registry.realm import is_family, judge_realm


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.Example/x?y#z", ("https", "a.example", 443)),
        ("http://a.example:8080", ("http", "a.example", 8080)),
        ("https://[::1]:5000/v2/", ("https", "::1", 5000)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int]) -> None:
    assert Origin.of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v2/",
        "ftp://a.example",
        "https://",
        "https://u@a.example/",
        "https://a.example\\@b.example/",
        "https://a.example/\r\nX: y",
        "https://a exa.mple/",
        "https://ä.example/",
        "https://a.example:99999/",
        "https://a.example:port/",
        "https://-a/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://256.0.0.1/",
        "https://[::1/",
        "https://a.example/" + "a" * 20_000,
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Origin.of(url)


def test_an_origin_is_written_as_urls_have_it() -> None:
    assert str(Origin("https", "::1", 443)) == "https://[::1]"
    assert Origin("http", "a.example", 5000).authority == "a.example:5000"


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("172.16.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("127.9.9.9", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("64:ff9b::7f00:1", Reach.LOOPBACK),
        ("2002:7f00:1::", Reach.LOOPBACK),
        ("169.254.169.254", Reach.SPECIAL),
        ("fe80::1%eth0", Reach.SPECIAL),
        ("0.0.0.0", Reach.SPECIAL),
        ("::", Reach.SPECIAL),
        ("224.0.0.1", Reach.SPECIAL),
    ],
)
def test_an_address_is_so_far_away(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


def test_a_name_is_of_no_known_reach_but_localhost() -> None:
    assert literal_reach("a.example") is None
    assert literal_reach("localhost") is Reach.LOOPBACK
    assert literal_reach("a.localhost") is Reach.LOOPBACK


@pytest.mark.parametrize(
    ("home", "allowed"),
    [
        (Reach.PUBLIC, {Reach.PUBLIC}),
        (Reach.PRIVATE, {Reach.PUBLIC, Reach.PRIVATE}),
        (Reach.LOOPBACK, {Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK}),
        (Reach.SPECIAL, {Reach.PUBLIC}),
    ],
)
def test_d6_d7_a_server_may_lead_no_nearer_than_itself(home: Reach, allowed: set[Reach]) -> None:
    assert {target for target in Reach if may_lead(home, target)} == allowed


def test_a_location_is_resolved_without_its_fragment() -> None:
    assert resolve_url("https://a.example/x/y", "../z#f") == "https://a.example/z"
    assert resolve_url("https://a.example/x", "//b.example/?s=1") == "https://b.example/?s=1"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("auth.docker.io", "registry-1.docker.io", True),
        ("gitlab.com", "registry.gitlab.com", True),
        ("ghcr.io", "ghcr.io", True),
        ("evil.example", "registry.example", False),
        ("docker.io.evil.example", "registry-1.docker.io", False),
        ("evil.co.uk", "registry.co.uk", False),
        ("auth.corp.co.uk", "registry.corp.co.uk", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("auth", "registry", False),
        ("localhost", "localhost", True),
        ("::1", "::2", False),
    ],
)
def test_hosts_below_one_registered_domain_are_a_family(
    one: str, other: str, expected: bool
) -> None:
    assert is_family(one, other) is expected


HUB = Origin.of("https://registry-1.docker.io")


def test_docker_hubs_token_server_may_see_its_login() -> None:
    origin = judge_realm(
        "https://auth.docker.io/token", HUB, has_secret=True, trusted_hosts=frozenset()
    )
    assert origin == Origin("https", "auth.docker.io", 443)


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.docker.io/token",
        "https://auth.docker.io\\.evil.example/token",
        "https://auth.docker.io@evil.example/token",
        "https://evil.example/auth.docker.io",
        "file:///etc/passwd",
        "",
    ],
)
def test_d7_no_other_realm_may(realm: str) -> None:
    with pytest.raises(RunnerError):
        judge_realm(realm, HUB, has_secret=True, trusted_hosts=frozenset())
