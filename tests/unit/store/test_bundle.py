from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Artifact, Descriptor, Digest, Manifest, media
from runner.store import Store
from runner.store.bundle import plan_files
from runner.store.layout import Layout
from runner.store.source import Identity
from tests.unit.store.conftest import AddModel

CONFIG = Descriptor(media.CONFIG_V01, Digest("sha256", "c" * 64), 1)


def layer(media_type: str, letter: str, path: str | None = None) -> Descriptor:
    annotations = {} if path is None else {media.FILE_PATH: path}
    return Descriptor(media_type, Digest("sha256", letter * 64), 1, annotations)


HOSTILE = [
    "../../.ssh/authorized_keys",
    "/etc/passwd",
    "C:\\x",
    "CON",
    "x.",
    "MODEL.gguf",
    "a" * 300,
    "",
    "x\0y",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_d12_what_an_annotation_says_is_never_a_path(path: str) -> None:
    manifest = Manifest.build(
        CONFIG, [layer(media.GGUF, "a", path), layer(media.CHAT_TEMPLATE, "b", path)]
    )
    assert list(plan_files(Artifact.of(manifest))) == ["model.gguf", "template.jinja"]


def test_shards_are_named_by_their_order() -> None:
    manifest = Manifest.build(
        CONFIG,
        [layer(media.LICENSE, "d"), layer(media.GGUF, "a", "z"), layer(media.GGUF, "b", "y")],
    )
    assert {
        name: blob.digest.hex[0] for name, blob in plan_files(Artifact.of(manifest)).items()
    } == {
        "model-00001-of-00002.gguf": "a",
        "model-00002-of-00002.gguf": "b",
    }


def test_of_two_templates_the_first_counts_and_other_layers_are_left_out() -> None:
    manifest = Manifest.build(
        CONFIG,
        [
            layer(media.GGUF, "a"),
            layer(media.CHAT_TEMPLATE, "b"),
            layer(media.CHAT_TEMPLATE, "d"),
            layer("application/x-python-pickle", "e", "run.py"),
        ],
    )
    files = plan_files(Artifact.of(manifest))
    assert list(files) == ["model.gguf", "template.jinja"]
    assert files["template.jinja"].digest.hex[0] == "b"


def test_a_model_without_gguf_weights_cannot_be_run() -> None:
    manifest = Manifest.build(CONFIG, [layer("application/vnd.docker.ai.safetensors", "a")])
    with pytest.raises(RunnerError) as caught:
        plan_files(Artifact.of(manifest))
    assert caught.value.kind is Kind.INVALID_MODEL


def test_a_bundle_is_made_of_links_once(store: Store, add: AddModel, layout: Layout) -> None:
    model = add()
    bundle = store.bundle(model)
    assert bundle.gguf_path == store.path / "bundles" / model.id.hex / "model.gguf"
    assert bundle.gguf_path.samefile(layout.blob(model.manifest.layers[0].digest))
    assert (bundle.chat_template_path, bundle.mmproj_path) == (None, None)
    folder = bundle.gguf_path.parent
    before = folder.stat().st_ino
    assert store.bundle(model) == bundle
    assert folder.stat().st_ino == before
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(layout.ingest.iterdir()) == []


def test_a_bundle_of_a_blob_since_replaced_is_made_again(
    store: Store, add: AddModel, layout: Layout
) -> None:
    model = add()
    path = store.bundle(model).gguf_path
    blob = layout.blob(model.manifest.layers[0].digest)
    content = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(content)
    layout.loan(model.manifest.layers[0].digest).unlink()
    assert store.bundle(model).gguf_path == path
    assert path.samefile(blob)


def test_a_bundle_with_a_file_missing_is_made_again(store: Store, add: AddModel) -> None:
    model = add()
    path = store.bundle(model).gguf_path
    path.unlink()
    assert store.bundle(model).gguf_path.read_bytes()[:4] == b"GGUF"


def test_a_changed_source_is_found_when_the_model_is_loaded(
    store: Store, add: AddModel, tmp_path: Path
) -> None:
    model = add()
    store.bundle(model)
    source = tmp_path / "source-01.gguf"
    with source.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(source, ns=(0, 1))
    with pytest.raises(RunnerError) as caught:
        store.bundle(model)
    assert caught.value.kind is Kind.INTEGRITY
    assert str(source) in caught.value.message
    source.unlink()
    assert store.bundle(add()).gguf_path.read_bytes()[-1:] == b"\1"


def test_two_who_make_the_same_bundle_both_get_it(
    store: Store, add: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add()
    rename = Path.rename

    def beaten(self: Path, target: Path) -> Path:
        shutil.copytree(self, target, copy_function=os.link)
        return rename(self, target)  # ENOTEMPTY, as for the slower of two

    monkeypatch.setattr(Path, "rename", beaten)
    assert store.bundle(model).gguf_path.read_bytes()[:4] == b"GGUF"
    assert list((store.path / "ingest").iterdir()) == []


def test_a_bundle_that_another_program_spoils_is_an_error(
    store: Store, add: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add()

    def spoiled(self: Path, target: Path) -> Path:
        (target / "x").mkdir(parents=True)
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    monkeypatch.setattr(Path, "rename", spoiled)
    with pytest.raises(RunnerError) as caught:
        store.bundle(model)
    assert caught.value.kind is Kind.STORE


def test_without_hard_links_a_bundle_is_made_of_relative_symbolic_links(
    store: Store, add: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add()

    def link(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    path = store.bundle(model).gguf_path
    target = path.readlink()
    assert target == Path("../../blobs/sha256") / model.manifest.layers[0].digest.hex
    assert path.read_bytes()[:4] == b"GGUF"
    before = Identity.of(path.lstat())
    assert Identity.of(store.bundle(model).gguf_path.lstat()) == before
