from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store
from runner.transfer.foreign import Foreign, Program, choose, import_model, list_foreign
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import Event, LayerProgress
from tests.support.foreign_stores import make_docker_store, make_hub_cache, make_ollama_store
from tests.support.gguf_maker import tiny_model, tiny_shards

ONE, TWO = tiny_model(b"\1"), tiny_model(b"\2")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def names(found: list[Foreign]) -> list[str]:
    return [str(name) for each in found for name in each.names]


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


# ---- Docker Model Runner ------------------------------------------------------------------


def test_e20_a_model_of_docker_model_runner_keeps_its_id_its_names_and_its_bytes(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "docker"
    tags = ["docker.io/ai/x:latest", "docker.io/me/x:8k"]
    [one, two] = make_docker_store(folder, {ONE: tags, TWO: []})
    before = state(folder)
    found = list_foreign(Program.DOCKER, folder)
    assert names(found) == [f"docker.io/ai/imported@{two}", *tags]
    model = import_model(store, choose(found, "x:8k"), None)
    assert (str(model.id), list(model.tags)) == (one, tags)
    weights = folder / "blobs/sha256" / model.manifest.layers[0].digest.hex
    bundle = store.bundle(model)
    assert bundle.gguf_path.samefile(weights)  # not on the disk twice
    untagged = import_model(store, found[0], None)
    assert (str(untagged.id), untagged.tags) == (two, (f"docker.io/ai/imported@{two}",))
    assert state(folder) == before
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert bundle.gguf_path.read_bytes() == ONE  # theirs may go


def test_e20_a_folder_of_docker_model_runner_is_refused_as_a_store_with_the_way_to_import(
    tmp_path: Path,
) -> None:
    make_docker_store(tmp_path, {ONE: ["docker.io/ai/x:latest"]})
    before = state(tmp_path)
    with pytest.raises(RunnerError) as caught:
        Store(tmp_path)
    assert caught.value.kind is Kind.STORE
    assert f"runner import --from dmr --path {tmp_path}" in (caught.value.hint or "")
    assert state(tmp_path) == before


def test_a_damaged_manifest_of_docker_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [one, _] = make_docker_store(
        tmp_path, {ONE: ["docker.io/ai/x:latest"], TWO: ["docker.io/ai/y:latest"]}
    )
    with (tmp_path / "manifests/sha256" / one.removeprefix("sha256:")).open("ab") as file:
        file.write(b" ")
    with caplog.at_level(logging.WARNING):
        assert names(list_foreign(Program.DOCKER, tmp_path)) == ["docker.io/ai/y:latest"]
    assert "is damaged" in caplog.text


HOSTILE_ENTRIES = [
    {"id": "sha256:../../etc/passwd", "tags": []},
    {"id": "sha256:" + "0" * 64, "tags": ["../x"]},
    {"id": 7},
    {"tags": ["docker.io/ai/x:latest"]},
    "x",
    None,
]


@pytest.mark.parametrize("entry", HOSTILE_ENTRIES)
def test_a_hostile_index_of_docker_leads_nowhere(tmp_path: Path, entry: object) -> None:
    (tmp_path / "models.json").write_text(json.dumps({"models": [entry]}))
    assert list_foreign(Program.DOCKER, tmp_path) == []


# ---- Ollama -------------------------------------------------------------------------------


def test_a_model_of_ollama_is_runnable_under_the_name_of_its_registry(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "ollama"
    make_ollama_store(
        folder,
        {
            "registry.ollama.ai/library/llama3/latest": ONE,
            "registry.ollama.ai/library/llama3/8b": TWO,
            "hf.co/Org/Repo-GGUF/Q4_K_M": TWO,
        },
    )
    (folder / "manifests/registry.ollama.ai/library/llama3/.DS_Store").touch()
    before = state(folder)
    found = list_foreign(Program.OLLAMA, folder)
    assert names(found) == [
        "huggingface.co/org/repo-gguf:Q4_K_M",
        "registry.ollama.ai/library/llama3:8b",
        "registry.ollama.ai/library/llama3:latest",
    ]
    model = import_model(store, choose(found, "llama3"), None)
    assert model.tags == ("registry.ollama.ai/library/llama3:latest",)
    assert store.bundle(model).gguf_path.read_bytes() == ONE
    assert model.config.architecture == "llama"
    renamed = import_model(store, choose(found, "llama3:8b"), Reference.parse("mine"))
    assert renamed.tags == ("docker.io/ai/mine:latest",)
    assert state(folder) == before


def test_a_blob_that_ollama_has_damaged_is_refused(store: Store, tmp_path: Path) -> None:
    make_ollama_store(tmp_path, {"registry.ollama.ai/library/x/latest": ONE})
    [found] = list_foreign(Program.OLLAMA, tmp_path)
    blob = next(path for path in (tmp_path / "blobs").iterdir() if path.read_bytes() == ONE)
    blob.write_bytes(ONE[:-1] + b"\7")
    with pytest.raises(RunnerError) as caught:
        import_model(store, found, None)
    assert caught.value.kind is Kind.INTEGRITY
    assert str(blob) in caught.value.message
    assert store.list() == []


def test_a_blob_that_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    make_ollama_store(tmp_path, {"registry.ollama.ai/library/x/latest": ONE})
    [found] = list_foreign(Program.OLLAMA, tmp_path)
    for blob in (tmp_path / "blobs").iterdir():
        blob.unlink()
    with pytest.raises(RunnerError) as caught:
        import_model(store, found, None)
    assert "does not exist" in caught.value.message


# ---- Hugging Face -------------------------------------------------------------------------


def test_models_of_the_hubs_cache_are_named_by_quantisation(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    first, second, third = tiny_shards(3)
    home = make_hub_cache(
        cache,
        "Org/Repo-GGUF",
        {
            "repo-Q4_K_M.gguf": ONE,
            "LICENSE": b"MIT",
            "Q8_0/repo-Q8_0-00001-of-00003.gguf": first,
            "Q8_0/repo-Q8_0-00002-of-00003.gguf": second,
            "Q8_0/repo-Q8_0-00003-of-00003.gguf": third,
            "BF16/repo-BF16-00001-of-00002.gguf": first,  # only a part was fetched
        },
    )
    make_hub_cache(cache, "other/plain", {"model.safetensors": b"x", "README.md": b"y"})
    before = state(cache)
    found = list_foreign(Program.HUGGINGFACE, cache)
    assert names(found) == [
        "huggingface.co/org/repo-gguf:Q4_K_M",
        "huggingface.co/org/repo-gguf:Q8_0",
    ]
    model = import_model(store, choose(found, "Org/Repo-GGUF:q4_k_m"), None)
    assert store.bundle(model).gguf_path.read_bytes() == ONE
    assert len(model.manifest.layers) == 2  # the licence too
    sharded = import_model(store, choose(found, "repo-gguf:Q8_0"), None)
    assert len(list(store.bundle(sharded).gguf_path.parent.glob("*.gguf"))) == 3
    assert state(cache) == before
    # The same id as packaging the files gives, and as a pull of the same commit.
    snapshot = next((home / "snapshots").iterdir())
    wanted = PackageRequest(gguf=[snapshot / "repo-Q4_K_M.gguf"], licenses=[snapshot / "LICENSE"])
    assert package(store, wanted, Reference.parse("packaged")).id == model.id


def test_a_file_of_the_cache_with_other_bytes_than_its_name_is_refused(
    store: Store, tmp_path: Path
) -> None:
    home = make_hub_cache(tmp_path / "hub", "org/repo", {"repo-Q4_0.gguf": ONE})
    [blob] = (home / "blobs").iterdir()
    blob.write_bytes(TWO)
    [found] = list_foreign(Program.HUGGINGFACE, tmp_path / "hub")
    with pytest.raises(RunnerError) as caught:
        import_model(store, found, None)
    assert caught.value.kind is Kind.INTEGRITY
    assert store.list() == []


def test_links_that_lead_out_of_the_cache_are_not_followed(tmp_path: Path) -> None:
    home = make_hub_cache(tmp_path / "hub", "org/repo", {"repo-Q4_0.gguf": ONE})
    secret = tmp_path / "secret.gguf"
    secret.write_bytes(TWO)
    snapshot = next((home / "snapshots").iterdir())
    (snapshot / "repo-Q8_0.gguf").symlink_to(secret)
    (snapshot / "repo-Q5_0.gguf").symlink_to("nowhere")
    found = list_foreign(Program.HUGGINGFACE, tmp_path / "hub")
    assert names(found) == ["huggingface.co/org/repo:Q4_0"]


def test_without_a_branch_the_newest_commit_counts(tmp_path: Path) -> None:
    home = make_hub_cache(tmp_path / "hub", "org/repo", {"repo-Q4_0.gguf": ONE})
    (home / "refs/main").unlink()
    assert len(list_foreign(Program.HUGGINGFACE, tmp_path / "hub")) == 1
    (home / "refs/main").write_text("../../../etc")
    assert len(list_foreign(Program.HUGGINGFACE, tmp_path / "hub")) == 1


# ---- all of them --------------------------------------------------------------------------


@pytest.mark.parametrize("program", list(Program))
def test_a_folder_that_is_not_there_is_told(program: Program, tmp_path: Path) -> None:
    with pytest.raises(RunnerError) as caught:
        list_foreign(program, tmp_path / "nowhere")
    assert caught.value.kind is Kind.USAGE
    assert "--path" in (caught.value.hint or "")


def test_a_name_that_means_none_or_several_is_told_with_what_there_is(tmp_path: Path) -> None:
    make_docker_store(
        tmp_path, {ONE: ["docker.io/ai/x:a"], TWO: ["docker.io/ai/x:b", "docker.io/me/y:latest"]}
    )
    found = list_foreign(Program.DOCKER, tmp_path)
    assert choose(found, "x:a").names[0].tag == "a"
    assert choose(found, "Y").names[1].repository == "me/y"
    for text in ("x", "z", "", "i/x:a"):
        with pytest.raises(RunnerError) as caught:
            choose(found, text)
        assert caught.value.kind is Kind.MODEL_NOT_FOUND
        assert "docker.io/ai/x:a, docker.io/ai/x:b" in caught.value.message


def test_progress_is_told_and_an_import_can_be_given_up(store: Store, tmp_path: Path) -> None:
    make_ollama_store(tmp_path, {"registry.ollama.ai/library/x/latest": ONE})
    [found] = list_foreign(Program.OLLAMA, tmp_path)
    events: list[Event] = []
    import_model(store, found, None, listen=events.append)
    done = {event.digest: event for event in events if isinstance(event, LayerProgress)}
    assert len(done) == 3
    assert all(layer.done_bytes == layer.size_bytes for layer in done.values())

    def leave(event: Event) -> None:
        if isinstance(event, LayerProgress):
            raise RunnerError(Kind.CANCELLED, "nobody waits for it any more")

    with pytest.raises(RunnerError) as caught:
        import_model(store, found, None, listen=leave)
    assert caught.value.kind is Kind.CANCELLED
