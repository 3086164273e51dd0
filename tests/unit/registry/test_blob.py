"""Blobs whose registry, storage or cache misbehaves (D4, D9)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.stream import OpenRange
from tests.support.web import Reply, Seen, Web, redirect, serve
from tests.unit.registry.conftest import MakeTransport

DATA = bytes(range(250)) * 40
DIGEST = Digest("sha256", hashlib.sha256(DATA).hexdigest())
LAYER = Descriptor("application/vnd.docker.ai.gguf.v3", DIGEST, len(DATA))

OpenAt = Callable[[Web], OpenRange]


@pytest.fixture
def open_at(make_transport: MakeTransport) -> OpenAt:
    """Open the blob at a server that plays a registry."""

    def at(web: Web) -> OpenRange:
        network = Network(plain_registries=frozenset({web.host}), stall_s=5)
        registry = Registry(network, make_transport(network))
        return registry.blob(Reference.parse(f"{web.host}/ai/tiny:one"), LAYER)

    return at


def part(seen: Seen, **options: int) -> Reply:
    """Answer a range as a storage does."""
    start = int(seen.headers["Range"].removeprefix("bytes=").partition("-")[0])
    span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    return Reply(206, DATA[start:], {"Content-Range": span}, **options)  # type: ignore[arg-type]


def test_d4_a_server_that_ignores_ranges_says_where_it_begins(open_at: OpenAt) -> None:
    with serve(lambda _: Reply(body=DATA)) as web, open_at(web)(500, None) as blob:
        assert (blob.start, blob.size_bytes) == (0, len(DATA))
        assert b"".join(blob.chunks()) == DATA


def test_d4_a_part_from_elsewhere_says_where_it_begins(open_at: OpenAt) -> None:
    reply = Reply(206, DATA[9:], {"Content-Range": f"bytes 9-{len(DATA) - 1}/{len(DATA)}"})
    with serve(lambda _: reply) as web, open_at(web)(500, None) as blob:
        assert blob.start == 9


@pytest.mark.parametrize("text", ["", "bytes 5-", "bytes */10000", "5-9/10000", "bytes 9-x/10"])
def test_d4_a_part_that_does_not_say_which_is_refused(open_at: OpenAt, text: str) -> None:
    with (
        serve(lambda _: Reply(206, b"x", {"Content-Range": text})) as web,
        pytest.raises(RunnerError) as caught,
        open_at(web)(500, None),
    ):
        pass
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE


def test_d4_a_part_of_a_blob_of_another_size_is_damaged(open_at: OpenAt) -> None:
    with (
        serve(lambda _: Reply(206, b"x", {"Content-Range": "bytes 500-500/501"})) as web,
        pytest.raises(RunnerError) as caught,
        open_at(web)(500, None),
    ):
        pass
    assert caught.value.kind is Kind.INTEGRITY


def test_d4_a_range_that_cannot_be_served_begins_anew(open_at: OpenAt) -> None:
    def play(seen: Seen) -> Reply:
        return Reply(416) if seen.headers["Range"] else Reply(body=DATA)

    with serve(play) as web, open_at(web)(500, None) as blob:
        assert (blob.start, b"".join(blob.chunks())) == (0, DATA)


def test_a_blob_that_is_missing_is_no_unknown_model(open_at: OpenAt) -> None:
    with (
        serve(lambda _: Reply(404)) as web,
        pytest.raises(RunnerError) as caught,
        open_at(web)(0, None),
    ):
        pass
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert f"not its blob {DIGEST.short}" in caught.value.message


def test_d9_a_signed_url_that_expired_is_signed_anew(open_at: OpenAt) -> None:
    signed: list[int] = []

    def registry(_: Seen) -> Reply:
        signed.append(len(signed))
        return redirect(f"{storage.url}/blob?signature={signed[-1]}")

    def store(seen: Seen) -> Reply:
        if seen.path != f"/blob?signature={signed[-1]}":
            return Reply(403, b"expired")
        if signed[-1] == 0:  # breaks off in the middle, and the URL is of no use any more
            return Reply(body=DATA, sent=4000)
        return part(seen)

    got = b""
    with serve(store) as storage, serve(registry) as web:
        open_range = open_at(web)
        with pytest.raises(RunnerError) as caught, open_range(0, None) as blob:
            for chunk in blob.chunks():
                got += chunk
        assert caught.value.details["cause"] == "broken"
        assert got == DATA[:4000]
        with open_range(len(got), None) as blob:
            assert blob.start == 4000
            got += b"".join(blob.chunks())
    assert got == DATA
    assert signed == [0, 1]


def test_d9_a_storage_that_refuses_is_no_matter_of_logins(open_at: OpenAt) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/"'}
    with (
        serve(lambda _: Reply(401, headers=challenge)) as storage,
        serve(lambda _: redirect(f"{storage.url}/blob")) as web,
        pytest.raises(RunnerError) as caught,
        open_at(web)(0, None),
    ):
        pass
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert storage.host in caught.value.message
