"""Our archives and our store, read and written by skopeo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.oci import Reference
from runner.store import Store, StoredModel
from runner.transfer.archive import Layout, load, save
from runner.transfer.layers import Format
from runner.transfer.package import PackageRequest, package
from tests.support.gguf_maker import tiny_model
from tests.support.registries import Skopeo, skopeo

__all__ = ["skopeo"]

NAME = "docker.io/org/tiny:v1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture(params=list(Format))
def model(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> StoredModel:
    """A model in each of the formats that we write."""
    weights, licence = tmp_path / "tiny.gguf", tmp_path / "LICENSE"
    weights.write_bytes(tiny_model())
    licence.write_text("Do what you like.")
    wanted = PackageRequest(gguf=[weights], licenses=[licence], form=request.param)
    return package(store, wanted, Reference.parse(NAME))


def test_skopeo_reads_the_folder_of_our_store(
    store: Store, model: StoredModel, skopeo: Skopeo
) -> None:
    raw = skopeo("inspect", "--raw", f"oci:{store.path}:{NAME}").stdout
    assert raw == model.manifest.raw


def test_skopeo_copies_our_archive(
    store: Store, model: StoredModel, skopeo: Skopeo, tmp_path: Path
) -> None:
    archive, copy = tmp_path / "model.tar", tmp_path / "copy"
    with archive.open("wb") as file:
        save(store, model, file, layout=Layout.OCI)
    assert skopeo("inspect", "--raw", f"oci-archive:{archive}").stdout == model.manifest.raw
    skopeo("copy", f"oci-archive:{archive}:{NAME}", f"oci:{copy}:v1")
    (listed,) = json.loads((copy / "index.json").read_bytes())["manifests"]
    assert listed["digest"] == str(model.id)


@pytest.mark.parametrize(
    ("name", "tags"), [(f":{NAME}", (NAME,)), (":v1", ()), ("", ())], ids=["name", "tag", "none"]
)
def test_we_load_what_skopeo_archives(
    store: Store,
    model: StoredModel,
    skopeo: Skopeo,
    tmp_path: Path,
    name: str,
    tags: tuple[str, ...],
) -> None:
    archive, other = tmp_path / "model.tar", Store(tmp_path / "other")
    skopeo("copy", f"oci:{store.path}:{NAME}", f"oci-archive:{archive}{name}")
    with archive.open("rb") as file:
        (found,) = load(other, file)
    assert (found.id, found.tags) == (model.id, tags)
    assert other.bundle(found).gguf_path.read_bytes() == tiny_model()
