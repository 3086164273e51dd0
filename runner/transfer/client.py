"""The one object that moves models: built from a store and what the daemon may reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Manifest, ModelConfig, Reference, find_registry
from runner.oci.config import MAX_CONFIG_BYTES
from runner.registry.caller import Caller
from runner.registry.dockerhub import DockerHub
from runner.registry.doctor import Diagnosis, diagnose, diagnose_registry, diagnose_url
from runner.registry.hub_reference import HUB_DOMAIN, HubReference, is_hub_name
from runner.registry.huggingface import HuggingFace
from runner.registry.login import log_in, log_out
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import (
    Store,
    StoredModel,
    find_package_gguf,
    is_package,
    package_reference,
    stored_name,
)
from runner.store.source import CHUNK_BYTES
from runner.transfer.archive import Layout, load, save
from runner.transfer.hub import pull_hub
from runner.transfer.package import PackageRequest, package
from runner.transfer.passage import check_cancelled
from runner.transfer.progress import IsCancelled, Listen, Note
from runner.transfer.pull import Pulled, pull
from runner.transfer.push import Pushed, push
from runner.transfer.search import SearchResult, Source, search
from runner.transfer.sources import DockerHubSource, HuggingFaceSource

__all__ = ["Diagnosis", "Pulled", "Pushed", "RemoteModel", "TransferClient"]

PROBED_MODEL = "ai/smollm2"  # a public one


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model in a registry, as :class:`StoredModel` tells of one in the store."""

    id: Digest
    config: ModelConfig
    size_bytes: int  # of its layers
    tags: tuple[str, ...] = ()
    shared_from: None = None  # no store has it

    @property
    def created_s(self) -> int:
        """Seconds since 1970; 0: its config does not say."""
        return self.config.created_s or 0


class TransferClient:
    """Moves models between the store and the places where they come from. Blocking, thread-safe.

    Every method may raise what its place raises; ``cancelled`` is asked often, and ends it with
    RunnerError(CANCELLED). ``bearer_token`` takes the place of every login that is configured.
    """

    def __init__(
        self, store: Store, network: Network, *, memory_bytes: Callable[[], int | None]
    ) -> None:
        """``memory_bytes`` tells what a model may take here; None: that is not known."""
        self._store = store
        self._memory_bytes = memory_bytes
        self._transport = Transport(network)
        self._registry = Registry(network, self._transport)
        self._hub = HuggingFace(self._transport)
        self._sources: dict[str, Source] = {
            "dockerhub": DockerHubSource(DockerHub(self._transport)),
            "huggingface": HuggingFaceSource(self._hub),
        }

    def close(self) -> None:
        """End the connections that are kept."""
        self._transport.close()

    def is_stored(self, source: str) -> bool:
        """Whether a model of that name is in the store, whole."""
        try:
            self._store.resolve(stored_name(source), partial=False)
        except RunnerError as error:
            if error.kind in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY, Kind.INVALID_REFERENCE):
                return False  # the last for names that only a hub understands
            raise
        return True

    def pull(
        self, source: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pulled:
        """Bring a model into the store: of a registry, of Hugging Face, or ``package:NAME``."""
        if is_package(source):
            return self._add_package(source, listen, cancelled)
        if is_hub_name(source):
            return pull_hub(
                self._store,
                self._hub,
                HubReference.parse(source),
                bearer_token=bearer_token,
                listen=listen,
                cancelled=cancelled,
            )
        return pull(
            self._store,
            self._registry,
            Reference.parse(source),
            bearer_token=bearer_token,
            listen=listen,
            cancelled=cancelled,
        )

    def push(
        self, name: str, *, bearer_token: str | None, listen: Listen, cancelled: IsCancelled
    ) -> Pushed:
        """Send a stored model to the registry that its full name says."""
        _check_no_hub(name, "pushing to", "give it a registry's name (runner tag), and push that")
        return push(
            self._store,
            self._registry,
            self._store.resolve(name, partial=False),
            Reference.parse(name),
            bearer_token=bearer_token,
            listen=listen,
            cancelled=cancelled,
        )

    def package(
        self, wanted: PackageRequest, name: str, *, listen: Listen, cancelled: IsCancelled
    ) -> StoredModel:
        """Make a model of local files or of a stored model."""
        reference = Reference.parse(stored_name(name))
        return package(self._store, wanted, reference, listen=listen, cancelled=cancelled)

    def add_blob(self, digest: Digest, source: IO[bytes], *, cancelled: IsCancelled) -> None:
        """Store bytes for a model that is packaged later; raise RunnerError(INVALID_REQUEST)."""

        def read() -> Iterator[bytes]:
            while piece := source.read(CHUNK_BYTES):
                check_cancelled(cancelled, "storing a blob")
                yield piece

        try:
            self._store.inbox.add_upload(digest, read())
        except RunnerError as error:
            if error.kind is not Kind.INTEGRITY:
                raise
            raise RunnerError(Kind.INVALID_REQUEST, error.message) from error

    def has_blob(self, digest: Digest) -> bool:
        """Whether bytes need not be sent."""
        return self._store.inbox.take_up(digest) is not None

    def save(
        self,
        name: str,
        target: IO[bytes],
        *,
        layout: Layout,
        listen: Listen,
        cancelled: IsCancelled,
    ) -> None:
        """Write a stored model as a tar archive, and flush it."""
        model = self._store.resolve(stored_name(name))
        save(self._store, model, target, layout=layout, listen=listen, cancelled=cancelled)
        target.flush()

    def load(
        self, source: IO[bytes], *, listen: Listen, cancelled: IsCancelled
    ) -> Sequence[StoredModel]:
        """Store the models of a tar archive."""
        return load(self._store, source, listen=listen, cancelled=cancelled)

    def inspect(self, name: str, *, listen: Listen, cancelled: IsCancelled) -> RemoteModel:
        """Read what a registry has under a name, without its layers."""
        _check_no_hub(name, "inspecting models of", "pull it first, or find it: runner search")
        reference = Reference.parse(name)
        caller = Caller(tell=lambda text: listen(Note(text)), is_cancelled=cancelled)
        registry = self._registry.on_behalf(caller)
        found = registry.resolve(reference)
        manifest = Manifest.parse(found.raw)
        config = ModelConfig.parse(registry.read_blob(reference, manifest.config, MAX_CONFIG_BYTES))
        return RemoteModel(found.digest, config, manifest.size_bytes)

    def search(self, term: str, *, limit: int, source: str | None) -> SearchResult:
        """Search for models to pull; ``source`` is ``dockerhub`` or ``huggingface``, None: both."""
        if source is not None and source not in self._sources:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"source: expected {' or '.join(self._sources)}, got {source!r}",
                param="source",
            )
        names = self._sources if source is None else [source]
        sources = [self._sources[name] for name in names]
        return search(sources, term, limit=limit, memory_bytes=self._memory_bytes())

    def diagnose(self, name: str | None) -> tuple[Diagnosis, ...]:
        """Try every step to a registry, or to a model; None: to Docker Hub's and Hugging Face."""
        domain = find_registry(name or "")
        if domain == HUB_DOMAIN or (name is not None and is_hub_name(name)):
            return (self._diagnose_hub(),)
        if domain is not None:
            return (diagnose_registry(self._registry, domain),)
        reference = Reference.parse(name or PROBED_MODEL)
        found = diagnose(self._registry, reference)
        return (found,) if name is not None else (found, self._diagnose_hub())

    def log_in(self, host: str, username: str, password: str) -> str:
        """Show a login to a registry and keep it; return where."""
        return log_in(self._registry, host, username, password)

    def log_out(self, host: str) -> bool:
        """Forget the login of a registry; tell whether there was one."""
        return log_out(self._registry.network, host)

    def _diagnose_hub(self) -> Diagnosis:
        return diagnose_url(self._transport, self._registry.network.hf_endpoint)

    def _add_package(self, source: str, listen: Listen, cancelled: IsCancelled) -> Pulled:
        reference = package_reference(source)
        if self.is_stored(source):
            return Pulled(self._store.resolve(str(reference)), is_cached=True)
        wanted = PackageRequest(gguf=find_package_gguf(source.strip()))
        model = package(self._store, wanted, reference, listen=listen, cancelled=cancelled)
        return Pulled(model, is_cached=False)


def _check_no_hub(name: str, doing: str, hint: str) -> None:
    """Refuse what registries can do and Hugging Face cannot."""
    if is_hub_name(name):
        raise RunnerError(
            Kind.INVALID_REQUEST, f"{doing} Hugging Face is not supported", hint=hint, param="model"
        )
