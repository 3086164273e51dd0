from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.gguf import render_shard_name
from runner.oci import Digest, Manifest, Reference, media
from runner.store import Store, StoredModel
from runner.store.layout import Layout
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import Event, LayerProgress, Planned
from tests.support.gguf_maker import STR, make_gguf, tiny_fields, tiny_model, tiny_shards
from tests.support.models import add_gguf
from tests.unit.store.conftest import WriteModel

NAME = Reference.parse("tiny")


def test_an_artifact_is_a_docker_model(store: Store, write_model: WriteModel) -> None:
    path = write_model()
    model = add_gguf(store, [path], NAME)
    assert model.tags == ("docker.io/ai/tiny:latest",)
    assert model.size_bytes == path.stat().st_size
    assert model.id == model.manifest.digest
    assert model.manifest.config.media_type == media.CONFIG_V01
    (layer,) = model.manifest.layers
    assert layer.media_type == "application/vnd.docker.ai.gguf.v3"
    assert layer.annotations == {"org.cncf.model.filepath": "model.gguf"}
    assert model.config.shown() == {
        "format": "gguf",
        "quantization": "F32",
        "parameters": "1.25K",
        "architecture": "llama",
        "size": "2.38KiB",
        "gguf": model.config.gguf,
    }
    assert model.config.gguf["llama.context_length"] == "128"
    assert abs(model.created_s - path.stat().st_ctime) < 60


def test_the_same_bytes_give_the_same_model(tmp_path: Path, write_model: WriteModel) -> None:
    first, second = write_model("a.gguf"), write_model("b.gguf")
    os.utime(second, ns=(0, 0))
    second.chmod(0o666)
    ids = {
        add_gguf(Store(tmp_path / f"store-{number}"), [path], Reference.parse(name)).id
        for number, (path, name) in enumerate([(first, "x"), (first, "y"), (second, "x")])
    }
    assert len(ids) == 1


def test_extras_are_layers_of_their_own(
    store: Store, write_model: WriteModel, tmp_path: Path
) -> None:
    license_, template, mmproj = (tmp_path / name for name in ("LICENSE", "t.jinja", "p.gguf"))
    license_.write_text("Do what you like.")
    template.write_text("{{ messages }}")
    mmproj.write_bytes(make_gguf({"general.architecture": (STR, "clip")}))
    model = add_gguf(
        store,
        [write_model()],
        NAME,
        licenses=[license_, license_],
        chat_template=template,
        mmproj=mmproj,
        context_size=4096,
    )
    assert [layer.media_type for layer in model.manifest.layers] == [
        "application/vnd.docker.ai.gguf.v3",
        "application/vnd.docker.ai.license",
        "application/vnd.docker.ai.license",
        "application/vnd.docker.ai.chat.template.jinja",
        "application/vnd.docker.ai.mmproj",
    ]
    assert model.config.context_size == 4096
    bundle = store.bundle(model)
    assert bundle.chat_template_path is not None
    assert bundle.mmproj_path is not None
    assert bundle.chat_template_path.read_text() == "{{ messages }}"
    assert bundle.mmproj_path.samefile(mmproj)


def write_shards(folder: Path, count: int = 3) -> list[Path]:
    paths = []
    for index, part in enumerate(tiny_shards(count), start=1):
        paths.append(folder / render_shard_name("big", index, count))
        paths[-1].write_bytes(part)
    return paths


def test_one_shard_stands_for_all(store: Store, tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    model = add_gguf(store, [paths[1]], NAME)
    assert model == add_gguf(store, list(reversed(paths)), NAME)
    assert model.config.parameters == "96"
    assert [layer.annotations["org.cncf.model.filepath"] for layer in model.manifest.layers] == [
        "model-00001-of-00003.gguf",
        "model-00002-of-00003.gguf",
        "model-00003-of-00003.gguf",
    ]
    first = store.bundle(model).gguf_path
    assert first.name == "model-00001-of-00003.gguf"
    assert sorted(path.read_bytes() for path in first.parent.iterdir()) == sorted(
        path.read_bytes() for path in paths
    )
    assert model.config.parameters == "96"


def test_progress_tells_how_far_each_file_is(
    store: Store, write_model: WriteModel, tmp_path: Path
) -> None:
    heard: list[Event] = []
    path = write_model()
    size = path.stat().st_size
    package(store, PackageRequest(gguf=[path]), NAME, listen=heard.append)
    label = Digest.of(str(path).encode())
    assert heard == [
        Planned((LayerProgress(label, size, 0),)),
        LayerProgress(label, size, size),
    ]
    heard.clear()
    copied = write_model("copied.gguf", b"\2")
    copied.chmod(0o666)
    package(store, PackageRequest(gguf=[copied]), NAME, listen=heard.append)
    again = Digest.of(str(copied).encode())
    assert heard[1:] == [
        LayerProgress(again, size, size),
        LayerProgress(again, 2 * size, 2 * size),
    ]


def test_packaging_can_be_cancelled(store: Store, write_model: WriteModel) -> None:
    with pytest.raises(RunnerError) as caught:
        package(store, PackageRequest(gguf=[write_model()]), NAME, cancelled=lambda: True)
    assert caught.value.kind is Kind.CANCELLED
    assert store.list() == []
    assert list((store.path / "ingest").iterdir()) == []


def test_a_blob_deleted_while_a_model_is_added_is_stored_again(
    store: Store, write_model: WriteModel, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    publish = Store.publish

    def disturbed(self: Store, manifest: Manifest, name: Reference | None) -> StoredModel | None:
        attempts.append(manifest)
        if len(attempts) == 1:
            layout.blob(manifest.layers[0].digest).unlink()
        return publish(self, manifest, name)

    monkeypatch.setattr(Store, "publish", disturbed)
    model = add_gguf(store, [write_model()], NAME)
    assert len(attempts) == 2
    assert store.list() == [model]


Prepare = Callable[[Path], Path]


def lfs_pointer(folder: Path) -> Path:
    path = folder / "model.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    return path


def missing_shard(folder: Path) -> Path:
    paths = write_shards(folder)
    paths[2].unlink()
    return paths[0]


def shard_of_another_model(folder: Path) -> Path:
    paths = write_shards(folder)
    paths[1].write_bytes(tiny_model())
    return paths[0]


def renamed_shard(folder: Path) -> Path:
    return write_shards(folder)[0].rename(folder / "model.gguf")


def vocabulary(folder: Path) -> Path:
    path = folder / "vocab.gguf"
    path.write_bytes(make_gguf(tiny_fields()))
    return path


def adapter(folder: Path) -> Path:
    path = folder / "lora.gguf"
    path.write_bytes(tiny_model(general__type=(STR, "adapter")))
    return path


def projector(folder: Path) -> Path:
    path = folder / "mmproj.gguf"
    path.write_bytes(make_gguf({"general.architecture": (STR, "clip")}))
    return path


REFUSED: list[tuple[Prepare, Kind, str]] = [
    (lfs_pointer, Kind.INVALID_MODEL, "model.gguf: not a GGUF file: it looks like a Git LFS"),
    (missing_shard, Kind.USAGE, "big-00003-of-00003.gguf does not exist"),
    (shard_of_another_model, Kind.INVALID_MODEL, "part 2 is not one of 3 parts"),
    (renamed_shard, Kind.INVALID_MODEL, "the model is in 3 parts, but 1 are given"),
    (vocabulary, Kind.INVALID_MODEL, "vocab.gguf is a vocabulary without weights"),
    (adapter, Kind.INVALID_MODEL, "lora.gguf is a LoRA adapter, not a language model"),
    (projector, Kind.INVALID_MODEL, "mmproj.gguf is a multimodal projector, not a language model"),
]


@pytest.mark.parametrize(
    ("prepare", "kind", "words"), REFUSED, ids=[case[0].__name__ for case in REFUSED]
)
def test_what_is_no_model_is_not_stored(
    store: Store, tmp_path: Path, prepare: Prepare, kind: Kind, words: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        add_gguf(store, [prepare(tmp_path)], NAME)
    assert caught.value.kind is kind
    assert words in caught.value.message
    assert caught.value.hint
    assert list((store.path / "blobs/sha256").iterdir()) == []
    assert store.list() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(b" \n", "is empty"), (b"a\0b", "is not a text"), (b"x" * 2**21, "is larger than")],
)
def test_a_template_is_a_text_of_bounded_length(
    store: Store, write_model: WriteModel, tmp_path: Path, content: bytes, words: str
) -> None:
    template = tmp_path / "t.jinja"
    template.write_bytes(content)
    with pytest.raises(RunnerError, match=words) as caught:
        add_gguf(store, [write_model()], NAME, chat_template=template)
    assert caught.value.kind is Kind.USAGE


def test_a_projector_must_be_one(store: Store, write_model: WriteModel) -> None:
    path = write_model()
    with pytest.raises(RunnerError, match="is not a multimodal projector"):
        add_gguf(store, [path], NAME, mmproj=path)


@pytest.mark.parametrize("size", [0, -1, 2**31])
def test_a_context_size_is_a_positive_number(
    store: Store, write_model: WriteModel, size: int
) -> None:
    with pytest.raises(RunnerError) as caught:
        add_gguf(store, [write_model()], NAME, context_size=size)
    assert (caught.value.kind, caught.value.param) == (Kind.USAGE, "context_size")


def test_a_name_with_a_digest_cannot_be_given(store: Store, write_model: WriteModel) -> None:
    name = Reference.parse("x@sha256:" + "a" * 64)
    with pytest.raises(RunnerError) as caught:
        add_gguf(store, [write_model()], name)
    assert caught.value.kind is Kind.INVALID_REFERENCE


def test_a_file_is_found_by_its_content_whatever_stored_it(
    store: Store, write_model: WriteModel
) -> None:
    path = write_model()
    first = add_gguf(store, [path], NAME)
    blob = Layout(store.path).blob(first.manifest.layers[0].digest)
    again = add_gguf(store, [blob], Reference.parse("again"))
    assert again.id == first.id
    assert len(list(blob.parent.iterdir())) == 3
