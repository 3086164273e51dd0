from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference, media
from runner.registry.hub_reference import HubReference
from runner.registry.huggingface import HuggingFace
from runner.registry.network import Network
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.hub import pull_hub
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import Event, LayerProgress, Note, Planned
from runner.transfer.pull import Pulled
from tests.support.gguf_maker import STR, Tensor, make_gguf, tiny_fields, tiny_model, tiny_shards
from tests.support.http_stand_in import Answer
from tests.support.hub_stand_in import HubStandIn

MODEL = tiny_model()
PROJECTOR = make_gguf({"general.architecture": (STR, "clip")}, [Tensor("v.weight")])
FILES = {"m-Q4_K_M.gguf": MODEL, "m-Q8_0.gguf": tiny_model(b"\2"), "LICENSE": b"MIT"}
NAME = "hf.co/Org/Repo"


def large_model(size_bytes: int = 3 * 2**20) -> bytes:
    data = random.Random(7).randbytes(size_bytes)
    return make_gguf(
        tiny_fields(), [Tensor("token_embd.weight", (32, size_bytes // 128), data=data)]
    )


class Puller:
    """A store and a client of the stand-in, and what the last pull told."""

    def __init__(self, store: Store, hub: HuggingFace) -> None:
        self.store = store
        self.hub = hub
        self.events: list[Event] = []

    def pull(
        self,
        name: str = NAME,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        bearer_token: str | None = None,
    ) -> Pulled:
        self.events = []
        return pull_hub(
            self.store,
            self.hub,
            HubReference.parse(name),
            listen=self.events.append,
            cancelled=cancelled,
            bearer_token=bearer_token,
        )

    def refusal(self, name: str = NAME) -> RunnerError:
        with pytest.raises(RunnerError) as caught:
            self.pull(name)
        return caught.value

    @property
    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]

    def layer(self, media_type: str, model: Pulled) -> bytes:
        (blob,) = (b for b in model.model.manifest.layers if b.media_type == media_type)
        return (self.store.path / "blobs" / "sha256" / blob.digest.hex).read_bytes()


@pytest.fixture
def make_puller(tmp_path: Path, hub: HubStandIn) -> Iterator[Callable[..., Puller]]:
    made = []

    def make(folder: str = "models", token: str | None = None) -> Puller:
        network = Network(hf_endpoint=hub.url, hf_token=token, stall_s=5)
        made.append(Transport(network, sleep=lambda _: None))
        return Puller(Store(tmp_path / folder), HuggingFace(made[-1]))

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def puller(make_puller: Callable[..., Puller]) -> Puller:
    return make_puller()


def tree(model: Pulled) -> list[tuple[str, Mapping[str, str]]]:
    return [(blob.media_type, blob.annotations) for blob in model.model.manifest.layers]


def test_the_default_quantisation_is_taken_told_and_tagged(hub: HubStandIn, puller: Puller) -> None:
    hub.add("Org/Repo", FILES)
    pulled = puller.pull()
    assert pulled.model.tags == ("huggingface.co/org/repo:latest",)
    assert (pulled.is_cached, pulled.received_bytes) == (False, len(MODEL))
    assert puller.notes == ["taking Q4_K_M (2.38KiB), the default of 2 quantisations"]
    assert tree(pulled) == [
        (media.GGUF, {media.FILE_PATH: "model.gguf"}),
        (media.LICENSE, {}),
    ]
    assert pulled.model.config.architecture == "llama"
    assert puller.store.bundle(pulled.model).gguf_path.read_bytes() == MODEL


def test_a_quantisation_is_named_by_the_tag(hub: HubStandIn, puller: Puller) -> None:
    hub.add("Org/Repo", FILES)
    pulled = puller.pull(f"{NAME}:q8_0")
    assert pulled.model.tags == ("huggingface.co/org/repo:q8_0",)
    assert puller.layer(media.GGUF, pulled) == FILES["m-Q8_0.gguf"]


def test_one_that_is_not_there_is_refused_and_nothing_is_fetched(
    hub: HubStandIn, puller: Puller
) -> None:
    hub.add("Org/Repo", FILES)
    error = puller.refusal(f"{NAME}:Q3_K_S")
    assert error.kind is Kind.MODEL_NOT_FOUND
    assert error.hint == "write hf.co/Org/Repo:Q4_K_M"
    assert hub.cdn_requests == []


def test_the_same_revision_gives_the_same_id_anywhere_and_as_packaging_does(
    hub: HubStandIn, make_puller: Callable[..., Puller], tmp_path: Path
) -> None:
    hub.add("Org/Repo", FILES)
    first, second = make_puller("one").pull(), make_puller("two").pull()
    assert first.model.id == second.model.id
    (tmp_path / "weights.gguf").write_bytes(MODEL)
    (tmp_path / "terms").write_bytes(b"MIT")
    wanted = PackageRequest(gguf=[tmp_path / "weights.gguf"], licenses=[tmp_path / "terms"])
    packaged = package(Store(tmp_path / "three"), wanted, Reference.parse("mine"))
    assert packaged.id == first.model.id


def test_what_is_there_is_not_fetched_again(hub: HubStandIn, puller: Puller) -> None:
    hub.add("Org/Repo", FILES)
    first = puller.pull()
    hub.cdn_requests.clear()
    again = puller.pull(f"{NAME}:Q4_K_M")
    assert (again.is_cached, again.received_bytes) == (True, 0)
    assert again.model.id == first.model.id
    assert again.model.tags == ("huggingface.co/org/repo:latest", "huggingface.co/org/repo:Q4_K_M")
    assert hub.cdn_requests == []


def test_a_new_commit_brings_a_new_model_under_the_name(hub: HubStandIn, puller: Puller) -> None:
    repository = hub.add("Org/Repo", FILES)
    old = puller.pull()
    commit = repository.branches["main"]
    repository.commit({"m-Q4_K_M.gguf": tiny_model(b"\3")})
    new = puller.pull()
    assert new.model.id != old.model.id
    assert puller.store.resolve(NAME).id == new.model.id
    pinned = puller.pull(f"{NAME}@{commit}").model
    assert pinned.id == old.model.id
    assert pinned.tags == (f"huggingface.co/org/repo:latest-at-{commit}",)
    assert puller.store.resolve(f"{NAME}@{commit}").id == old.model.id
    assert puller.store.resolve(NAME).id == new.model.id


def test_a_commit_that_is_stored_is_not_asked_for(hub: HubStandIn, puller: Puller) -> None:
    commit = hub.add("Org/Repo", FILES).branches["main"]
    first = puller.pull(f"{NAME}@{commit}")
    hub.requests.clear()
    assert puller.pull(f"{NAME}@{commit}") == Pulled(first.model, is_cached=True)
    assert hub.requests == []


def test_shards_in_a_folder_with_projector_and_template(hub: HubStandIn, puller: Puller) -> None:
    shards = tiny_shards(3)
    files = {
        f"Q4_K_M/m-Q4_K_M-{number:05d}-of-00003.gguf": data
        for number, data in enumerate(shards, start=1)
    }
    extras = {"mmproj-F16.gguf": PROJECTOR, "chat_template.jinja": b"{{ messages }}"}
    hub.add("Org/Repo", files | extras | {"tokenizer_config.json": b"{}"})
    pulled = puller.pull()
    assert tree(pulled) == [
        (media.GGUF, {media.FILE_PATH: "model-00001-of-00003.gguf"}),
        (media.GGUF, {media.FILE_PATH: "model-00002-of-00003.gguf"}),
        (media.GGUF, {media.FILE_PATH: "model-00003-of-00003.gguf"}),
        (media.CHAT_TEMPLATE, {}),
        (media.MMPROJ, {media.FILE_PATH: "model.mmproj"}),
    ]
    bundle = puller.store.bundle(pulled.model)
    assert bundle.gguf_path.read_bytes() == shards[0]
    assert bundle.mmproj_path is not None
    assert bundle.chat_template_path is not None


def test_progress_is_planned_and_told(hub: HubStandIn, puller: Puller) -> None:
    hub.add("Org/Repo", FILES)
    pulled = puller.pull()
    digest = pulled.model.manifest.layers[0].digest
    layers = [event for event in puller.events if isinstance(event, LayerProgress)]
    (planned,) = (event for event in puller.events if isinstance(event, Planned))
    assert planned.layers == (LayerProgress(digest, len(MODEL), 0),)
    assert layers[-1] == LayerProgress(digest, len(MODEL), len(MODEL))
    puller.pull()
    (planned,) = (event for event in puller.events if isinstance(event, Planned))
    assert planned.layers == (LayerProgress(digest, len(MODEL), len(MODEL), is_present=True),)


def test_d5_a_connection_that_breaks_is_taken_up_where_it_stopped(
    hub: HubStandIn, puller: Puller
) -> None:
    data = large_model()
    hub.add("Org/Repo", {"m-Q4_K_M.gguf": data})
    hub.cuts += [2 * 2**20 + 1000, 1000]
    pulled = puller.pull()
    assert puller.layer(media.GGUF, pulled) == data
    starts = [seen.headers.get("range", "") for seen in hub.cdn_requests]
    assert starts == ["", "bytes=2098152-", "bytes=2099152-"]


def test_a_pull_that_was_stopped_is_resumed(hub: HubStandIn, puller: Puller) -> None:
    data = large_model()
    hub.add("Org/Repo", {"m-Q4_K_M.gguf": data})
    hub.cuts += [2 * 2**20 + 1000]
    answers: list[bool] = []

    def cancelled() -> bool:
        answers.append(bool(hub.cuts == [] and hub.cdn_requests))
        return answers[-1]

    with pytest.raises(RunnerError) as caught:
        puller.pull(cancelled=cancelled)
    assert caught.value.kind is Kind.CANCELLED
    pulled = puller.pull()
    assert puller.layer(media.GGUF, pulled) == data
    assert pulled.received_bytes < len(data)
    (planned,) = (event for event in puller.events if isinstance(event, Planned))
    assert planned.layers[0].resumed_bytes > 0


def test_d1_a_spoiled_file_is_fetched_once_more(hub: HubStandIn, puller: Puller) -> None:
    hub.add("Org/Repo", FILES)
    hub.spoiled = 1
    pulled = puller.pull()
    assert puller.layer(media.GGUF, pulled) == MODEL
    assert pulled.received_bytes == 2 * len(MODEL)


def test_d1_one_that_stays_spoiled_is_refused_and_gets_no_name(
    hub: HubStandIn, puller: Puller
) -> None:
    hub.add("Org/Repo", FILES)
    hub.spoiled = 99
    assert puller.refusal().kind is Kind.INTEGRITY
    assert puller.store.list() == []


def test_d1_a_small_file_with_other_bytes_than_git_knows_is_refused(
    hub: HubStandIn, puller: Puller
) -> None:
    hub.add("Org/Repo", FILES)
    hub.altered["LICENSE"] = b"BSD"
    error = puller.refusal()
    assert error.kind is Kind.INTEGRITY
    assert error.message == "LICENSE of hf.co/Org/Repo arrived with other bytes than its commit has"
    assert hub.cdn_requests == []


def test_d4_a_host_that_ignores_ranges(hub: HubStandIn, puller: Puller) -> None:
    data = large_model()
    hub.add("Org/Repo", {"m-Q4_K_M.gguf": data})
    hub.ignores_ranges = True
    hub.cuts += [2**20 + 5]
    assert puller.layer(media.GGUF, puller.pull()) == data


def test_a_gate_is_met_before_anything_large_moves(
    hub: HubStandIn, make_puller: Callable[..., Puller]
) -> None:
    hub.add("Org/Gated", FILES, is_gated=True)
    hub.tokens["hf_in"] = {"Org/Gated"}
    error = make_puller().refusal("hf.co/Org/Gated")
    assert error.kind is Kind.REGISTRY_DENIED
    assert error.hint == "accept them at https://huggingface.co/Org/Gated; set HF_TOKEN"
    assert hub.cdn_requests == []
    assert make_puller("with", "hf_in").pull("hf.co/Org/Gated").received_bytes == len(MODEL)
    theirs = make_puller("theirs").pull("hf.co/Org/Gated", bearer_token="hf_in")
    assert theirs.received_bytes == len(MODEL)


def test_a_gate_is_told_at_once_where_there_are_large_files_only(
    hub: HubStandIn, puller: Puller
) -> None:
    hub.add("Org/Gated", {"m-Q4_K_M.gguf": MODEL}, is_gated=True)
    assert puller.refusal("hf.co/Org/Gated").kind is Kind.REGISTRY_DENIED
    assert len(hub.requests) == 3  # the commit, its files, the refusal


def test_the_stored_model_serves_when_the_hub_cannot_be_reached(
    hub: HubStandIn, puller: Puller
) -> None:
    repository = hub.add("Org/Repo", FILES)
    first = puller.pull()
    hub.failures.append(Answer(503))
    again = puller.pull()
    assert (again.model.id, again.is_cached) == (first.model.id, True)
    assert puller.notes == [
        "the stored hf.co/Org/Repo is used; is it the latest? Hugging Face answered 503 "
        "(try again later; https://status.huggingface.co tells of outages)"
    ]
    hub.failures += [Answer(503)] * 9
    error = puller.refusal(f"{NAME}@{repository.branches['main']}")
    assert error.kind is Kind.REGISTRY_UNAVAILABLE


def test_a_repository_that_was_renamed_is_told(hub: HubStandIn, puller: Puller) -> None:
    hub.add("New/Name", FILES)
    hub.renamed["org/repo"] = "New/Name"
    assert puller.pull().model.tags == ("huggingface.co/org/repo:latest",)
    assert puller.notes[0] == "hf.co/Org/Repo is called New/Name today"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF", "m-Q4_K_M.gguf: "),
        (tiny_model(general__type=(STR, "adapter")), "m-Q4_K_M.gguf is a LoRA adapter"),
        (tiny_shards(2)[0], "invalid sharded model"),
    ],
)
def test_what_is_no_model_is_refused_by_its_name(
    hub: HubStandIn, puller: Puller, data: bytes, message: str
) -> None:
    hub.add("Org/Repo", {"m-Q4_K_M.gguf": data})
    error = puller.refusal()
    assert error.kind is Kind.INVALID_MODEL
    assert error.message.startswith(message)
    assert puller.store.list() == []


def test_weights_outside_lfs_are_taken_when_they_are_small(hub: HubStandIn, puller: Puller) -> None:
    hub.add("Org/Repo", FILES)
    hub.lfs_endings = ()
    pulled = puller.pull()
    assert puller.layer(media.GGUF, pulled) == MODEL
    assert hub.cdn_requests == []
