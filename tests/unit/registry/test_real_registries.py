"""The registries that other tests use are what they say they are."""

from __future__ import annotations

import hashlib

import requests

from tests.support.registries import MANIFEST, PASSWORD, USER, RunningRegistry, Skopeo

ACCEPT = {"Accept": MANIFEST}


def test_an_open_registry_gives_back_what_was_seeded(
    open_registry: RunningRegistry, skopeo: Skopeo
) -> None:
    manifest = open_registry.seed("ai/tiny", "one", [b"layer"])
    answer = requests.get(
        f"{open_registry.url}/v2/ai/tiny/manifests/one", headers=ACCEPT, timeout=20
    )
    assert answer.content == manifest
    source = f"docker://{open_registry.host}/ai/tiny:one"
    assert skopeo("inspect", "--raw", "--tls-verify=false", source).stdout == manifest


def test_a_registry_comes_back_with_its_data(open_registry: RunningRegistry) -> None:
    open_registry.seed("ai/tiny", "one", [b"layer"])
    url = open_registry.url
    open_registry.stop()
    open_registry.start()
    assert open_registry.url == url
    digest = hashlib.sha256(b"layer").hexdigest()
    answer = requests.get(f"{url}/v2/ai/tiny/blobs/sha256:{digest}", timeout=20)
    assert answer.content == b"layer"


def test_a_basic_registry_wants_its_password(basic_registry: RunningRegistry) -> None:
    basic_registry.seed("ai/tiny", "one", [b"layer"])
    url = f"{basic_registry.url}/v2/ai/tiny/manifests/one"
    refused = requests.get(url, headers=ACCEPT, timeout=20)
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="basic-realm"'
    assert requests.get(url, headers=ACCEPT, auth=(USER, PASSWORD), timeout=20).status_code == 200


def test_a_token_registry_takes_the_token_of_its_server(
    token_registry: RunningRegistry, skopeo: Skopeo
) -> None:
    manifest = token_registry.seed("ai/tiny", "one", [b"layer"])
    source = f"docker://{token_registry.host}/ai/tiny:one"
    assert skopeo("inspect", "--raw", "--tls-verify=false", source).stdout == manifest
    assert token_registry.tokens is not None
    assert token_registry.tokens.requests[0][1]["scope"] == ["repository:ai/tiny:pull"]


def test_a_tls_registry_has_a_certificate_of_its_authority(tls_registry: RunningRegistry) -> None:
    manifest = tls_registry.seed("ai/tiny", "one", [b"layer"])
    answer = requests.get(
        f"{tls_registry.url}/v2/ai/tiny/manifests/one",
        headers=ACCEPT,
        verify=str(tls_registry.authority),
        timeout=20,
    )
    assert answer.content == manifest
