"""Pulls over a real socket, from a registry that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.pace import Pace
from runner.transfer.progress import Event, LayerProgress, Note, Planned
from runner.transfer.pull import Pulled, pull
from tests.support.gguf_maker import make_gguf, tiny_model
from tests.support.hostile_registry import (
    Exchange,
    HostileRegistry,
    digest_of,
    serve_hostile_registry,
)
from tests.unit.transfer.conftest import BLOCK_BYTES, content, partials, stored

LAYER = tiny_model() + content(20 * BLOCK_BYTES)
OTHER = tiny_model(b"\2")
PACE = Pace(block_bytes=BLOCK_BYTES, pause_s=0.001, patience_s=0.0)


@pytest.fixture
def hostile() -> Iterator[HostileRegistry]:
    with serve_hostile_registry() as registry:
        yield registry


class Puller:
    """Pulls from one registry into one store, and remembers what was told."""

    def __init__(self, store: Store, hostile: HostileRegistry) -> None:
        self.store = store
        self.hostile = hostile
        self.events: list[Event] = []
        network = Network(insecure_registries=frozenset({hostile.host}), stall_s=0.5)
        self.transport = Transport(network, sleep=lambda seconds: None)
        self.registry = Registry(network, self.transport)

    def pull(
        self, name: str = "ai/tiny:one", cancelled: Callable[[], bool] = lambda: False
    ) -> Pulled:
        self.events.clear()
        self.hostile.asked.clear()
        return pull(
            self.store,
            self.registry,
            Reference.parse(f"{self.hostile.host}/{name}"),
            listen=self.events.append,
            cancelled=cancelled,
            pace=PACE,
        )

    def refused(self, name: str = "ai/tiny:one") -> RunnerError:
        with pytest.raises(RunnerError) as caught:
            self.pull(name)
        return caught.value

    @property
    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]


@pytest.fixture
def puller(store: Store, hostile: HostileRegistry) -> Iterator[Puller]:
    puller = Puller(store, hostile)
    yield puller
    puller.transport.close()


def times(count: int, misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], bool]:
    """Misbehave so many times at the large layer, then no more."""
    left = [count]

    def respond(exchange: Exchange) -> bool:
        if exchange.data != LAYER or left[0] == 0:
            return False
        left[0] -= 1
        misbehave(exchange)
        return True

    return respond


def test_a_model_is_pulled_whole_and_named(puller: Puller, hostile: HostileRegistry) -> None:
    manifest = hostile.seed("one", LAYER, OTHER)
    pulled = puller.pull()
    assert pulled.model.id == Digest.of(manifest)
    assert pulled.model.tags == (f"{hostile.host}/ai/tiny:one",)
    assert not pulled.is_cached
    assert puller.store.list() == [pulled.model]
    planned = next(event for event in puller.events if isinstance(event, Planned))
    assert [layer.size_bytes for layer in planned.layers] == [len(LAYER), len(OTHER)]
    last = {event.digest: event for event in puller.events if isinstance(event, LayerProgress)}
    assert [event.done_bytes == event.size_bytes for event in last.values()] == [True, True]
    assert partials(puller.store) == []
    assert puller.notes == []


def test_a_pull_of_what_is_there_asks_once_and_moves_nothing(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER)
    puller.pull()
    again = puller.pull()
    assert again.is_cached and again.received_bytes == 0
    assert hostile.asked == ["HEAD /v2/ai/tiny/manifests/one"]


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (b"GGU", "not a GGUF file"),
        (b"<!DOCTYPE html><title>Sign in</title>", "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a GGUF file"),
        (make_gguf({}, field_count=2**64 - 1), "invalid GGUF file"),
        (make_gguf({}, tensor_count=2**64 - 1), "invalid GGUF file"),
    ],
)
def test_c1_c2_weights_that_are_no_model_are_not_listed(
    puller: Puller, hostile: HostileRegistry, weights: bytes, problem: str
) -> None:
    manifest = hostile.seed("one", weights)
    error = puller.refused()
    assert error.kind is Kind.INVALID_MODEL
    assert error.message.startswith(f"model.gguf: {problem}")
    assert puller.store.list() == []
    puller.store.upkeep.sweep(grace_s=0.0)
    assert stored(puller.store, weights) == weights  # for a second look, not for ever
    assert puller.refused().kind is Kind.INVALID_MODEL
    assert hostile.blob_requests() == []
    assert stored(puller.store, manifest) == manifest


def test_another_name_of_a_stored_model_is_only_a_tag(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER)
    puller.pull()
    hostile.seed("two", LAYER)
    again = puller.pull("ai/tiny:two")
    assert again.is_cached
    assert again.model.tags == (f"{hostile.host}/ai/tiny:one", f"{hostile.host}/ai/tiny:two")
    assert hostile.blob_requests() == []


def test_layers_of_another_model_are_taken_over(puller: Puller, hostile: HostileRegistry) -> None:
    hostile.seed("one", LAYER)
    puller.pull()
    hostile.seed("two", LAYER, OTHER)
    puller.pull("ai/tiny:two")
    assert not any(digest_of(LAYER) in line for line in hostile.asked)
    assert puller.events[0] == Planned(
        (
            LayerProgress(Digest.of(LAYER), len(LAYER), len(LAYER), 0, is_present=True),
            LayerProgress(Digest.of(OTHER), len(OTHER), 0),
        )
    )


def test_a_digest_alone_names_what_it_pulled(puller: Puller, hostile: HostileRegistry) -> None:
    manifest = hostile.seed("one", LAYER)
    name = f"ai/tiny@{digest_of(manifest)}"
    assert puller.pull(name).model.tags == (f"{hostile.host}/{name}",)
    assert Store(puller.store.path).resolve(f"{hostile.host}/{name}").id == Digest.of(manifest)
    assert puller.pull(name).is_cached
    assert hostile.asked == []


def test_a_layer_that_is_listed_twice_is_fetched_once(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", OTHER, OTHER)
    puller.pull()
    assert len([line for line in hostile.blob_requests() if digest_of(OTHER) in line]) == 1


def test_d1_a_manifest_that_is_not_what_its_digest_says(
    puller: Puller, hostile: HostileRegistry
) -> None:
    manifest = hostile.seed("one", LAYER)
    hostile.tags[digest_of(manifest)] = hostile.seed("two", OTHER)
    error = puller.refused(f"ai/tiny@{digest_of(manifest)}")
    assert error.kind is Kind.INTEGRITY
    assert digest_of(manifest) in error.message
    assert puller.store.list() == []


def test_d1_a_config_that_is_not_what_its_digest_says(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER, config=b'{"config":{}}')
    hostile.blobs[digest_of(b'{"config":{}}')] = b'{"config":[]}'
    error = puller.refused()
    assert error.kind is Kind.INTEGRITY
    assert digest_of(b'{"config":{}}') in error.message
    assert digest_of(b'{"config":[]}') in error.message
    assert not any(digest_of(LAYER) in line for line in hostile.asked)
    assert puller.store.list() == []


def test_d1_a_layer_that_is_not_what_its_digest_says(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER)
    hostile.blobs[digest_of(LAYER)] = wrong = b"x" + LAYER[1:]
    error = puller.refused()
    assert (error.kind, error.row.status) == (Kind.INTEGRITY, 502)
    assert digest_of(LAYER) in error.message and digest_of(wrong) in error.message
    assert len([line for line in hostile.asked if digest_of(LAYER) in line]) == 2
    assert puller.store.list() == []
    assert partials(puller.store) == [".pin"]


def test_d3_a_digest_used_twice_is_hashed_wherever_it_comes_from(
    puller: Puller, hostile: HostileRegistry
) -> None:
    config = b'{"config":{"format":"gguf"}}'
    hostile.seed("one", config, config=config)
    elsewhere = f"http://{hostile.host}/v2/elsewhere/blobs/{digest_of(b'evil')}"
    hostile.blobs[digest_of(b"evil")] = b"e" * len(config)
    asked = []

    def second_is_elsewhere(exchange: Exchange) -> bool:
        if "elsewhere" in exchange.path:
            return False
        asked.append(exchange.path)
        exchange.answer(307, b"", {"Location": elsewhere})
        return True

    hostile.on_blob = second_is_elsewhere
    assert puller.refused().kind is Kind.INTEGRITY
    assert asked != []
    assert stored(puller.store, config) is None
    assert puller.store.list() == []


def cut(exchange: Exchange) -> None:
    """Half of what was asked, then the connection ends."""
    if exchange.start is None:
        exchange.answer(200, exchange.part[:30_000], length=len(exchange.part))
    else:
        span = f"bytes {exchange.start}-{exchange.end - 1}/{len(exchange.data)}"
        body, headers = exchange.part[:10_000], {"Content-Range": span}
        exchange.answer(206, body, headers, length=len(exchange.part))
    exchange.drop()


def other_range(exchange: Exchange) -> None:
    body = exchange.data[100:]
    span = f"bytes 100-{len(exchange.data) - 1}/{len(exchange.data)}"
    exchange.answer(206, body, {"Content-Range": span})


def no_range(exchange: Exchange) -> None:
    exchange.answer(206, exchange.data[100:])


def whole(exchange: Exchange) -> None:
    exchange.answer(200, exchange.data)


def not_satisfiable(exchange: Exchange) -> None:
    exchange.answer(416, b"", {"Content-Range": f"bytes */{len(exchange.data)}"})


def empty_part(exchange: Exchange) -> None:
    span = f"bytes {exchange.start}-{exchange.end - 1}/{len(exchange.data)}"
    exchange.answer(206, b"", {"Content-Range": span})


def empty(exchange: Exchange) -> None:
    exchange.answer(200, b"")


@pytest.mark.parametrize(
    "misbehave", [cut, other_range, no_range, whole, not_satisfiable, empty_part, empty]
)
def test_d4_a_resumed_layer_is_never_put_together_wrongly(
    puller: Puller, hostile: HostileRegistry, misbehave: Callable[[Exchange], None]
) -> None:
    hostile.seed("one", LAYER)
    first = times(1, cut)
    then = times(1, misbehave)
    hostile.on_blob = lambda exchange: first(exchange) or then(exchange)
    puller.pull()
    assert stored(puller.store, LAYER) == LAYER
    assert f" {30_000}-" in "".join(hostile.asked)


def longer(exchange: Exchange) -> None:
    exchange.answer(200, LAYER + b"x")


def endless(exchange: Exchange) -> None:
    exchange.answer_endlessly()


@pytest.mark.parametrize("misbehave", [longer, endless])
def test_d5_more_than_declared_is_refused(
    puller: Puller, hostile: HostileRegistry, misbehave: Callable[[Exchange], None]
) -> None:
    hostile.seed("one", LAYER)
    hostile.on_blob = times(1, misbehave)
    error = puller.refused()
    assert error.kind is Kind.INTEGRITY
    assert f"has {len(LAYER)} bytes by its manifest" in error.message
    assert stored(puller.store, LAYER) is None
    assert puller.store.list() == []


def test_d5_less_than_declared_is_asked_for_again(puller: Puller, hostile: HostileRegistry) -> None:
    hostile.seed("one", LAYER)
    hostile.on_blob = times(3, cut)
    puller.pull()
    assert stored(puller.store, LAYER) == LAYER


def test_d13_a_tag_that_moves_meanwhile_is_told(puller: Puller, hostile: HostileRegistry) -> None:
    manifest = hostile.seed("one", LAYER)

    def move(exchange: Exchange) -> bool:
        hostile.seed("one", OTHER)
        return False

    hostile.on_blob = move
    assert puller.pull().model.id == Digest.of(manifest)
    moved = digest_of(hostile.tags["one"])
    assert puller.notes == [
        f"{hostile.host}/ai/tiny:one was moved to {moved} meanwhile; "
        f"pulled was {digest_of(manifest)}: pull it again"
    ]


def test_d13_a_tag_that_is_deleted_meanwhile_is_told(
    puller: Puller, hostile: HostileRegistry
) -> None:
    manifest = hostile.seed("one", LAYER)

    def delete(exchange: Exchange) -> bool:
        hostile.tags.pop("one", None)
        return False

    hostile.on_blob = delete
    assert puller.pull().model.id == Digest.of(manifest)
    assert puller.notes == [f"{hostile.host}/ai/tiny:one was deleted at the registry meanwhile"]


def test_d13_a_pull_after_a_move_takes_up_the_layers_they_share(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER)
    first = times(1, cut)
    hostile.on_blob = lambda exchange: first(exchange) or refuse(exchange)
    assert puller.refused().kind is Kind.REGISTRY_DENIED
    hostile.seed("one", LAYER, OTHER)
    hostile.on_blob = lambda exchange: False
    puller.pull()
    line = next(line for line in hostile.asked if digest_of(LAYER) in line)
    assert line.endswith(f" {30_000 // BLOCK_BYTES * BLOCK_BYTES}-")


def refuse(exchange: Exchange) -> bool:
    if exchange.data != LAYER:
        return False
    exchange.answer(403, b'{"errors":[{"code":"DENIED","message":"no"}]}')
    return True


def before_first_byte(exchange: Exchange) -> None:
    exchange.stall()


def mid_body(exchange: Exchange) -> None:
    exchange.answer(200, exchange.part[:50_000], length=len(exchange.part))
    exchange.stall()


def last_byte(exchange: Exchange) -> None:
    exchange.answer(200, exchange.part[:-1], length=len(exchange.part))
    exchange.stall()


@pytest.mark.parametrize("stall", [before_first_byte, mid_body, last_byte])
def test_d15_a_server_that_falls_silent_is_asked_again(
    puller: Puller, hostile: HostileRegistry, stall: Callable[[Exchange], None]
) -> None:
    hostile.seed("one", LAYER)
    hostile.on_blob = times(1, stall)
    puller.pull()
    assert stored(puller.store, LAYER) == LAYER


def test_a_registry_that_is_away_does_not_keep_a_stored_model_from_use(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER)
    model = puller.pull().model

    def away(exchange: Exchange) -> bool:
        exchange.drop()
        return True

    hostile.on_manifest = away
    again = puller.pull()
    assert again.is_cached and again.model == model
    assert "is used; is it the latest? the connection to" in puller.notes[0]


def test_what_the_registry_no_longer_has_or_gives_is_an_error(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER)
    puller.pull()
    hostile.tags.clear()
    assert puller.refused().kind is Kind.MODEL_NOT_FOUND


def test_a_damaged_layer_is_repaired_by_a_pull(puller: Puller, hostile: HostileRegistry) -> None:
    hostile.seed("one", LAYER)
    puller.pull()
    path = puller.store.path / "blobs/sha256" / Digest.of(LAYER).hex
    path.write_bytes(LAYER[:100])
    assert not puller.pull().is_cached
    assert path.read_bytes() == LAYER


def test_a_config_that_is_none_is_refused_before_any_layer(
    puller: Puller, hostile: HostileRegistry
) -> None:
    hostile.seed("one", LAYER, config=b"[]")
    assert puller.refused().kind is Kind.INVALID_MODEL
    assert not any(digest_of(LAYER) in line for line in hostile.asked)
    assert puller.store.list() == []


def test_e4_a_removal_meanwhile_loses_nothing(puller: Puller, hostile: HostileRegistry) -> None:
    hostile.seed("one", OTHER)
    puller.pull()
    hostile.seed("two", OTHER, LAYER)

    def remove(exchange: Exchange) -> bool:
        if exchange.data == LAYER and puller.store.list():
            puller.store.remove(f"{hostile.host}/ai/tiny:one")
            puller.store.upkeep.sweep(grace_s=-1.0)
        return False

    hostile.on_blob = remove
    puller.pull("ai/tiny:two")
    assert stored(puller.store, OTHER) == OTHER
    assert [model.tags for model in puller.store.list()] == [(f"{hostile.host}/ai/tiny:two",)]


def test_e5_a_stopped_pull_says_how_to_go_on(puller: Puller, hostile: HostileRegistry) -> None:
    hostile.seed("one", LAYER)
    hostile.on_blob = times(1, mid_body)
    with pytest.raises(RunnerError) as caught:
        puller.pull(cancelled=lambda: any("blobs" in line for line in hostile.asked))
    assert caught.value.kind is Kind.CANCELLED
    assert puller.store.list() == []
    puller.pull()
    assert stored(puller.store, LAYER) == LAYER
