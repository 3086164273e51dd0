from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Reference, media
from runner.store import Store, StoredModel
from runner.store.layout import Layout as Folders
from runner.transfer.archive import Layout, load, save
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import Event, LayerProgress, Planned
from tests.unit.store.conftest import AddModel, WriteModel

File = tuple[str, bytes]
NAMES = ("docker.io/ai/tiny:latest", "example.com/org/other:v1")


@pytest.fixture
def model(store: Store, write_model: WriteModel, tmp_path: Path) -> StoredModel:
    """A model with two names, of two layers."""
    licence = tmp_path / "LICENSE"
    licence.write_text("Do what you like. " * 50)
    wanted = PackageRequest(gguf=[write_model()], licenses=[licence])
    return store.tag(package(store, wanted, Reference.parse("tiny")), Reference.parse(NAMES[1]))


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


def archive(store: Store, model: StoredModel, layout: Layout) -> bytes:
    target = io.BytesIO()
    save(store, model, target, layout=layout)
    return target.getvalue()


def members(raw: bytes) -> list[File]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        found = [(m.name, opened.extractfile(m)) for m in opened.getmembers() if m.isfile()]
        return [(name, file.read()) for name, file in found if file]


def packed(*files: File) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as opened:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return target.getvalue()


class Pipe:
    """A stream that can only be read, in small pieces."""

    def __init__(self, raw: bytes) -> None:
        self._stream = io.BytesIO(raw)

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, 1000))


def test_dockers_form_ends_with_the_manifest(store: Store, model: StoredModel) -> None:
    raw = archive(store, model, Layout.DOCKER)
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        names = opened.getnames()
    blobs = [*model.manifest.layers, model.manifest.config]
    assert names == [
        "blobs",
        "blobs/sha256",
        *(f"blobs/sha256/{blob.digest.hex}" for blob in blobs),
        "manifest.json",
    ]
    assert members(raw)[-1] == ("manifest.json", model.manifest.raw)


def test_an_image_layout_lists_every_name(store: Store, model: StoredModel) -> None:
    files = dict(members(archive(store, model, Layout.OCI)))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(files["index.json"]) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(model.id),
                "size": len(model.manifest.raw),
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
            for name in NAMES
        ],
    }
    assert files[f"blobs/sha256/{model.id.hex}"] == model.manifest.raw


@pytest.mark.parametrize("layout", list(Layout))
def test_an_archive_is_the_same_each_time(store: Store, model: StoredModel, layout: Layout) -> None:
    assert archive(store, model, layout) == archive(store, model, layout)


@pytest.mark.parametrize(
    ("layout", "names"), [(Layout.DOCKER, ()), (Layout.OCI, NAMES)], ids=["docker", "oci"]
)
def test_what_was_saved_is_loaded_from_a_pipe(
    store: Store, model: StoredModel, other: Store, layout: Layout, names: tuple[str, ...]
) -> None:
    (found,) = load(other, Pipe(archive(store, model, layout)))
    assert (found.id, found.tags) == (model.id, names)
    assert other.list() == [found]
    assert other.bundle(found).gguf_path.read_bytes() == store.bundle(model).gguf_path.read_bytes()
    assert load(other, Pipe(archive(store, model, layout))) == (found,)


def test_progress_tells_each_blob(store: Store, model: StoredModel, other: Store) -> None:
    heard: list[Event] = []
    target = io.BytesIO()
    save(store, model, target, listen=heard.append)
    blobs = [*model.manifest.layers, model.manifest.config]
    ended = [LayerProgress(blob.digest, blob.size_bytes, blob.size_bytes) for blob in blobs]
    assert heard == [
        Planned(tuple(LayerProgress(e.digest, e.size_bytes, 0) for e in ended)),
        *ended,
    ]
    heard.clear()
    load(other, io.BytesIO(target.getvalue()), listen=heard.append)
    assert heard == ended


def test_saving_and_loading_can_be_cancelled(
    store: Store, model: StoredModel, other: Store
) -> None:
    raw = archive(store, model, Layout.DOCKER)
    with pytest.raises(RunnerError) as saving:
        save(store, model, io.BytesIO(), cancelled=lambda: True)
    with pytest.raises(RunnerError) as loading:
        load(other, io.BytesIO(raw), cancelled=lambda: True)
    assert saving.value.kind is loading.value.kind is Kind.CANCELLED
    assert other.list() == []


def test_a_damaged_model_is_not_saved(store: Store, model: StoredModel, layout: Folders) -> None:
    layout.blob(model.manifest.layers[1].digest).write_bytes(b"?")
    with pytest.raises(RunnerError) as caught:
        archive(store, model, Layout.OCI)
    assert caught.value.kind is Kind.INTEGRITY


def names_in(index: bytes, *names: str | None) -> bytes:
    value = json.loads(index)
    listed = value["manifests"][0]
    value["manifests"] = [
        {**listed, "annotations": {media.REF_NAME: name} if name else {}} for name in names
    ]
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("docker.io/ai/x:v1", ("docker.io/ai/x:v1",)),
        ("org/x", ("docker.io/org/x:latest",)),
        ("v1", ()),  # a tag alone, as skopeo writes it
        ("latest", ()),
        ("not/a name", ()),
        (None, ()),
    ],
)
def test_names_of_other_tools(
    store: Store, model: StoredModel, other: Store, name: str | None, tags: tuple[str, ...]
) -> None:
    files = dict(members(archive(store, model, Layout.OCI)))
    files["index.json"] = names_in(files["index.json"], name)
    (found,) = load(other, io.BytesIO(packed(*files.items())))
    assert found.tags == tags


def test_entries_may_come_in_any_order_and_beside_others(
    store: Store, model: StoredModel, other: Store
) -> None:
    files = members(archive(store, model, Layout.DOCKER))
    odd = [("./README", b"x"), *((f"./{name}", data) for name, data in reversed(files))]
    assert load(other, io.BytesIO(packed(*odd)))[0].id == model.id


def test_dmrs_manifests_folder_is_read_as_blobs(
    store: Store, model: StoredModel, other: Store
) -> None:
    files = members(archive(store, model, Layout.DOCKER))
    listed = (f"manifests/sha256/{model.id.hex}", model.manifest.raw)
    assert load(other, io.BytesIO(packed(*files, listed)))[0].id == model.id


def test_two_models_in_one_layout(store: Store, add: AddModel, other: Store) -> None:
    first, second = add("one", b"\1"), add("two", b"\2")
    files = {}
    listed = []
    for one in (first, second):
        found = dict(members(archive(store, one, Layout.OCI)))
        listed += json.loads(found["index.json"])["manifests"]
        files |= found
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": listed}).encode()
    models = load(other, io.BytesIO(packed(*files.items())))
    assert [model.id for model in models] == [first.id, second.id]
    assert [model.tags for model in other.list()] == [first.tags, second.tags]


Spoil = Callable[[dict[str, bytes], StoredModel], bytes]


def without(name: str) -> Spoil:
    def spoil(files: dict[str, bytes], model: StoredModel) -> bytes:
        return packed(*(item for item in files.items() if item[0] != name))

    return spoil


def with_one_more(name: str, data: bytes = b"") -> Spoil:
    def spoil(files: dict[str, bytes], model: StoredModel) -> bytes:
        return packed(*files.items(), (name, data))

    return spoil


def other_bytes(files: dict[str, bytes], model: StoredModel) -> bytes:
    name = f"blobs/sha256/{model.manifest.layers[0].digest.hex}"
    return packed(*(files | {name: files[name][:-1] + b"!"}).items())


def shorter_bytes(files: dict[str, bytes], model: StoredModel) -> bytes:
    name = f"blobs/sha256/{model.manifest.layers[0].digest.hex}"
    return packed(*(files | {name: files[name][:-1]}).items())


def a_layer_missing(files: dict[str, bytes], model: StoredModel) -> bytes:
    name = f"blobs/sha256/{model.manifest.layers[0].digest.hex}"
    return without(name)(files, model)


def a_layer_of_another_size(files: dict[str, bytes], model: StoredModel) -> bytes:
    size = f'"size":{model.manifest.layers[0].size_bytes}'.encode()
    raw = files["manifest.json"].replace(size, size[:-1] + b"9")
    return packed(*(files | {"manifest.json": raw}).items())


def twice(files: dict[str, bytes], model: StoredModel) -> bytes:
    return packed(*files.items(), next(iter(files.items())))


def cut_off(files: dict[str, bytes], model: StoredModel) -> bytes:
    return packed(*files.items())[:3000]


def of_docker_save(files: dict[str, bytes], model: StoredModel) -> bytes:
    return packed(("manifest.json", b'[{"Config":"x.json","Layers":[]}]'))


def exchanged(files: dict[str, bytes], model: StoredModel, blob: Descriptor, data: bytes) -> bytes:
    """The same archive with another blob, of which the manifest knows."""
    digest = Digest.of(data)
    raw = model.manifest.raw.replace(str(blob.digest).encode(), str(digest).encode()).replace(
        f'"size":{blob.size_bytes}'.encode(), f'"size":{len(data)}'.encode()
    )
    changed = {"manifest.json": raw, f"blobs/sha256/{digest.hex}": data}
    return packed(*(files | changed).items())


def a_config_that_is_none(files: dict[str, bytes], model: StoredModel) -> bytes:
    return exchanged(files, model, model.manifest.config, b'{"config":{"format":7}}')


def weights_that_are_none(files: dict[str, bytes], model: StoredModel) -> bytes:
    pointer = b"version https://git-lfs.github.com/spec/v1\n"
    return exchanged(files, model, model.manifest.layers[0], pointer)


HOSTILE: list[tuple[str, Spoil, Kind]] = [
    ("other bytes", other_bytes, Kind.INTEGRITY),
    ("fewer bytes", shorter_bytes, Kind.INTEGRITY),
    ("a layer missing", a_layer_missing, Kind.INVALID_MODEL),
    ("a layer of another size", a_layer_of_another_size, Kind.INVALID_MODEL),
    ("no manifest", without("manifest.json"), Kind.INVALID_MODEL),
    ("a blob twice", twice, Kind.INVALID_MODEL),
    ("the manifest twice", with_one_more("./manifest.json"), Kind.INVALID_MODEL),
    ("a path that leads out", with_one_more("../x"), Kind.INVALID_MODEL),
    ("a path that leads out and back", with_one_more("blobs/../../x"), Kind.INVALID_MODEL),
    ("an absolute path", with_one_more("/etc/passwd"), Kind.INVALID_MODEL),
    ("a name of line breaks", with_one_more("a\nb"), Kind.INVALID_MODEL),
    ("a digest too short", with_one_more(f"blobs/sha256/{'a' * 63}"), Kind.INVALID_MODEL),
    ("a damaged index", with_one_more("index.json", b"{"), Kind.INVALID_MODEL),
    ("an empty index", with_one_more("index.json", b'{"manifests":[]}'), Kind.INVALID_MODEL),
    ("cut off", cut_off, Kind.INVALID_MODEL),
    ("of docker save", of_docker_save, Kind.INVALID_MODEL),
    ("a config that is none", a_config_that_is_none, Kind.INVALID_MODEL),
    ("c1: weights that are none", weights_that_are_none, Kind.INVALID_MODEL),
    ("empty", lambda files, model: b"", Kind.INVALID_MODEL),
]


@pytest.mark.parametrize(
    ("spoil", "kind"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_a_spoilt_archive_lists_nothing(
    store: Store, model: StoredModel, other: Store, spoil: Spoil, kind: Kind
) -> None:
    files = dict(members(archive(store, model, Layout.DOCKER)))
    with pytest.raises(RunnerError) as caught:
        load(other, io.BytesIO(spoil(files, model)))
    assert caught.value.kind is kind
    assert caught.value.hint
    assert other.list() == []
    assert list((other.path / "ingest").iterdir()) == []


def test_an_archive_full_of_other_files_is_refused(other: Store) -> None:
    raw = packed(*((f"x{n}", bytes(2**20)) for n in range(65)), ("manifest.json", b"{}"))
    with pytest.raises(RunnerError, match="full of other files"):
        load(other, io.BytesIO(raw))
