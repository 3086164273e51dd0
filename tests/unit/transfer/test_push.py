from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference, media
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store, StoredModel
from runner.transfer.layers import Format
from runner.transfer.progress import Event, LayerProgress, Note, Planned
from runner.transfer.pull import pull
from runner.transfer.push import Pushed, plan_push, push
from tests.support.gguf_maker import STR, Tensor, make_gguf, tiny_model
from tests.support.models import add_gguf
from tests.support.registries import (
    MANIFEST,
    PASSWORD,
    USER,
    RunningRegistry,
    put_blob,
    put_manifest,
)
from tests.support.throttle import Line, throttled
from tests.support.upload_registry import Reply, UploadRegistry, serving

Add = Callable[..., StoredModel]
PROJECTOR = make_gguf(
    {"general.architecture": (STR, "clip")},
    [Tensor("v.weight", (500_000,), data=os.urandom(2_000_000))],
)


@pytest.fixture
def add(store: Store, tmp_path: Path) -> Add:
    """Store a model with a small layer and one of 2 MB; another filling is another small layer."""

    def add(name: str, filling: bytes = b"\1") -> StoredModel:
        weights, projector = tmp_path / f"{filling.hex()}.gguf", tmp_path / "projector.gguf"
        weights.write_bytes(tiny_model(filling))
        projector.write_bytes(PROJECTOR)
        return add_gguf(store, [weights], Reference.parse(name), mmproj=projector)

    return add


@pytest.fixture
def registry() -> Iterator[Registry]:
    network = Network()
    transport = Transport(network)
    yield Registry(network, transport)
    transport.close()


class Heard:
    """What a push told, and whether it is to stop."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_cancelled = False

    def listen(self, event: Event) -> None:
        self.events.append(event)

    @property
    def layers(self) -> list[LayerProgress]:
        return [event for event in self.events if isinstance(event, LayerProgress)]

    @property
    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def send(store: Store, registry: Registry, model: StoredModel, name: str, heard: Heard) -> Pushed:
    return push(
        store,
        registry,
        model,
        Reference.parse(name),
        listen=heard.listen,
        cancelled=lambda: heard.is_cancelled,
    )


def served(url: str, repository: str, tag: str) -> requests.Response:
    headers = {"Accept": MANIFEST}
    return requests.get(f"{url}/v2/{repository}/manifests/{tag}", headers=headers, timeout=20)


def blobs_of(model: StoredModel) -> int:
    return sum(blob.size_bytes for blob in model.manifest.blobs)


def test_a_model_is_pushed_whole(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    done = send(store, registry, model, f"{open_registry.host}/team/tiny:v1", heard)
    assert done == Pushed(model.id, sent_bytes=blobs_of(model))
    answer = served(open_registry.url, "team/tiny", "v1")
    assert answer.content == model.manifest.raw
    for blob in model.manifest.blobs:
        url = f"{open_registry.url}/v2/team/tiny/blobs/{blob.digest}"
        assert blob.digest.matches(requests.get(url, timeout=20).content)


def test_progress_begins_with_the_plan_and_ends_with_all_bytes(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    send(store, registry, model, f"{open_registry.host}/team/tiny:v1", heard)
    layers = tuple(LayerProgress(b.digest, b.size_bytes, 0) for b in model.manifest.layers)
    assert heard.events[0] == Planned(layers)
    for layer in layers:
        told = [event.done_bytes for event in heard.layers if event.digest == layer.digest]
        assert told == sorted(told)
        assert told[-1] == layer.size_bytes
    assert not any(event.is_present for event in heard.layers)


def test_a_push_again_sends_nothing(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    name = f"{open_registry.host}/team/tiny:v1"
    send(store, registry, model, name, Heard())
    assert send(store, registry, model, name, heard) == Pushed(
        model.id, present_bytes=blobs_of(model)
    )
    assert [event.is_present for event in heard.layers] == [True, True]


def test_what_two_models_share_is_sent_once(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    send(store, registry, add("one"), f"{open_registry.host}/team/tiny:one", Heard())
    two = add("two", b"\2")
    done = send(store, registry, two, f"{open_registry.host}/team/tiny:two", heard)
    assert (done.present_bytes, done.mounted_bytes) == (len(PROJECTOR), 0)
    assert done.sent_bytes == blobs_of(two) - len(PROJECTOR)


def test_layers_of_a_neighbour_are_mounted(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    one = add(f"{open_registry.host}/team/one:v1")
    send(store, registry, one, f"{open_registry.host}/team/one:v1", Heard())
    done = send(store, registry, one, f"{open_registry.host}/team/two:v1", heard)
    assert done == Pushed(one.id, mounted_bytes=blobs_of(one))
    assert served(open_registry.url, "team/two", "v1").content == one.manifest.raw


def test_docker_hubs_own_names_are_explained(
    store: Store, add: Add, heard: Heard, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(UploadRegistry()) as hub:
        hub.reply("HEAD", Reply(404), Reply(404), Reply(404))
        hub.reply("POST", Reply(401), Reply(401), Reply(401))
        monkeypatch.setattr("runner.registry.endpoint.DOCKER_HUB_URL", f"http://{hub.host}")
        with pytest.raises(RunnerError) as caught:
            send(store, registry, add("tiny"), "tiny", heard)
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert caught.value.hint == (
        "docker.io/ai/ is Docker's own: name the model as yours "
        "(runner tag tiny YOU/tiny), and log in"
    )


def test_a_push_by_digest_names_what_it_is(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    send(store, registry, model, f"{open_registry.host}/team/tiny@{model.id}", heard)
    assert served(open_registry.url, "team/tiny", str(model.id)).content == model.manifest.raw
    assert served(open_registry.url, "team/tiny", "latest").status_code == 404


def test_another_digest_than_the_models_is_refused(
    store: Store, add: Add, registry: Registry, heard: Heard
) -> None:
    with pytest.raises(RunnerError) as caught:
        send(store, registry, add("tiny"), f"127.0.0.1:9/t/m@{Digest.of(b'other')}", heard)
    assert caught.value.kind is Kind.INVALID_REFERENCE


def test_hugging_face_takes_no_pushes(
    store: Store, add: Add, registry: Registry, heard: Heard
) -> None:
    with pytest.raises(RunnerError) as caught:
        send(store, registry, add("tiny"), "hf.co/org/model", heard)
    assert caught.value.kind is Kind.INVALID_REFERENCE
    assert "runner tag" in (caught.value.hint or "")


def test_a_token_that_ends_during_a_push_is_renewed(
    store: Store,
    add: Add,
    token_registry: RunningRegistry,
    tmp_path: Path,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = token_registry.tokens
    assert tokens is not None
    grant, lifetimes = tokens.grant, iter([-59])  # a minute is forgiven: it is good for a second

    def grant_a_short_one_first(query: dict[str, list[str]], user: str | None) -> dict[str, Any]:
        tokens.lifetime_s = next(lifetimes, 300)
        return grant(query, user)

    monkeypatch.setattr(tokens, "grant", grant_a_short_one_first)
    model = add("tiny")
    with throttled(token_registry.port, Line(bytes_per_s=1e6)) as line:
        name = f"127.0.0.1:{line.port}/team/tiny:v1"
        network = logged_in(tmp_path, f"127.0.0.1:{line.port}")
        transport = Transport(network)
        done = send(store, Registry(network, transport), model, name, heard)
        transport.close()
    assert done.sent_bytes == blobs_of(model)
    assert len(tokens.requests) >= 2


def test_a_login_is_used_and_its_lack_is_told(
    store: Store, add: Add, token_registry: RunningRegistry, tmp_path: Path, heard: Heard
) -> None:
    model = add(f"{token_registry.host}/team/other:v1")
    name = f"{token_registry.host}/team/tiny:v1"
    transport = Transport(Network())
    with pytest.raises(RunnerError) as caught:
        send(store, Registry(Network(), transport), model, name, heard)
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert served(token_registry.url, "team/tiny", "v1").status_code == 401
    transport.close()

    network = logged_in(tmp_path, token_registry.host)
    transport = Transport(network)
    done = send(store, Registry(network, transport), model, name, heard)
    assert done == Pushed(model.id, sent_bytes=blobs_of(model))
    again = send(
        store, Registry(network, transport), model, f"{token_registry.host}/team/b:v1", heard
    )
    assert again.sent_bytes == blobs_of(model)  # team/other is only a name of ours
    transport.close()


def logged_in(folder: Path, host: str) -> Network:
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = folder / "config.json"
    config.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return Network(docker_config=config)


def test_a_line_that_breaks_delays_a_push(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    with throttled(open_registry.port) as line:
        line.cut_after(300_000, 1_500_000, 3_000_000)
        done = send(store, registry, model, f"127.0.0.1:{line.port}/team/tiny:v1", heard)
    assert done.sent_bytes == blobs_of(model)
    assert len([note for note in heard.notes if "going on from byte" in note]) == 3
    assert served(open_registry.url, "team/tiny", "v1").content == model.manifest.raw


def test_a_registry_that_restarts_delays_a_push(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    restarts = iter([True])

    def restart(event: Event) -> None:
        heard.listen(event)
        is_half_way = isinstance(event, LayerProgress) and event.done_bytes > 1_000_000
        if is_half_way and next(restarts, False):
            open_registry.stop()
            open_registry.start()

    done = push(
        store,
        registry,
        model,
        Reference.parse(f"{open_registry.host}/team/tiny:v1"),
        listen=restart,
        cancelled=lambda: False,
    )
    assert done.sent_bytes == blobs_of(model)
    assert served(open_registry.url, "team/tiny", "v1").content == model.manifest.raw


def test_a_push_that_is_cancelled_stops_and_names_nothing(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")

    def stop_half_way(event: Event) -> None:
        heard.listen(event)
        if isinstance(event, LayerProgress) and event.done_bytes > 500_000:
            heard.is_cancelled = True

    with pytest.raises(RunnerError) as caught:
        push(
            store,
            registry,
            model,
            Reference.parse(f"{open_registry.host}/team/tiny:v1"),
            listen=stop_half_way,
            cancelled=lambda: heard.is_cancelled,
        )
    assert caught.value.kind is Kind.CANCELLED
    assert max(event.done_bytes for event in heard.layers) < len(PROJECTOR)
    assert served(open_registry.url, "team/tiny", "v1").status_code == 404


def test_one_layer_that_fails_ends_the_push_with_its_reason(
    store: Store, add: Add, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    model = add("tiny")
    weights = model.manifest.layers[0]
    path = store.path / "blobs/sha256" / weights.digest.hex
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes(len(content)))
    with pytest.raises(RunnerError) as caught:
        send(store, registry, model, f"{open_registry.host}/team/tiny:v1", heard)
    assert caught.value.kind is Kind.INTEGRITY
    assert str(weights.digest) in caught.value.message
    assert served(open_registry.url, "team/tiny", "v1").status_code == 404


def test_neighbours_are_repositories_our_names_lead_to(store: Store, add: Add) -> None:
    model = add("r.example/team/one:v1")
    store.tag(model, Reference.parse("r.example/team/target:v0"))
    store.tag(model, Reference.parse("other.example/team/elsewhere:v1"))
    shares_projector = add("r.example/team/two:v1", b"\2")
    model = store.resolve(str(model.id))
    plan = plan_push(model, [model, shares_projector], Reference.parse("r.example/team/target:v1"))
    weights, projector = model.manifest.layers
    assert plan.sources == {
        weights.digest: ("team/one",),
        projector.digest: ("team/one", "team/two"),
        model.manifest.config.digest: ("team/one",),
    }
    assert (plan.name, plan.layers, plan.config) == (
        "v1",
        model.manifest.layers,
        model.manifest.config,
    )


@pytest.mark.parametrize("form", list(Format))
def test_either_format_of_ours_is_pushed_as_it_is(
    form: Format, store: Store, registry: Registry, open_registry: RunningRegistry, tmp_path: Path
) -> None:
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(tiny_model())
    model = add_gguf(store, [weights], Reference.parse("tiny"), form=form)
    send(store, registry, model, f"{open_registry.host}/team/tiny:v1", Heard())
    assert served(open_registry.url, "team/tiny", "v1").content == model.manifest.raw


def test_a_model_of_ollama_keeps_its_own_media_types(
    store: Store, registry: Registry, open_registry: RunningRegistry, heard: Heard
) -> None:
    config, weights = b'{"model_format":"gguf"}', tiny_model()
    blobs = [(media.CONFIG_CONTAINER, config), (media.OLLAMA_MODEL, weights)]
    for _, data in blobs:
        put_blob(open_registry.url, "library/tiny", data)
    first, second = (
        {"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data)}
        for kind, data in blobs
    )
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST_DOCKER,
            "config": first,
            "layers": [second],
        }
    ).encode()
    put_manifest(open_registry.url, "library/tiny", "v1", raw, media.MANIFEST_DOCKER)
    source = Reference.parse(f"{open_registry.host}/library/tiny:v1")
    model = pull(store, registry, source, listen=heard.listen, cancelled=lambda: False).model
    done = send(store, registry, model, f"{open_registry.host}/team/tiny:v1", heard)
    assert done.mounted_bytes == len(config) + len(weights)
    headers = {"Accept": media.MANIFEST_DOCKER}
    answer = requests.get(
        f"{open_registry.url}/v2/team/tiny/manifests/v1", headers=headers, timeout=20
    )
    assert (answer.content, answer.headers["Content-Type"]) == (raw, media.MANIFEST_DOCKER)


def test_a_push_that_is_refused_tells_of_no_progress(
    store: Store,
    add: Add,
    registry: Registry,
    basic_registry: RunningRegistry,
    token_registry: RunningRegistry,
    heard: Heard,
) -> None:
    for host in (basic_registry.host, token_registry.host):
        with pytest.raises(RunnerError) as caught:
            send(store, registry, add("tiny"), f"{host}/team/tiny:v1", heard)
        assert caught.value.kind is Kind.REGISTRY_DENIED
    assert heard.events == []  # so that the answer of the daemon still can be a 401
