"""The model store: an OCI image layout on disk, shared by processes, whole at every moment.

Reads take no lock. Blobs are written without it too; it is held only while the index changes and
while blobs are deleted. Every method blocks, and may raise RunnerError: STORE or DISK_FULL for
what the disk does, BUSY when another writer holds the lock too long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.gguf import ModelMetadata
from runner.oci import Artifact, Descriptor, Digest, Manifest, Reference
from runner.store import lookup
from runner.store.blobs import broken, is_present, stored_s
from runner.store.bundle import open_bundle
from runner.store.claims import oldest_claim_s
from runner.store.documents import Documents
from runner.store.faults import storage_errors
from runner.store.heads import read_facts
from runner.store.inbox import Inbox
from runner.store.index import Entry, Index, full_name, tag_name
from runner.store.indexfile import Draft, IndexFile
from runner.store.ingest import ingest_bytes
from runner.store.layout import Layout
from runner.store.models import Bundle, Removal, StoredModel
from runner.store.moving import OnProgress, check_target, clear_old, move_store
from runner.store.opening import open_layout
from runner.store.pins import pinned_digests
from runner.store.reading import ReadRange, open_blob
from runner.store.removal import only_read, plan_removal
from runner.store.shared import SharedStores
from runner.store.sweep import discard, is_older, needed_blobs
from runner.store.upkeep import Upkeep
from runner.store.uses import note_use

log = logging.getLogger(__name__)


class Store:
    """The store in the folder ``path``, which is made if it is missing.

    Behind it are the stores of ``shared``, in which nothing is ever written: what our own does not
    have is looked up there, and can be used as if it were ours.
    """

    def __init__(self, path: Path, *, shared: Sequence[Path] = (), is_ours: bool = True) -> None:
        self._open(Layout(path.absolute(), is_ours=is_ours))
        self._shared = SharedStores(
            [folder.absolute() for folder in shared], lambda folder: Store(folder, is_ours=False)
        )

    def _open(self, layout: Layout) -> None:
        with storage_errors("opening it", layout.root):
            index = IndexFile(layout, is_writable=open_layout(layout))
            index.read()  # makes a missing one and repairs a damaged one
        self._layout, self._index, self._documents = layout, index, Documents(layout)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._layout.root

    @property
    def inbox(self) -> Inbox:
        """Where blobs come in; raise RunnerError(STORE) for a store that may not be written."""
        self._require_writable()
        return Inbox(self._layout)

    @property
    def upkeep(self) -> Upkeep:
        """Chores: measuring, checking, pruning."""
        return Upkeep(self._index, elsewhere=self._elsewhere)

    def list(self) -> list[StoredModel]:
        """List the models in the order they were added, ours first.

        Damaged ones are left out, with a log.
        """
        with storage_errors("listing models", self.path):
            models = list(self._whole_models())
        known = {model.id for model in models}
        taken = {tag for model in models for tag in model.tags}
        for path, model in self._shared.list():
            if model.id not in known:
                known.add(model.id)
                tags = tuple(tag for tag in model.tags if tag not in taken)
                models.append(replace(model, tags=tags, shared_from=path))
                taken.update(tags)
        return models

    def resolve(self, text: str, *, partial: bool = True) -> StoredModel:
        """Find a model by name, id, short id or digest (dmr-contract.md 3.1 and 3.2).

        The last part of a name will do too where only one model has it, but not without
        ``partial``: what is deleted, pushed or pulled must be named in full.
        Raises RunnerError: INVALID_REFERENCE; MODEL_NOT_FOUND with near names in the hint;
        INTEGRITY when the model is listed but damaged.
        """
        with storage_errors("looking up a model", self.path):
            index = self._index.read()
            # A full name in a shared store counts for more than a part of a name in ours.
            for may_be_part in (False, True) if partial else (False,):
                entry = lookup.find(index, text, partial=may_be_part)
                if entry and (model := self._load_unless_removed(entry)):
                    return model
                if found := self._shared.resolve(text, partial=may_be_part):
                    return replace(found[1], shared_from=found[0])
            raise lookup.not_found(index, text)

    def publish(self, manifest: Manifest, name: Reference | None) -> StoredModel | None:
        """List a model whose blobs came in; return None when one of them was deleted meanwhile.

        Without a name it can be found by its id; a name without a tag is listed with the model's
        digest. Raises RunnerError(INVALID_MODEL) for a config that is none, or GGUF weights whose
        headers are not sound.
        """
        tag = None if name is None else full_name(name, manifest.digest)
        blobs = (manifest.descriptor, *manifest.blobs)
        self._require_writable()
        with storage_errors("adding a model", self.path):
            ingest_bytes(self._layout, manifest.raw)
            if not self._has(blobs):
                return None
            # Before the lock: a large vocabulary takes a moment. What is listed was looked at then.
            weights = Artifact.of(manifest).weights
            if weights and self._index.read().find(manifest.digest) is None:
                read_facts(self._layout, weights)
            with self._index.changing() as draft:
                if not self._has(blobs):
                    return None
                self._documents.read(manifest.descriptor)  # before it is listed
                entry = draft.index.find(manifest.digest)
                if entry is None or tag not in (None, *entry.tags):
                    draft.save(draft.index.with_model(manifest.descriptor, tag))
                return self._load_id(draft.index, manifest.digest)

    def tag(self, model: StoredModel, name: Reference) -> StoredModel:
        """Give a model one more tag, which any other model loses; return it with all its tags."""
        tag = tag_name(name)
        self._require_writable()
        if model.shared_from is not None:
            raise only_read(str(model.id), model.shared_from)
        with storage_errors("tagging a model", self.path), self._index.changing() as draft:
            entry = draft.index.find(model.id)
            if entry is None:
                raise lookup.not_found(draft.index, str(model.id))
            if tag not in entry.tags:
                draft.save(draft.index.with_model(entry.descriptor, tag))
            return self._load_id(draft.index, model.id)

    def remove(self, text: str, *, force: bool = False) -> Removal:
        """Remove a tag, and the model with its last one; by id, the model (dmr-contract.md 1.4).

        A model that is in use goes on running: its open files live until it is unloaded. Raises
        RunnerError: MODEL_NOT_FOUND; CONFLICT for an id with several tags, without ``force``.
        """
        self._require_writable()
        with storage_errors("removing a model", self.path), self._index.changing() as draft:
            entry, removal = self._plan_removal(draft.index, text, force=force)
            new = draft.index
            for tag in removal.untagged:
                new = new.without_tag(tag)
            if removal.deleted is None:
                draft.save(new)
            else:
                self._delete(draft, new.without_model(removal.deleted), entry)
            return removal

    def move(self, target: Path, *, on_start: Callable[[], None], on_progress: OnProgress) -> None:
        """Move the store to another folder, empty or not there yet; it is used from there on.

        On the same disk it is renamed; to another it is copied, each blob verified, and downloads
        that are not finished are left behind. ``on_start`` is called once nothing speaks against
        it. Raises RunnerError: USAGE, BUSY while a model is being added, DISK_FULL, INTEGRITY.
        """
        self._index.check_writable()
        check_target(self._layout, target)
        on_start()
        old = self._layout
        with storage_errors(f"moving to {target}", target), self._index.changing() as draft:
            is_copy = move_store(old, draft.index, target, on_progress=on_progress)
            self._open(Layout(target))
            if is_copy:
                clear_old(old)

    def bundle(self, model: StoredModel) -> Bundle:
        """Return the model's files for an engine, checked and linked.

        Raises RunnerError: INTEGRITY when a blob, or the user's file it is linked to, has changed.
        """
        with storage_errors("preparing a model's files", self.path):
            bundle = open_bundle(self._layout, model.manifest, holder=self._holder(model))
            note_use(bundle.gguf_path.parent)
            return bundle

    def describe(self, model: StoredModel) -> ModelMetadata:
        """Read the facts of a model from its weights' headers.

        Raises RunnerError: INTEGRITY for a damaged blob, INVALID_MODEL for a model without GGUF.
        """
        with storage_errors("reading a model's header", self.path):
            weights = Artifact.of(model.manifest).runnable_weights
            return read_facts(self._holder(model) or self._layout, weights)

    def open_blob(self, blob: Descriptor) -> AbstractContextManager[ReadRange]:
        """Open a blob for reading its parts; see :func:`runner.store.reading.open_blob`."""
        return open_blob(self._layout_with(blob), blob)

    def _require_writable(self) -> None:
        self._index.check_writable()

    def _holder(self, model: StoredModel) -> Layout | None:
        """Return the store of others that has the model; None: it is in our own."""
        path = model.shared_from
        return None if path is None else self._shared.get(path)._layout

    def _has(self, blobs: Iterable[Descriptor]) -> bool:
        return all(is_present(self._layout, blob) for blob in blobs)

    def _layout_with(self, blob: Descriptor) -> Layout:
        """Return the first store that has a blob; without any, our own."""
        layouts = (self._layout, *(store._layout for _, store in self._shared.available()))
        return next((each for each in layouts if is_present(each, blob)), self._layout)

    def _elsewhere(self, digest: Digest) -> Iterator[Path]:
        """Yield where stores of others would have a blob."""
        for _, store in self._shared.available():
            yield store._layout.blob(digest)

    def _whole_models(self) -> Iterator[StoredModel]:
        for entry in self._index.read().entries:
            try:
                model = self._load_unless_removed(entry)
            except RunnerError as error:
                log.warning("model %s is left out: %s", entry.descriptor.digest, error)
                continue
            if model is not None:
                yield model

    def _load_unless_removed(self, entry: Entry) -> StoredModel | None:
        """Read a model; None when a writer removed it since the index was read.

        A model leaves the index before its blobs go, so the index tells removed from damaged.
        """
        try:
            return self._load(entry)
        except RunnerError:
            if self._index.read().find(entry.descriptor.digest) is None:
                return None
            raise

    def _plan_removal(self, index: Index, text: str, *, force: bool) -> tuple[Entry, Removal]:
        try:
            return plan_removal(index, text, force=force)
        except RunnerError as error:
            found = self._shared.resolve(text, partial=False)
            if error.kind is not Kind.MODEL_NOT_FOUND or found is None:
                raise
            raise only_read(text, found[0]) from error

    def _load_id(self, index: Index, digest: Digest) -> StoredModel:
        entry = index.find(digest)
        if entry is None:
            raise lookup.not_found(index, str(digest))
        return self._load(entry)

    def _load(self, entry: Entry) -> StoredModel:
        """Read a model's documents and see that its blobs are there."""
        descriptor = entry.descriptor
        manifest, config = self._documents.read(descriptor)
        missing = [layer for layer in manifest.layers if not is_present(self._layout, layer)]
        if missing:
            raise broken(missing[0].digest, "is missing or of the wrong size")
        created_s = config.created_s
        return StoredModel(
            id=descriptor.digest,
            tags=entry.tags,
            created_s=stored_s(self._layout, descriptor) if created_s is None else created_s,
            config=config,
            manifest=manifest,
            size_bytes=manifest.size_bytes,
        )

    def _delete(self, draft: Draft, new: Index, entry: Entry) -> None:
        """Take a model out of the index, then delete what no other model needs.

        In this order: after a crash between, blobs without a model are left, which a sweep finds,
        and no model without blobs. The manifest goes first, so that no rebuilt index lists it.
        """
        mine = needed_blobs(self._layout, Index((entry,)))
        draft.save(new)
        needed, claim_s = needed_blobs(self._layout, new), oldest_claim_s(self._layout)
        pinned = pinned_digests(self._layout, needed=mine | needed, claim_s=claim_s)
        unneeded, first = mine - needed - pinned, entry.descriptor.digest
        blobs = map(self._layout.blob, sorted(unneeded, key=lambda digest: digest != first))
        doomed = [path for path in blobs if is_older(path, claim_s)]
        discard(self._layout, [*doomed, self._layout.bundle(first)])
