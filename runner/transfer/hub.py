"""Pulls a model from Hugging Face into the store, as the artifact that its files make.

The artifact follows from the files' bytes alone: the same revision gives the same id on every
machine, and so does packaging the same files. All bytes are verified: large files by the SHA-256 of
LFS, small ones by the id that git gives them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from runner.errors import Kind, RunnerError
from runner.oci import Artifact, Descriptor, Digest, Manifest, media
from runner.registry.caller import Caller
from runner.registry.hub_reference import HubReference
from runner.registry.hub_reply import HubFile
from runner.registry.huggingface import HuggingFace, Snapshot
from runner.registry.transport import ONCE
from runner.store import Store
from runner.transfer.download import fetch_blob, fetch_unknown
from runner.transfer.hub_files import HubFiles, choose_files
from runner.transfer.ingredients import look_at_projector, look_at_weights
from runner.transfer.layers import Format, write_documents
from runner.transfer.plan import plan_pull
from runner.transfer.progress import IsCancelled, Listen, Note, Planned
from runner.transfer.publishing import find_stored, publish
from runner.transfer.pull import CHECK_S, Pulled
from runner.transfer.threads import one_at_a_time, within

MAX_UNTRACKED_BYTES = 16 * 1024 * 1024  # of a file outside LFS; the hub allows 10 MB


def pull_hub(
    store: Store,
    hub: HuggingFace,
    asked: HubReference,
    *,
    listen: Listen,
    cancelled: IsCancelled,
    bearer_token: str | None = None,
) -> Pulled:
    """Bring a model into the store under ``asked.name``; what is there is not fetched again.

    A model that is stored under that name is used, with a note, when the hub cannot be asked; for
    a name with a commit the hub is not asked at all. ``bearer_token`` takes the place of HF_TOKEN.
    ``listen`` is called from several threads, one at a time.

    Raises RunnerError: MODEL_NOT_FOUND, REGISTRY_DENIED, RATE_LIMITED, REGISTRY_UNAVAILABLE of the
    hub; INVALID_MODEL for what is no GGUF model; INTEGRITY, DISK_FULL, CANCELLED.
    """
    tell = one_at_a_time(listen)
    caller = Caller(lambda text: tell(Note(text)), cancelled, bearer_token)
    stored = find_stored(store, str(asked.name))
    if stored is not None and asked.is_pinned:
        return Pulled(stored, is_cached=True)
    try:
        if stored is None:
            snapshot = hub.survey(asked, caller=caller)
        else:
            snapshot = within(CHECK_S, lambda: hub.survey(asked, caller=caller, patience=ONCE))
    except RunnerError as error:
        if stored is None or error.kind not in (Kind.REGISTRY_UNAVAILABLE, Kind.RATE_LIMITED):
            raise
        tell(Note(f"the stored {asked} is used; is it the latest? {error}", is_warning=True))
        return Pulled(stored, is_cached=True)
    if snapshot.repository.lower() != asked.repository.lower():
        tell(Note(f"hf.co/{asked.repository} is called {snapshot.repository} today"))
    files = choose_files(snapshot.files, asked.selector, source=f"hf.co/{asked.repository}")
    tell(Note(files.reason))
    return _HubPull(store, hub, snapshot, caller, tell).run(files)


@dataclass(frozen=True, slots=True)
class _HubPull:
    """One pull, of one commit."""

    store: Store
    hub: HuggingFace
    snapshot: Snapshot
    caller: Caller
    listen: Listen

    def run(self, files: HubFiles) -> Pulled:
        # Small files first: a gate is met before anything large is on its way.
        texts = [(media.LICENSE, self._read(file)) for file in files.licenses]
        if files.chat_template:
            texts.append((media.CHAT_TEMPLATE, self._read(files.chat_template)))
        large = [self._with_sha256(file) for file in files.large]
        blobs = [_describe(file) for file in large]
        received_bytes, was_there = 0, False

        def bring() -> Manifest:
            nonlocal received_bytes, was_there
            received_bytes += self._fetch(large, blobs)
            documents = [self.store.inbox.add_document(*text) for text in texts]
            manifest = self._package(large, blobs, documents, shards=len(files.weights))
            was_there = find_stored(self.store, str(manifest.digest)) is not None
            return manifest

        asked = self.snapshot.asked
        with self.store.inbox.pinned(blob.digest for blob in blobs):
            model = publish(self.store, asked.name, bring, what=str(asked))
        return Pulled(model, was_there and not received_bytes, received_bytes)

    def _with_sha256(self, file: HubFile) -> HubFile:
        """Return the file with the digest that names its blob; outside LFS, it is read for that."""
        if file.sha256 is not None:
            return file
        if file.size_bytes > MAX_UNTRACKED_BYTES:
            raise RunnerError(
                Kind.INVALID_MODEL,
                f"{file.path} of {self.snapshot.asked} is large, and its SHA-256 is not stated",
                hint="the repository keeps it outside of LFS; choose another one",
            )
        data = self._read(file)
        self.store.inbox.add_document(media.GGUF, data)
        return replace(file, sha256=Digest.of(data))

    def _fetch(self, files: list[HubFile], blobs: list[Descriptor]) -> int:
        """Bring the large files into the store; return the bytes received."""
        inbox = self.store.inbox
        plan = plan_pull(blobs, is_present=inbox.has, arrived_bytes=inbox.arrived_bytes)
        self.listen(Planned(plan.layers))
        inbox.check_room(plan.missing_bytes, f"pulling {self.snapshot.asked}")
        return sum(
            fetch_blob(
                self.store,
                blob,
                self.hub.open_range(self.snapshot, file, caller=self.caller),
                listen=self.listen,
                cancelled=self.caller.is_cancelled,
            )
            for file, blob in zip(files, blobs, strict=True)
        )

    def _package(
        self,
        files: list[HubFile],
        blobs: list[Descriptor],
        documents: list[Descriptor],
        *,
        shards: int,
    ) -> Manifest:
        """Look at the large files, the first ``shards`` of which are weights; write the manifest.

        Layers are in the order in which packaging of local files puts them.
        """
        with ExitStack() as stack:
            sources = [
                stack.enter_context(self.store.inbox.opened(blob, file.base_name))
                for file, blob in zip(files, blobs, strict=True)
            ]
            items, config = look_at_weights(sources[:shards])
            items += [look_at_projector(source) for source in sources[shards:]]
        named = [
            replace(blob, annotations={media.FILE_PATH: str(item.path)})
            for item, blob in zip(items, blobs, strict=True)
        ]
        layers = [*named[:shards], *documents, *named[shards:]]
        written = write_documents(
            config, Artifact.of_layers(layers).files, Format.DOCKER, is_folder=False
        )
        return written.manifest(self.store.inbox.add_document(written.config_type, written.config))

    def _read(self, file: HubFile) -> bytes:
        """Fetch a small file whole, and once more when it is not what git knows."""
        open_range = self.hub.open_range(self.snapshot, file, caller=self.caller)
        for _ in range(2):
            data = fetch_unknown(
                open_range, limit_bytes=file.size_bytes, cancelled=self.caller.is_cancelled
            )
            if file.matches(data):
                return data
        raise RunnerError(
            Kind.INTEGRITY,
            f"{file.path} of {self.snapshot.asked} arrived with other bytes than its commit has",
            hint="try again; if it stays so, something on the way changes files",
        )


def _describe(file: HubFile) -> Descriptor:
    assert file.sha256 is not None
    media_type = media.MMPROJ if "mmproj" in file.base_name.lower() else media.GGUF
    return Descriptor(media_type, file.sha256, file.size_bytes)
