"""Pulls a model: its manifest by name, its blobs by digest, and its name last.

Whatever breaks between leaves unfinished downloads and pinned layers, never a model that lacks one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol, Self

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Manifest, ModelConfig, Reference
from runner.oci.config import MAX_CONFIG_BYTES
from runner.oci.retry import Patience
from runner.registry.caller import Caller
from runner.registry.registry import Resolved
from runner.registry.stream import OpenRange
from runner.store import Store, StoredModel
from runner.transfer.download import fetch_blob
from runner.transfer.pace import DEFAULT_PACE, Pace
from runner.transfer.plan import PullPlan, plan_pull
from runner.transfer.progress import IsCancelled, Listen, Note, Planned
from runner.transfer.publishing import find_stored, publish
from runner.transfer.threads import in_parallel, one_at_a_time, within

LAYERS_AT_ONCE = 3  # as Docker's; each may open several connections
CHECK_S = 5.0  # how long a registry may take to say whether a stored model is the latest


class ModelSource(Protocol):
    """What is asked of a :class:`~runner.registry.registry.Registry`."""

    def on_behalf(self, caller: Caller) -> Self:
        """Return the same for another caller."""
        ...

    def head(self, reference: Reference, *, patience: Patience | None = None) -> Digest | None:
        """Ask what a name points to."""
        ...

    def resolve(self, reference: Reference, *, patience: Patience | None = None) -> Resolved:
        """Fetch the manifest of a name, verified."""
        ...

    def blob(self, reference: Reference, descriptor: Descriptor) -> OpenRange:
        """Return what opens ranges of a blob."""
        ...

    def read_blob(self, reference: Reference, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Read a small blob, verified."""
        ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of a pull."""

    model: StoredModel
    is_cached: bool  # nothing had to be moved
    received_bytes: int = 0  # of blobs, over the line


def pull(
    store: Store,
    registry: ModelSource,
    reference: Reference,
    *,
    listen: Listen,
    cancelled: IsCancelled,
    bearer_token: str | None = None,
    pace: Pace = DEFAULT_PACE,
) -> Pulled:
    """Bring the model of a name into the store, and give it that name.

    Layers that are there already, with whatever model, are not fetched again; what an attempt
    before left is taken up. A model that is stored is used, with a note, when its registry cannot
    be asked: it is asked with little patience then, and not at all for a name with a digest.

    ``listen`` is called from several threads, one at a time. Raises RunnerError: those of
    :func:`~runner.transfer.download.fetch_blob` and of the registry; MODEL_NOT_FOUND;
    INVALID_MODEL for what is no model.
    """
    return _Pull(store, registry, reference, listen, cancelled, bearer_token, pace).run()


class _Pull:
    """One pull of one name."""

    def __init__(
        self,
        store: Store,
        registry: ModelSource,
        reference: Reference,
        listen: Listen,
        cancelled: IsCancelled,
        bearer_token: str | None,
        pace: Pace,
    ) -> None:
        self._store = store
        self._reference = reference
        self._tell = one_at_a_time(listen)
        self._pace = pace
        self._has_failed = threading.Event()
        self._is_cancelled = lambda: self._has_failed.is_set() or cancelled()
        caller = Caller(
            tell=lambda text: self._tell(Note(text)),
            is_cancelled=self._is_cancelled,
            bearer_token=bearer_token,
        )
        self._registry = registry.on_behalf(caller)

    def run(self) -> Pulled:
        """Pull."""
        stored = find_stored(self._store, str(self._reference))
        if stored is None:
            return self._fetch(self._registry.resolve(self._reference))
        if self._reference.digest is not None:
            model = self._store.publish(stored.manifest, self._reference)
            return Pulled(model or stored, is_cached=True)
        try:
            latest = within(CHECK_S, lambda: self._latest(stored))
        except RunnerError as error:
            if error.kind not in (Kind.REGISTRY_UNAVAILABLE, Kind.RATE_LIMITED):
                raise
            text = f"the stored {self._reference.familiar} is used; is it the latest? {error}"
            self._tell(Note(text, is_warning=True))
            latest = None
        return Pulled(stored, is_cached=True) if latest is None else self._fetch(latest)

    def _latest(self, stored: StoredModel) -> Resolved | None:
        """Ask for a newer model than the stored one; None: there is none.

        HEAD comes first: registries that count pulls do not count it.
        """
        patience = Patience(attempts=1)
        if self._registry.head(self._reference, patience=patience) == stored.id:
            return None
        found = self._registry.resolve(self._reference, patience=patience)
        return None if found.digest == stored.id else found

    def _fetch(self, found: Resolved) -> Pulled:
        """Fetch what is missing of a manifest, and publish it."""
        manifest = Manifest.parse(found.raw)
        known = find_stored(self._store, str(found.digest))
        if known is not None and (model := self._store.publish(manifest, self._reference)):
            self._tell_plan(self._plan(manifest))
            return Pulled(model, is_cached=True)
        received_bytes = 0

        def bring() -> Manifest:
            nonlocal received_bytes
            received_bytes += self._fetch_blobs(manifest)
            return manifest

        with self._store.inbox.pinned([manifest.digest, *(b.digest for b in manifest.blobs)]):
            name = self._reference
            model = publish(self._store, name, bring, what=name.familiar)
        self._check_still_there(found)
        return Pulled(model, is_cached=False, received_bytes=received_bytes)

    def _fetch_blobs(self, manifest: Manifest) -> int:
        """Fetch the config and check it, then the layers; return the bytes received."""
        inbox, plan = self._store.inbox, self._plan(manifest)
        inbox.check_room(plan.missing_bytes, f"pulling {self._reference.familiar}")
        self._tell_plan(plan)
        received = 0
        if not inbox.has(manifest.config):
            config = self._registry.read_blob(self._reference, manifest.config, MAX_CONFIG_BYTES)
            ModelConfig.parse(config)
            inbox.add_document(manifest.config.media_type, config)
            received = len(config)
        return received + sum(
            in_parallel(
                self._fetch_layer,
                plan.fetch,
                at_once=LAYERS_AT_ONCE,
                stop=self._has_failed,
                name="pull",
            )
        )

    def _fetch_layer(self, layer: Descriptor) -> int:
        return fetch_blob(
            self._store,
            layer,
            self._registry.blob(self._reference, layer),
            listen=self._tell,
            cancelled=self._is_cancelled,
            pace=self._pace,
        )

    def _check_still_there(self, found: Resolved) -> None:
        """Tell when the name moved while its layers came: what was pulled is whole, but older."""
        if self._reference.digest is not None:
            return
        name = self._reference.familiar
        try:
            now = self._registry.head(self._reference, patience=Patience(attempts=1))
        except RunnerError as error:
            if error.kind is Kind.MODEL_NOT_FOUND:
                self._tell(Note(f"{name} was deleted at the registry meanwhile", is_warning=True))
            return
        if now not in (None, found.digest, found.index):
            text = f"{name} was moved to {now} meanwhile; pulled was {found.digest}: pull it again"
            self._tell(Note(text, is_warning=True))

    def _plan(self, manifest: Manifest) -> PullPlan:
        inbox = self._store.inbox
        return plan_pull(manifest.layers, is_present=inbox.has, arrived_bytes=inbox.arrived_bytes)

    def _tell_plan(self, plan: PullPlan) -> None:
        self._tell(Planned(plan.layers))
