"""Models made of stored models, and models in the other format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Artifact, Descriptor, Manifest, ModelConfig, Reference, Role, media
from runner.store import Store, StoredModel
from runner.store.layout import Layout
from runner.transfer.layers import Format
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import Event, LayerProgress, Note
from tests.support.gguf_maker import STR, make_gguf, tiny_model
from tests.support.models import add_gguf
from tests.unit.store.conftest import WriteModel

NAME = Reference.parse("tiny")
NEW = Reference.parse("new")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What may go with a model."""
    contents = {
        "LICENSE": b"Do what you like.",
        "NOTICE": b"Made by somebody.",
        "a.jinja": b"{{ messages }}",
        "b.jinja": b"{{ messages | length }}",
        "mmproj.gguf": make_gguf({"general.architecture": (STR, "clip")}),
        "style.gguf": tiny_model(b"\5", general__type=(STR, "adapter")),
        "taste.gguf": tiny_model(b"\6", general__type=(STR, "adapter")),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


@pytest.fixture
def base(store: Store, write_model: WriteModel, files: dict[str, Path]) -> StoredModel:
    wanted = {"licenses": [files["LICENSE"]], "chat_template": files["a.jinja"]}
    return add_gguf(store, [write_model()], NAME, **wanted)


def repackage(store: Store, **wanted: Any) -> StoredModel:
    return package(store, PackageRequest(from_model="tiny", **wanted), NEW)


def types(model: StoredModel) -> list[str]:
    return [layer.media_type.rpartition("/")[2] for layer in model.manifest.layers]


def test_another_context_size_shares_every_layer(store: Store, base: StoredModel) -> None:
    blobs = set((store.path / "blobs/sha256").iterdir())
    model = repackage(store, context_size=4096)
    assert model.manifest.layers == base.manifest.layers
    assert (model.config.context_size, base.config.context_size) == (4096, None)
    assert model.id != base.id
    assert model.tags == ("docker.io/ai/new:latest",)
    assert len(set((store.path / "blobs/sha256").iterdir()) - blobs) == 2  # config and manifest
    assert repackage(store, context_size=4096).id == model.id
    assert store.resolve("tiny") == base


def test_nothing_changed_is_the_same_model(store: Store, base: StoredModel) -> None:
    assert repackage(store).id == base.id
    assert store.resolve("new").tags == ("docker.io/ai/tiny:latest", "docker.io/ai/new:latest")


def test_licences_are_added_and_templates_replaced(
    store: Store, base: StoredModel, files: dict[str, Path]
) -> None:
    model = repackage(
        store,
        licenses=[files["NOTICE"]],
        chat_template=files["b.jinja"],
        mmproj=files["mmproj.gguf"],
    )
    assert types(model) == [
        "vnd.docker.ai.gguf.v3",
        "vnd.docker.ai.license",
        "vnd.docker.ai.license",
        "vnd.docker.ai.chat.template.jinja",
        "vnd.docker.ai.mmproj",
    ]
    assert model.manifest.layers[:2] == base.manifest.layers[:2]
    bundle = store.bundle(model)
    assert bundle.chat_template_path is not None and bundle.mmproj_path is not None
    assert bundle.chat_template_path.read_bytes() == b"{{ messages | length }}"
    assert bundle.mmproj_path.samefile(files["mmproj.gguf"])


def test_adapters_are_layers_in_their_order(
    store: Store, base: StoredModel, files: dict[str, Path]
) -> None:
    first = repackage(store, loras=[files["style.gguf"]])
    assert types(first)[-1] == "vnd.runner.lora.v1+gguf"
    second = package(
        store, PackageRequest(from_model="new", loras=[files["taste.gguf"]]), Reference.parse("n2")
    )
    both = repackage(store, loras=[files["style.gguf"], files["taste.gguf"]])
    assert both.id == second.id
    assert [layer.annotations for layer in both.manifest.layers[-2:]] == [
        {"org.cncf.model.filepath": "lora/adapter-1.gguf"},
        {"org.cncf.model.filepath": "lora/adapter-2.gguf"},
    ]
    paths = store.bundle(both).lora_paths
    assert [path.read_bytes() for path in paths] == [
        files["style.gguf"].read_bytes(),
        files["taste.gguf"].read_bytes(),
    ]
    assert store.bundle(base).lora_paths == ()


def test_an_adapter_must_be_one_and_for_this_model(
    store: Store, base: StoredModel, files: dict[str, Path], write_model: WriteModel
) -> None:
    alien = files["style.gguf"].with_name("alien.gguf")
    alien.write_bytes(
        make_gguf({"general.architecture": (STR, "qwen2"), "general.type": (STR, "adapter")})
    )
    for path, words in ((write_model(), "is not a LoRA adapter"), (alien, "for 'qwen2', but")):
        with pytest.raises(RunnerError, match=words) as caught:
            repackage(store, loras=[path])
        assert caught.value.kind is Kind.INVALID_MODEL


def test_modelpack_holds_the_same_files_and_gives_the_same_id_each_time(
    store: Store, base: StoredModel, files: dict[str, Path], tmp_path: Path
) -> None:
    extras = {"mmproj": files["mmproj.gguf"], "loras": [files["style.gguf"]]}
    model = repackage(store, form=Format.CNCF, **extras)
    assert types(model) == [
        "vnd.cncf.model.weight.v1.raw",
        "vnd.cncf.model.doc.v1.raw",
        "vnd.cncf.model.weight.config.v1.raw",
        "vnd.cncf.model.weight.v1.raw",
        "vnd.cncf.model.weight.v1.raw",
    ]
    assert [layer.annotations["org.cncf.model.filepath"] for layer in model.manifest.layers] == [
        "model.gguf",
        "license.txt",
        "template.jinja",
        "model.mmproj",
        "lora/adapter-1.gguf",
    ]
    raw = json.loads(model.manifest.raw)
    assert raw["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    again = package(
        Store(tmp_path / "other"),
        PackageRequest(
            gguf=[tmp_path / "tiny.gguf"],
            licenses=[files["LICENSE"]],
            chat_template=files["a.jinja"],
            form=Format.CNCF,
            **extras,
        ),
        NAME,
    )
    assert again.id == model.id
    bundle = store.bundle(model)
    assert bundle.chat_template_path and bundle.mmproj_path and len(bundle.lora_paths) == 1


def test_a_modelpack_tells_all_that_its_weights_tell(store: Store, base: StoredModel) -> None:
    model = repackage(store, form=Format.CNCF)
    assert model.config.shown() == base.config.shown()
    stored = ModelConfig.parse(
        (store.path / "blobs/sha256" / model.manifest.config.digest.hex).read_bytes()
    )
    assert (stored.size, stored.gguf) == ("", {})


def test_a_modelpack_becomes_dockers_again(store: Store, base: StoredModel) -> None:
    repackage(store, form=Format.CNCF)
    back = package(
        store, PackageRequest(from_model="new", form=Format.DOCKER), Reference.parse("back")
    )
    assert [layer.digest for layer in back.manifest.layers] == [
        layer.digest for layer in base.manifest.layers
    ]
    assert types(back) == types(base)
    assert back.config == base.config
    # A context size has no place in ModelPack, so who asks for one gets Docker's.
    sized = package(store, PackageRequest(from_model="new", context_size=64), NAME)
    assert sized.manifest.config.media_type == media.CONFIG_V01
    assert sized.config.context_size == 64


def test_a_context_size_that_modelpack_cannot_hold_is_told(store: Store, base: StoredModel) -> None:
    with pytest.raises(RunnerError, match="no place for a context size") as caught:
        repackage(store, form=Format.CNCF, context_size=64)
    assert (caught.value.kind, caught.value.param) == (Kind.USAGE, "context_size")
    package(store, PackageRequest(from_model="tiny", context_size=64), NAME)
    heard: list[Event] = []
    wanted = PackageRequest(from_model="tiny", form=Format.CNCF)
    package(store, wanted, NEW, listen=heard.append)
    (note,) = heard
    assert isinstance(note, Note) and note.is_warning and "context size" in note.message


def test_ollamas_model_is_read_and_becomes_dockers(
    store: Store, layout: Layout, write_model: WriteModel
) -> None:
    weights = add_gguf(store, [write_model()], NAME).manifest.layers[0]
    inbox = store.inbox
    layers = [
        Descriptor(media.OLLAMA_MODEL, weights.digest, weights.size_bytes),
        inbox.add_document("application/vnd.ollama.image.template", b"{{ .Prompt }}"),
        inbox.add_document(media.OLLAMA_LICENSE, b"Do what you like."),
    ]
    config = inbox.add_document(
        media.CONFIG_CONTAINER,
        b'{"model_format":"gguf","model_family":"llama","model_type":"1.2K","file_type":"F32"}',
    )
    value = json.loads(Manifest.build(config, layers).raw)
    value["mediaType"] = media.MANIFEST_DOCKER
    manifest = Manifest.parse(json.dumps(value).encode())
    model = store.publish(manifest, Reference.parse("registry.ollama.ai/library/tiny"))
    assert model is not None
    assert model.config.shown() | {"gguf": None} == {
        "format": "gguf",
        "quantization": "F32",
        "parameters": "1.2K",
        "architecture": "llama",
        "size": "2.38KiB",
        "gguf": None,
    }
    bundle = store.bundle(model)
    assert bundle.gguf_path.samefile(layout.blob(weights.digest))
    assert bundle.chat_template_path is None
    assert model in Store(store.path).list()
    wanted = PackageRequest(from_model="registry.ollama.ai/library/tiny")
    docker = package(store, wanted, NEW)
    assert [file.role for file in Artifact.of(docker.manifest).files] == [
        Role.GGUF,
        Role.OTHER,
        Role.LICENSE,
    ]
    assert docker.manifest.layers[0].media_type == media.GGUF


def test_a_model_of_a_shared_store_is_brought_over(
    store: Store, base: StoredModel, tmp_path: Path
) -> None:
    ours = Store(tmp_path / "ours", shared=[store.path])
    heard: list[Event] = []
    wanted = PackageRequest(from_model="tiny", context_size=64)
    model = package(ours, wanted, NEW, listen=heard.append)
    assert (model.id, model.shared_from) == (package(store, wanted, NEW).id, None)
    sizes = [layer.size_bytes for layer in base.manifest.layers]
    assert [event.size_bytes for event in heard if isinstance(event, LayerProgress)] == sizes
    assert Store(ours.path).bundle(model).gguf_path.read_bytes() == tiny_model()


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"gguf": [Path("a.gguf")], "from_model": "tiny"},
        {"safetensors_dir": Path("x"), "from_model": "tiny"},
        {"gguf": [Path("a.gguf")], "safetensors_dir": Path("x")},
    ],
)
def test_a_model_has_one_source(store: Store, wanted: dict[str, Any]) -> None:
    with pytest.raises(RunnerError, match="is made of one source") as caught:
        package(store, PackageRequest(**wanted), NEW)
    assert caught.value.kind is Kind.USAGE


def test_a_model_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(RunnerError) as caught:
        repackage(store, context_size=64)
    assert caught.value.kind is Kind.MODEL_NOT_FOUND
