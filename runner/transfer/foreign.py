"""Brings models of other programs into the store, from where those keep them on this disk.

What another program has verified once is verified again: every blob is hashed on its way in. Bytes
are hard linked where that is possible and safe, so that a model is not on the disk twice, and
nothing in the other program's folder is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Manifest, Reference
from runner.store import Store, StoredModel
from runner.store.source import open_source
from runner.transfer.foreign_cache import CachedFiles, list_cached
from runner.transfer.foreign_oci import KeptArtifact, list_docker, list_ollama
from runner.transfer.package import PackageRequest, package
from runner.transfer.progress import LayerProgress, Listen, Planned
from runner.transfer.publishing import publish

MAX_LISTED = 20  # names in an error


class Program(StrEnum):
    """Whose folder it is."""

    DOCKER = "dmr"  # Docker Model Runner's MODELS_PATH
    OLLAMA = "ollama"  # Ollama's OLLAMA_MODELS
    HUGGINGFACE = "hf"  # the cache of Hugging Face's libraries


Foreign = KeptArtifact | CachedFiles

_LISTS: dict[Program, Callable[[Path], list[Foreign]]] = {
    Program.DOCKER: lambda folder: list(list_docker(folder)),
    Program.OLLAMA: lambda folder: list(list_ollama(folder)),
    Program.HUGGINGFACE: lambda folder: list(list_cached(folder)),
}


def list_foreign(program: Program, folder: Path) -> list[Foreign]:
    """List the GGUF models that a program keeps in a folder, by their names.

    What cannot be read there is left out, with a log. Raises RunnerError(USAGE) when the folder
    is not the program's.
    """
    try:
        return sorted(_LISTS[program](folder), key=lambda found: str(found.names[0]))
    except OSError as error:
        raise RunnerError(
            Kind.USAGE,
            f"{folder} cannot be read: {error.strerror or error}",
            hint=f"name the folder in which {program} keeps its models with --path",
        ) from error


def choose(found: Sequence[Foreign], text: str) -> Foreign:
    """Choose the one that a user means: its name, or the end of it, with its tag or without.

    Pure. Raises RunnerError(MODEL_NOT_FOUND) that lists what there is.
    """
    wanted = text.strip().lower()
    for spell in (str, _with_tag, _as_latest, _without_tag):
        matching = [
            each for each in found if any(_ends_with(spell(name), wanted) for name in each.names)
        ]
        if len(matching) == 1:
            return matching[0]
    names = [str(each.names[0]) for each in found]
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    there = ", ".join(names[:MAX_LISTED]) + more if names else "nothing that can be imported"
    raise RunnerError(
        Kind.MODEL_NOT_FOUND,
        f"there is no single model {text.strip()[:160]!a}; there is {there}",
        hint="write the whole name, with its tag",
        details={"names": names[:MAX_LISTED]},
    )


def import_model(
    store: Store,
    found: Foreign,
    name: Reference | None,
    *,
    listen: Listen = lambda event: None,
) -> StoredModel:
    """Store a model under ``name``, or under the names that it has there.

    An artifact keeps its id. Raises RunnerError: INTEGRITY for bytes that are not what their name
    says, INVALID_MODEL, INVALID_REFERENCE, DISK_FULL. What ``listen`` raises ends it.
    """
    names = (name,) if name is not None else found.names
    if isinstance(found, KeptArtifact):
        model = _import_artifact(store, found, names[0], listen)
    else:
        model = _import_files(store, found, names[0], listen)
    for other in names[1:]:
        model = store.tag(model, other)
    return model


def _import_artifact(
    store: Store, found: KeptArtifact, name: Reference, listen: Listen
) -> StoredModel:
    manifest = found.manifest
    listen(Planned(tuple(LayerProgress(b.digest, b.size_bytes, 0) for b in manifest.blobs)))

    def bring() -> Manifest:
        for blob in manifest.blobs:
            _take(store, found.path_of(blob.digest), blob, listen)
        return manifest

    with store.inbox.claimed():
        return publish(store, name, bring, what=name.familiar)


def _take(store: Store, path: Path, blob: Descriptor, listen: Listen) -> None:
    """Store one blob out of another program's file."""
    done_bytes = 0

    def add(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        listen(LayerProgress(blob.digest, blob.size_bytes, min(done_bytes, blob.size_bytes)))

    with open_source(path) as source:
        measured = store.inbox.add_file(source, on_bytes=add, on_copy=lambda size: None)
    if (measured.digest, measured.size_bytes) != (blob.digest, blob.size_bytes):
        raise _damaged(path, measured.digest)


def _import_files(store: Store, found: CachedFiles, name: Reference, listen: Listen) -> StoredModel:
    wanted = PackageRequest(
        gguf=found.weights,
        licenses=found.licenses,
        chat_template=found.chat_template,
        mmproj=found.projector,
    )
    model = package(store, wanted, name, listen=listen)
    stored = {layer.digest for layer in model.manifest.layers}
    if missing := [digest for digest in found.digests if digest not in stored]:
        store.remove(str(name))
        raise _damaged(found.weights[0], missing[0])
    return model


def _damaged(path: Path, digest: Digest) -> RunnerError:
    return RunnerError(
        Kind.INTEGRITY,
        f"{path} has other bytes than its name says ({digest})",
        hint="pull the model again with the program that it belongs to, or here",
    )


def _with_tag(name: Reference) -> str:
    return f"{name.name}:{name.tag}".lower()


def _as_latest(name: Reference) -> str:
    return name.name if name.tag == "latest" else ""


def _without_tag(name: Reference) -> str:
    return name.name


def _ends_with(name: str, wanted: str) -> bool:
    return bool(wanted) and f"/{name}".endswith(f"/{wanted}")
