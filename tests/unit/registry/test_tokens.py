"""Token servers that lie, and registries that name them (D7, D8)."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.registry.caller import Caller
from runner.registry.network import Network
from runner.registry.registry import Registry
from tests.support.registries import PASSWORD, USER, RunningRegistry
from tests.support.web import Reply, Seen, Web, redirect, serve
from tests.unit.registry.conftest import MakeTransport

MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}'
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


def token_reply(token: object = "good", **members: object) -> Reply:
    return Reply(body=json.dumps({"token": token, **members}).encode())


def protected(realm: Callable[[], str], token: str = "Bearer good") -> Callable[[Seen], Reply]:
    """Play a registry that wants this proof, and names this realm."""

    def play(seen: Seen) -> Reply:
        if seen.headers["Authorization"] == token:
            return Reply(body=MANIFEST, headers={"Content-Type": MEDIA_TYPE})
        challenge = f'Bearer realm="{realm()}",service="s",scope="repository:ai/tiny:pull"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    return play


def config_for(tmp_path: Path, host: str) -> Path:
    path = tmp_path / "config.json"
    login = {"username": USER, "password": PASSWORD}
    path.write_text(json.dumps({"auths": {host: login}}))
    return path


def named(web: Web, name: str) -> str:
    """Give a server another name: every name is this machine."""
    return f"{name}:{web.host.partition(':')[2]}"


def resolve(make_transport: MakeTransport, host: str, network: Network) -> bytes:
    registry = Registry(network, make_transport(network))
    return registry.resolve(Reference.parse(f"{host}/ai/tiny:one")).raw


def failure(make_transport: MakeTransport, host: str, network: Network) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        resolve(make_transport, host, network)
    return caught.value


def plain(*hosts: str, docker_config: Path | None = None, **options: object) -> Network:
    return Network(
        plain_registries=frozenset(hosts),
        docker_config=docker_config,
        stall_s=5,
        **options,  # type: ignore[arg-type]
    )


def test_d7_a_login_is_not_sent_to_a_realm_of_another_domain(
    make_transport: MakeTransport, tmp_path: Path
) -> None:
    with serve(lambda _: token_reply()) as evil, serve(lambda seen: play(seen)) as web:
        play = protected(lambda: f"http://{named(evil, 'evil.example')}/token")
        host = named(web, "registry.corp.test")
        config = config_for(tmp_path, host)
        error = failure(make_transport, host, plain(host, docker_config=config))
        assert error.kind is Kind.REGISTRY_DENIED
        assert "nothing was sent" in error.message
        assert evil.seen == []
        # The user may say that it belongs there.
        allowed = frozenset({named(evil, "evil.example")})
        network = plain(host, docker_config=config, trusted_hosts=allowed)
        assert resolve(make_transport, host, network) == MANIFEST
        assert evil.seen[0].headers["Authorization"].startswith("Basic ")


def test_d7_a_login_goes_to_a_realm_of_the_same_domain(
    make_transport: MakeTransport, tmp_path: Path
) -> None:
    with serve(lambda _: token_reply()) as auth, serve(lambda seen: play(seen)) as web:
        play = protected(lambda: f"http://{named(auth, 'auth.corp.test')}/token")
        host = named(web, "registry.corp.test")
        network = plain(host, docker_config=config_for(tmp_path, host))
        assert resolve(make_transport, host, network) == MANIFEST
    assert auth.paths == [
        "/token?service=s&scope=repository%3Aai%2Ftiny%3Apull&account=alice",
    ]


def test_d7_a_realm_of_plain_http_is_refused_for_a_registry_of_https(
    make_transport: MakeTransport, tls_registry: RunningRegistry
) -> None:
    assert tls_registry.tls is not None
    with serve(lambda _: token_reply()) as auth:
        play = protected(lambda: f"{auth.url}/token")
        with serve(play, pair=tls_registry.tls) as web:
            error = failure(make_transport, web.host, Network(ca_file=tls_registry.authority))
    assert "token server of plain http" in error.message
    assert auth.seen == []


def test_d7_a_realm_nearer_than_the_registry_is_not_asked_without_a_login_either(
    make_transport: MakeTransport,
) -> None:
    with serve(protected(lambda: "http://169.254.169.254/token")) as web:
        error = failure(make_transport, web.host, plain(web.host))
    assert "refused to be sent to 169.254.169.254" in error.message


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(body=b"x" * 10_000_000), "more than 65536 bytes"),
        (Reply(body=b"<html>", headers={"Content-Type": "text/html"}), "a page for people"),
        (Reply(body=b"[]"), "no token of visible characters"),
        (token_reply("a\r\nX-Evil: 1"), "no token of visible characters"),
        (token_reply("é"), "no token of visible characters"),
        (token_reply(""), "no token of visible characters"),
        (token_reply(17), "no token of visible characters"),
        (token_reply("a" * 20_000), "no token of visible characters"),
        (Reply(418, body=b"secret of the inner network"), "answered 418"),
        (redirect("http://127.0.0.1:1/"), "redirects a request that must not be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_d7_a_realm_that_answers_something_else_is_told_without_its_words(
    make_transport: MakeTransport, reply: Reply, problem: str
) -> None:
    with serve(lambda _: reply) as auth, serve(protected(lambda: f"{auth.url}/token")) as web:
        error = failure(make_transport, web.host, plain(web.host))
    assert error.kind is Kind.REGISTRY_UNAVAILABLE
    assert problem in error.message
    assert "secret" not in str(error)


def test_d8_a_401_that_goes_on_is_answered_once(make_transport: MakeTransport) -> None:
    with serve(lambda _: token_reply("bad")) as auth:
        with serve(protected(lambda: f"{auth.url}/token")) as web:
            error = failure(make_transport, web.host, plain(web.host))
        assert error.kind is Kind.REGISTRY_DENIED
        assert (len(auth.seen), len(web.seen)) == (1, 2)


def test_a_token_that_no_header_can_hold_is_refused(make_transport: MakeTransport) -> None:
    network = plain("a.test")
    registry = Registry(network, make_transport(network))
    with serve(protected(lambda: "http://a.test/token")) as web:
        bad = Caller(bearer_token="a\r\nX-Evil: 1")
        with pytest.raises(RunnerError) as caught:
            registry.on_behalf(bad).resolve(Reference.parse(f"{web.host}/ai/tiny:one"))
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert "Evil" not in str(caught.value)


def test_a_token_server_that_is_asked_too_often_is_told(make_transport: MakeTransport) -> None:
    huge = Reply(429, headers={"Retry-After": "99999"})
    with serve(lambda _: huge) as auth, serve(protected(lambda: f"{auth.url}/token")) as web:
        assert failure(make_transport, web.host, plain(web.host)).kind is Kind.RATE_LIMITED


def test_a_refused_login_is_told(make_transport: MakeTransport, tmp_path: Path) -> None:
    with serve(lambda _: Reply(401)) as auth, serve(protected(lambda: f"{auth.url}/token")) as web:
        network = plain(web.host, docker_config=config_for(tmp_path, web.host))
        error = failure(make_transport, web.host, network)
    assert error.kind is Kind.REGISTRY_DENIED
    assert f"runner login {web.host}" in (error.hint or "")
    assert PASSWORD not in str(error)


def test_a_password_is_posted_where_get_is_not_known(
    make_transport: MakeTransport, tmp_path: Path
) -> None:
    def play(seen: Seen) -> Reply:
        return Reply(405) if seen.method == "GET" else token_reply()

    with serve(play) as auth, serve(protected(lambda: f"{auth.url}/token")) as web:
        network = plain(web.host, docker_config=config_for(tmp_path, web.host))
        assert resolve(make_transport, web.host, network) == MANIFEST
    assert auth.seen[1].body == (
        b"grant_type=password&username=alice&password=s3cret&client_id=runner&service=s"
        b"&scope=repository%3Aai%2Ftiny%3Apull"
    )


def test_an_identity_token_is_exchanged(make_transport: MakeTransport, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    with serve(lambda _: token_reply()) as auth, serve(lambda seen: play(seen)) as web:
        play = protected(lambda: f"{auth.url}/token")
        config.write_text(json.dumps({"auths": {web.host: {"identitytoken": "long"}}}))
        assert resolve(make_transport, web.host, plain(web.host, docker_config=config))
    assert auth.seen[0].method == "POST"
    assert b"grant_type=refresh_token&refresh_token=long" in auth.seen[0].body


def test_a_token_that_ends_in_the_middle_is_renewed(make_transport: MakeTransport) -> None:
    tokens = ["first", "second"]
    wanted = ["Bearer first"]

    def play(seen: Seen) -> Reply:
        return protected(lambda: f"{auth.url}/token", wanted[0])(seen)

    with serve(lambda _: token_reply(tokens.pop(0))) as auth, serve(play) as web:
        registry = Registry(network := plain(web.host), make_transport(network))
        reference = Reference.parse(f"{web.host}/ai/tiny:one")
        assert registry.resolve(reference).digest == Digest.of(MANIFEST)
        wanted[0] = "Bearer second"  # the registry has forgotten the first
        assert registry.resolve(reference).digest == Digest.of(MANIFEST)
    assert len(auth.seen) == 2


def test_those_who_wish_the_same_at_once_share_one_token(make_transport: MakeTransport) -> None:
    with serve(lambda _: token_reply()) as auth, serve(lambda seen: play(seen)) as web:
        play = protected(lambda: f"{auth.url}/token")
        registry = Registry(network := plain(web.host), make_transport(network))
        reference = Reference.parse(f"{web.host}/ai/tiny:one")
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: registry.resolve(reference), range(16)))
    assert {item.digest for item in found} == {Digest.of(MANIFEST)}
    assert len(auth.seen) == 1


def test_a_password_that_changed_is_shown_anew(
    make_transport: MakeTransport, tmp_path: Path
) -> None:
    wanted = ["Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()]

    def play(seen: Seen) -> Reply:
        if seen.headers["Authorization"] == wanted[0]:
            return Reply(body=MANIFEST, headers={"Content-Type": MEDIA_TYPE})
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    with serve(play) as web:
        network = plain(web.host, docker_config=config_for(tmp_path, web.host))
        registry = Registry(network, make_transport(network))
        reference = Reference.parse(f"{web.host}/ai/tiny:one")
        registry.resolve(reference)
        wanted[0] = "Basic " + b64encode(f"{USER}:new".encode()).decode()
        with pytest.raises(RunnerError):
            registry.resolve(reference)
        config = tmp_path / "config.json"
        config.write_text(config.read_text().replace(PASSWORD, "new"))
        assert registry.resolve(reference).raw == MANIFEST


def test_a_real_token_that_has_expired_is_renewed(
    make_transport: MakeTransport, token_registry: RunningRegistry
) -> None:
    raw = token_registry.seed("ai/tiny", "one", [b"layer"])
    tokens = token_registry.tokens
    assert tokens is not None
    tokens.lifetime_s = -120  # docker-registry allows a minute
    registry = Registry(network := Network(), make_transport(network))
    reference = Reference.parse(f"{token_registry.host}/ai/tiny:one")
    with pytest.raises(RunnerError):
        registry.resolve(reference)
    tokens.lifetime_s = 300
    assert registry.resolve(reference).raw == raw
    assert len(tokens.requests) == 2
