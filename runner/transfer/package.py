"""Makes a model out of local files or of a stored model, and gives it a name.

Everything the artifact says comes from the bytes of its files and from the request, so the same
request over the same files gives the same id, whatever their names and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Artifact, Descriptor, Digest, Manifest, ModelConfig, Reference, Role, media
from runner.store import Store, StoredModel, stored_name
from runner.store.index import tag_name
from runner.store.source import Measured, Source
from runner.transfer import uploads
from runner.transfer.ingredients import (
    Ingredient,
    open_adapter,
    open_folder,
    open_gguf,
    open_projector,
    read_text,
)
from runner.transfer.layers import DOCKER_TYPES, Format, write_documents
from runner.transfer.passage import check_cancelled, follow
from runner.transfer.progress import (
    IsCancelled,
    LayerProgress,
    Listen,
    Note,
    Planned,
)
from runner.transfer.publishing import publish

MAX_CONTEXT_SIZE = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """What to make a model of: exactly one of the first four, and what is to go with it."""

    gguf: Sequence[Path] = ()  # one shard stands for all
    safetensors_dir: Path | None = None
    from_model: str | None = None  # a stored model, by any of its names; its layers are shared
    uploads: Mapping[str, Digest] = field(default_factory=dict)  # GGUF files by name: blobs
    licenses: Sequence[Path] = ()  # of from_model, more ones
    license_texts: Sequence[str] = ()  # more ones too
    chat_template: Path | None = None  # Jinja; replaces the model's own
    mmproj: Path | None = None  # multimodal projector, a GGUF file
    loras: Sequence[Path] = ()  # adapters, GGUF files; of from_model, more ones
    lora_uploads: Sequence[Digest] = ()  # adapters that are blobs; more ones too
    context_size: int | None = None  # tokens the model is to be run with
    form: Format | None = None  # None: as from_model is, else Docker's


def package(
    store: Store,
    wanted: PackageRequest,
    name: Reference,
    *,
    listen: Listen = lambda event: None,
    cancelled: IsCancelled = lambda: False,
) -> StoredModel:
    """Store a model under ``name``: its files checked, hashed, hard linked where that is possible.

    Packaging what is there is cheap in space, repairs damaged blobs, and gives the same id.
    ``listen`` hears a :class:`LayerProgress` for each file, by a label that is no layer's digest.

    Raises RunnerError: USAGE for a request or a file that cannot be used, INVALID_MODEL for one
    that is no sound model, MODEL_NOT_FOUND for ``from_model``, INVALID_REFERENCE for a name with a
    digest, INTEGRITY when a file changes meanwhile, DISK_FULL, CANCELLED.
    """
    _check(wanted, name)
    with store.inbox.claimed():
        return publish(
            store,
            name,
            lambda: _store_all(store, wanted, listen, cancelled),
            what=name.familiar,
        )


def _check(wanted: PackageRequest, name: Reference) -> None:
    folder, base = wanted.safetensors_dir, wanted.from_model
    sources = (bool(wanted.gguf), folder is not None, base is not None, bool(wanted.uploads))
    if sum(sources) != 1:
        raise RunnerError(
            Kind.USAGE,
            f"a model is made of one source, not of {sum(sources)}",
            hint="give GGUF files, a folder with safetensors, or a stored model",
        )
    tag_name(name)  # refused before anything is hashed
    size = wanted.context_size
    if size is not None and not 1 <= size <= MAX_CONTEXT_SIZE:
        raise RunnerError(
            Kind.USAGE,
            f"context size {size} is out of range",
            hint="give a number of tokens from 1 up",
            param="context_size",
        )
    if size is not None and wanted.form is Format.CNCF:
        raise RunnerError(
            Kind.USAGE,
            "a ModelPack config has no place for a context size",
            hint="leave the context size out, or package in Docker's format",
            param="context_size",
        )


def _store_all(
    store: Store, wanted: PackageRequest, listen: Listen, cancelled: IsCancelled
) -> Manifest:
    """Store the files, then config and manifest. No time is written: ids would differ by it."""
    base = None if wanted.from_model is None else store.resolve(stored_name(wanted.from_model))
    kept = [] if base is None else list(_kept(base, wanted))
    with ExitStack() as stack:
        found, config = _open_weights(stack, store, wanted, base)
        adapters = Artifact.of_layers(kept).having(Role.ADAPTER)
        found += _open_extras(stack, store, wanted, config.architecture, adapters=len(adapters))
        meter = _Meter(found, listen, cancelled)
        for blob in kept:
            _bring(store, blob, listen, cancelled)
        layers = [*kept, *(_store(store, item, meter) for item in found)]
    form = _form(wanted, base)
    if form is Format.CNCF and config.context_size is not None:
        listen(Note("the context size is left out: ModelPack has no place for it", True))
    files = Artifact.of_layers(layers).files
    documents = write_documents(
        replace(config, context_size=wanted.context_size or config.context_size),
        files,
        form,
        is_folder=any(file.role is Role.SAFETENSORS for file in files)
        or (base is not None and base.manifest.config.media_type == media.CONFIG_V02),
    )
    return documents.manifest(store.inbox.add_document(documents.config_type, documents.config))


def _open_weights(
    stack: ExitStack, store: Store, wanted: PackageRequest, base: StoredModel | None
) -> tuple[list[Ingredient], ModelConfig]:
    if base is not None:
        return [], base.config
    if wanted.uploads:
        return uploads.open_weights(stack, store, wanted.uploads)
    if wanted.safetensors_dir is not None:
        return open_folder(stack, wanted.safetensors_dir)
    return open_gguf(stack, wanted.gguf)


def _open_extras(
    stack: ExitStack, store: Store, wanted: PackageRequest, architecture: str, *, adapters: int
) -> Iterator[Ingredient]:
    for path in wanted.licenses:
        yield read_text(Role.LICENSE, path)
    for text in wanted.license_texts:
        yield Ingredient(Role.LICENSE, text.encode(), None)
    if wanted.chat_template:
        yield read_text(Role.CHAT_TEMPLATE, wanted.chat_template)
    if wanted.mmproj:
        yield open_projector(stack, wanted.mmproj)
    yield from uploads.open_projectors(stack, store, wanted.uploads)
    numbers = count(adapters + 1)
    for path in wanted.loras:
        yield open_adapter(stack, path, number=next(numbers), architecture=architecture)
    for digest in wanted.lora_uploads:
        yield uploads.open_adapter(
            stack, store, digest, number=next(numbers), architecture=architecture
        )


def _kept(base: StoredModel, wanted: PackageRequest) -> Iterator[Descriptor]:
    """Yield the layers of the stored model that the request does not replace."""
    replaced = {
        role
        for role, path in ((Role.CHAT_TEMPLATE, wanted.chat_template), (Role.MMPROJ, wanted.mmproj))
        if path is not None
    }
    for file in Artifact.of(base.manifest).files:
        if file.role not in replaced:
            yield file.blob


def _form(wanted: PackageRequest, base: StoredModel | None) -> Format:
    """Return the format to write: the stored model's own where it can hold what is wanted."""
    if wanted.form is not None:
        return wanted.form
    if base is None or wanted.context_size is not None:
        return Format.DOCKER
    return Format.of(base.manifest) or Format.DOCKER


def _store(store: Store, item: Ingredient, meter: _Meter) -> Descriptor:
    media_type = DOCKER_TYPES[item.role]
    if isinstance(item.content, bytes):
        return store.inbox.add_document(media_type, item.content)
    stored: Measured | Descriptor | None = item.stored
    if stored is None:
        on_bytes, on_copy = meter.of(item.content)
        stored = store.inbox.add_file(item.content, on_bytes=on_bytes, on_copy=on_copy)
    path = {} if item.path is None else {media.FILE_PATH: item.path}
    return Descriptor(media_type, stored.digest, stored.size_bytes, path)


def _bring(store: Store, blob: Descriptor, listen: Listen, cancelled: IsCancelled) -> None:
    """Copy a layer that only a store of others has."""
    if store.inbox.has(blob):
        return
    expected = Measured(blob.digest, blob.size_bytes)
    with store.open_blob(blob) as read:
        told = follow(
            expected,
            read(0, blob.size_bytes),
            listen=listen,
            cancelled=cancelled,
            doing=f"copying {blob.digest}",
        )
        store.inbox.add_stream(expected, told)


class _Meter:
    """Tells how far each file is, by a label made of its path, and asks whether to stop."""

    def __init__(self, items: Sequence[Ingredient], listen: Listen, cancelled: IsCancelled) -> None:
        self._listen = listen
        self._cancelled = cancelled
        sources = [
            item.content
            for item in items
            if isinstance(item.content, Source) and item.stored is None
        ]
        if sources:
            listen(Planned(tuple(LayerProgress(_label(s), s.size_bytes, 0) for s in sources)))

    def of(self, source: Source) -> tuple[Callable[[int], None], Callable[[int], None]]:
        """Return what counts the bytes that are hashed of a file, and those that are copied.

        A copy was not planned: with its first byte there is twice as much to do.
        """
        done_bytes, todo_bytes = 0, source.size_bytes

        def count(size_bytes: int) -> None:
            nonlocal done_bytes
            check_cancelled(self._cancelled, f"adding {source.path.name}")
            done_bytes += size_bytes
            self._listen(LayerProgress(_label(source), todo_bytes, done_bytes))

        def count_copied(size_bytes: int) -> None:
            nonlocal todo_bytes
            todo_bytes = 2 * source.size_bytes
            count(size_bytes)

        return count, count_copied


def _label(source: Source) -> Digest:
    return Digest.of(str(source.path).encode("utf-8", "surrogateescape"))
