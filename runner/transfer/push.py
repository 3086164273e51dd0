"""Sends a model to a registry: layers side by side, then the config, then the name.

In this order a registry never has a name that leads to what is not there, whenever we are stopped;
what is there already is not sent again, so a push that is repeated goes on where it was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Reference
from runner.oci.reference import DEFAULT_DOMAIN, DEFAULT_ORGANIZATION
from runner.oci.scope import Scope
from runner.registry.caller import Caller
from runner.registry.hub_reference import HUB_DOMAIN
from runner.registry.registry import Registry
from runner.registry.upload import Outcome, Uploader
from runner.store import Store, StoredModel
from runner.transfer.passage import check_cancelled
from runner.transfer.progress import Event, IsCancelled, LayerProgress, Listen, Note, Planned
from runner.transfer.threads import in_parallel, one_at_a_time

MAX_LAYERS_AT_ONCE = 5
DEFAULT_NAMES = f"{DEFAULT_DOMAIN}/{DEFAULT_ORGANIZATION}/"  # what a name without a host means
MAX_NEIGHBOURS = 4  # other repositories of the registry that may lend layers


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, in bytes of layers and config."""

    digest: Digest
    sent_bytes: int = 0
    mounted_bytes: int = 0  # taken by the registry from another of its repositories
    present_bytes: int = 0  # were there


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What a push has to bring about."""

    layers: tuple[Descriptor, ...]  # each digest once
    config: Descriptor
    sources: Mapping[Digest, tuple[str, ...]]  # other repositories there that may hold a blob
    name: str  # of the manifest: its tag, or its digest


def plan_push(model: StoredModel, others: Iterable[StoredModel], reference: Reference) -> PushPlan:
    """Plan a push of ``model`` to ``reference``; ``others`` are all models that we have.

    A repository may hold a blob when a model of ours that has it is named after the repository:
    we pulled it from there, or pushed it there. Raises RunnerError(INVALID_REFERENCE).
    """
    if reference.domain == HUB_DOMAIN:
        raise RunnerError(
            Kind.INVALID_REFERENCE,
            f"{reference} is on Hugging Face, which takes no pushes of models",
            hint="name it after a registry (runner tag), or upload the file with Hugging Face's hf",
        )
    if reference.digest not in (None, model.id):
        raise RunnerError(
            Kind.INVALID_REFERENCE,
            f"the model is {model.id}, so it cannot be pushed as {reference}",
            hint="give NAME:TAG; the digest follows from the model",
        )
    layers = {layer.digest: layer for layer in model.manifest.layers}
    layers.pop(model.manifest.config.digest, None)
    sources: dict[Digest, tuple[str, ...]] = {}
    for other in (model, *others):
        names = [Reference.parse(tag) for tag in other.tags]
        found = [name.repository for name in names if name.domain == reference.domain]
        for blob in other.manifest.blobs:
            known = dict.fromkeys((*sources.get(blob.digest, ()), *found))
            known.pop(reference.repository, None)
            sources[blob.digest] = tuple(known)
    return PushPlan(
        layers=tuple(layers.values()),
        config=model.manifest.config,
        sources={blob.digest: sources[blob.digest] for blob in model.manifest.blobs},
        name=reference.tag or str(model.id),
    )


def push(
    store: Store,
    registry: Registry,
    model: StoredModel,
    reference: Reference,
    *,
    bearer_token: str | None = None,
    listen: Listen,
    cancelled: IsCancelled,
) -> Pushed:
    """Have ``model`` under ``reference`` in its registry when this returns.

    Raises RunnerError: INVALID_REFERENCE, REGISTRY_DENIED, RATE_LIMITED, REGISTRY_UNAVAILABLE,
    INTEGRITY when a blob of ours is damaged, CANCELLED. The registry keeps the layers that
    arrived, and nothing has a name before all of them have.
    """
    plan = plan_push(model, store.list(), reference)
    work = _Push(store, plan, listen, cancelled)
    caller = Caller(work.note, work.is_stopped, bearer_token)
    session = registry.on_behalf(caller).session(reference.domain, *_scopes(plan, reference))
    try:
        return work.run(Uploader(session, reference.repository), model)
    except RunnerError as error:
        if error.kind is Kind.REGISTRY_DENIED and reference.name.startswith(DEFAULT_NAMES):
            error.hint = (
                f"{DEFAULT_NAMES} is Docker's own: name the model as yours "
                f"(runner tag {reference.base_name} YOU/{reference.base_name}), and log in"
            )
        raise


def _scopes(plan: PushPlan, reference: Reference) -> list[Scope]:
    """Say what tokens are for: to push there, and to take layers from the neighbours."""
    neighbours = dict.fromkeys(name for names in plan.sources.values() for name in names)
    pulls = [Scope.of(name, "pull") for name in list(neighbours)[:MAX_NEIGHBOURS]]
    return [Scope.of(reference.repository, "pull", "push"), *pulls]


class _Push:
    """One push, worked on by several threads."""

    def __init__(
        self, store: Store, plan: PushPlan, listen: Listen, cancelled: IsCancelled
    ) -> None:
        self._store, self._plan, self._listen = store, plan, listen
        self._tell = one_at_a_time(self._announce)
        self._cancelled = cancelled
        self._layers = tuple(LayerProgress(blob.digest, blob.size_bytes, 0) for blob in plan.layers)
        self._has_failed = threading.Event()
        self._is_announced = False

    def run(self, uploader: Uploader, model: StoredModel) -> Pushed:
        """Do it, in the order that keeps every name whole."""
        if uploader.serves(self._plan.name, model.id):
            for layer in self._layers:
                self._tell(replace(layer, done_bytes=layer.size_bytes, is_present=True))
            blobs = (*self._plan.layers, self._plan.config)
            return Pushed(model.id, present_bytes=sum(blob.size_bytes for blob in blobs))
        outcomes = self._put_layers(uploader)
        outcomes.append(self._put(uploader, self._plan.config))
        manifest = model.manifest
        self._check()
        uploader.put_manifest(manifest.raw, manifest.media_type, self._plan.name)
        return _sum_up(model.id, outcomes)

    def note(self, message: str) -> None:
        """Tell people why nothing moves."""
        self._tell(Note(message, is_warning=True))

    def is_stopped(self) -> bool:
        """Whether there is no use in going on."""
        return self._has_failed.is_set() or self._cancelled()

    def _put_layers(self, uploader: Uploader) -> list[tuple[Outcome, int]]:
        """Put all layers, some at a time; when one fails the others stop."""
        return in_parallel(
            lambda blob: self._put(uploader, blob),
            self._plan.layers,
            at_once=MAX_LAYERS_AT_ONCE,
            stop=self._has_failed,
            name="push",
        )

    def _put(self, uploader: Uploader, blob: Descriptor) -> tuple[Outcome, int]:
        """Put one blob; say how it came there, and its size."""
        state = LayerProgress(blob.digest, blob.size_bytes, 0)
        is_layer = blob is not self._plan.config

        def tell(done_bytes: int) -> None:
            self._check()
            if is_layer:
                self._tell(replace(state, done_bytes=done_bytes))

        self._check()
        with self._store.open_blob(blob) as read:
            outcome = uploader.put_blob(
                blob, read, mount_from=self._plan.sources[blob.digest], on_progress=tell
            )
        if is_layer:
            is_present = outcome is not Outcome.SENT
            self._tell(replace(state, done_bytes=blob.size_bytes, is_present=is_present))
        return outcome, blob.size_bytes

    def _announce(self, event: Event) -> None:
        """Tell an event, and before the first layer moves, what there is to do.

        Not sooner: a registry that refuses the push is told before any progress is.
        """
        if isinstance(event, LayerProgress) and not self._is_announced:
            self._is_announced = True
            self._listen(Planned(self._layers))
        self._listen(event)

    def _check(self) -> None:
        check_cancelled(self.is_stopped, "the push")


def _sum_up(digest: Digest, outcomes: Iterable[tuple[Outcome, int]]) -> Pushed:
    total = dict.fromkeys(Outcome, 0)
    for outcome, size_bytes in outcomes:
        total[outcome] += size_bytes
    return Pushed(digest, total[Outcome.SENT], total[Outcome.MOUNTED], total[Outcome.PRESENT])
