"""Pulling from real registries: open, with a password, with tokens, over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Manifest, Reference
from runner.registry.caller import Caller
from runner.registry.network import Network, read_network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from tests.support.registries import PASSWORD, USER, RunningRegistry

LAYER = bytes(range(256)) * 512  # 128 KiB


@pytest.fixture
def registry() -> Iterator[Registry]:
    transport = Transport(Network())
    yield Registry(transport.network, transport)
    transport.close()


def name(registry: RunningRegistry, rest: str = "ai/tiny:one") -> Reference:
    return Reference.parse(f"{registry.host}/{rest}")


def layer_of(raw: bytes) -> Descriptor:
    return Manifest.parse(raw).layers[0]


def read(registry: Registry, reference: Reference, layer: Descriptor, *span: int | None) -> bytes:
    start, stop = span or (0, None)
    with registry.blob(reference, layer)(start or 0, stop) as blob:
        assert blob.start == start
        assert blob.size_bytes == layer.size_bytes or start == 0
        return b"".join(blob.chunks())


def test_a_manifest_is_resolved_and_its_blob_read(
    open_registry: RunningRegistry, registry: Registry
) -> None:
    raw = open_registry.seed("ai/tiny", "one", [LAYER])
    found = registry.resolve(name(open_registry))
    assert (found.raw, found.digest) == (raw, Digest.of(raw))
    assert found.media_type == "application/vnd.oci.image.manifest.v1+json"
    assert read(registry, name(open_registry), layer_of(raw)) == LAYER


def test_a_range_of_a_blob_is_read(open_registry: RunningRegistry, registry: Registry) -> None:
    layer = layer_of(open_registry.seed("ai/tiny", "one", [LAYER]))
    assert read(registry, name(open_registry), layer, 1000, 1010) == LAYER[1000:1010]
    assert read(registry, name(open_registry), layer, len(LAYER) - 5, None) == LAYER[-5:]


def test_a_range_past_the_end_begins_anew(
    open_registry: RunningRegistry, registry: Registry
) -> None:
    layer = layer_of(open_registry.seed("ai/tiny", "one", [LAYER]))
    with registry.blob(name(open_registry), layer)(len(LAYER) + 5, None) as blob:
        assert blob.start == 0
        assert b"".join(blob.chunks()) == LAYER


def test_a_digest_in_the_name_is_what_counts(
    open_registry: RunningRegistry, registry: Registry
) -> None:
    raw = open_registry.seed("ai/tiny", "one", [LAYER])
    open_registry.seed("ai/tiny", "two", [b"other"])
    pinned = name(open_registry, f"ai/tiny:two@{Digest.of(raw)}")
    assert registry.resolve(pinned).raw == raw


def test_an_unknown_name_is_not_found(open_registry: RunningRegistry, registry: Registry) -> None:
    with pytest.raises(RunnerError) as caught:
        registry.resolve(name(open_registry))
    assert caught.value.kind is Kind.MODEL_NOT_FOUND
    assert "MANIFEST_UNKNOWN" in caught.value.message


def test_head_tells_the_digest(open_registry: RunningRegistry, registry: Registry) -> None:
    raw = open_registry.seed("ai/tiny", "one", [LAYER])
    assert registry.head(name(open_registry)) == Digest.of(raw)


def test_a_small_blob_is_read_and_verified(
    open_registry: RunningRegistry, registry: Registry
) -> None:
    manifest = Manifest.parse(open_registry.seed("ai/tiny", "one", [LAYER]))
    assert b"gguf" in registry.read_blob(name(open_registry), manifest.config, 8192)
    with pytest.raises(RunnerError) as caught:
        registry.read_blob(name(open_registry), manifest.config, 5)
    assert caught.value.kind is Kind.INVALID_MODEL


def test_a_password_opens_a_basic_registry(basic_registry: RunningRegistry, tmp_path: Path) -> None:
    raw = basic_registry.seed("ai/tiny", "one", [LAYER])
    config = tmp_path / "config.json"
    config.write_text(f'{{"auths": {{"{basic_registry.host}": {{"auth": "YWxpY2U6czNjcmV0"}}}}}}')
    registry = Registry(network := Network(docker_config=config), Transport(network))
    assert registry.resolve(name(basic_registry)).raw == raw
    assert read(registry, name(basic_registry), layer_of(raw), 7, 9) == LAYER[7:9]


def test_without_its_password_a_basic_registry_is_closed(
    basic_registry: RunningRegistry, registry: Registry
) -> None:
    with pytest.raises(RunnerError) as caught:
        registry.resolve(name(basic_registry))
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert f"runner login {basic_registry.host}" in (caught.value.hint or "")


def test_anybody_gets_a_token_to_pull(token_registry: RunningRegistry, registry: Registry) -> None:
    raw = token_registry.seed("ai/tiny", "one", [LAYER])
    assert registry.resolve(name(token_registry)).raw == raw
    assert read(registry, name(token_registry), layer_of(raw)) == LAYER
    assert token_registry.tokens is not None
    assert [
        (method, query["scope"], proof) for method, query, proof in token_registry.tokens.requests
    ] == [("GET", ["repository:ai/tiny:pull"], "")]  # one token serves both


def test_a_login_gets_a_token(token_registry: RunningRegistry, tmp_path: Path) -> None:
    raw = token_registry.seed("ai/tiny", "one", [LAYER])
    assert token_registry.tokens is not None
    token_registry.tokens.is_pull_open = False
    config = tmp_path / "config.json"
    login = f'{{"username": "{USER}", "password": "{PASSWORD}"}}'
    config.write_text(f'{{"auths": {{"http://{token_registry.host}/v2/": {login}}}}}')
    registry = Registry(network := Network(docker_config=config), Transport(network))
    assert registry.resolve(name(token_registry)).raw == raw
    assert token_registry.tokens.requests[0][1]["account"] == [USER]


def test_a_callers_token_takes_the_place_of_logins(
    token_registry: RunningRegistry, registry: Registry
) -> None:
    raw = token_registry.seed("ai/tiny", "one", [LAYER])
    tokens = token_registry.tokens
    assert tokens is not None
    tokens.is_pull_open = False
    scope = {"scope": ["repository:ai/tiny:pull"]}
    own = tokens.grant(scope, USER)["token"]  # one that the registry takes as it is
    assert registry.on_behalf(Caller(bearer_token=own)).resolve(name(token_registry)).raw == raw
    tokens.refresh_tokens.add("refresh")  # one that the token server exchanges
    refreshed = registry.on_behalf(Caller(bearer_token="refresh"))
    assert refreshed.resolve(name(token_registry)).raw == raw
    with pytest.raises(RunnerError) as caught:  # nobody else's
        registry.resolve(name(token_registry))
    assert caught.value.kind is Kind.REGISTRY_DENIED


def test_an_authority_of_ones_own_is_trusted_when_named(tls_registry: RunningRegistry) -> None:
    raw = tls_registry.seed("ai/tiny", "one", [LAYER])
    network = read_network({"SSL_CERT_FILE": str(tls_registry.authority)})
    registry = Registry(network, Transport(network))
    assert registry.resolve(name(tls_registry)).raw == raw
    assert read(registry, name(tls_registry), layer_of(raw)) == LAYER
