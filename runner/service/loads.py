"""From a stored model and how it is to be run to the message that a worker loads it by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from runner.errors import Kind, RunnerError
from runner.service.catalogue import EngineFiles, spellings
from runner.service.options import ModelSettings
from runner.service.tuning import Record, Tuning
from runner.store import StoredModel
from runner.wire.messages import WIRE_VERSION, EngineWishes, Load, MemoryNeed

MAX_NEEDS = 256  # remembered estimates


class Models(Protocol):
    """What is asked of the catalogue."""

    async def resolve(self, name: str) -> StoredModel:
        """Find a stored model."""

    async def obtain(self, name: str) -> StoredModel:
        """Find a model, adding one that an installed package ships."""

    async def engine_files(self, model: StoredModel) -> EngineFiles:
        """Say what an engine loads."""


async def called_by(models: Models, names: Sequence[str]) -> set[str]:
    """Return all that some names may mean: what is written, and the ids of the models now."""
    called = set[str]().union(*map(spellings, names))
    for name in names:
        try:
            called.add(str((await models.resolve(name)).id))
        except RunnerError as error:
            # One that was deleted may still be loaded.
            if error.kind not in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY):
                raise
    return called


Estimate = Callable[[StoredModel, EngineWishes], Awaitable[MemoryNeed]]
"""Tells the least memory that a model takes under some wishes. Raises RunnerError."""


class Loads:
    """Says what a worker is told: files, wishes, what was measured; and what it will need."""

    def __init__(
        self,
        models: Models,
        tuning: Tuning | None,
        *,
        estimate: Estimate,
        library_path: Path | None,
        prefixes_path: Path | None = None,
    ) -> None:
        """``prefixes_path`` has a folder for each model whose prefixes are kept on disk."""
        self._models = models
        self._prefixes_path = prefixes_path
        self._tuning = tuning
        self._library_path = library_path
        self._estimate = estimate
        self._needs: dict[tuple[str, ModelSettings], MemoryNeed] = {}

    async def need(self, model: StoredModel, settings: ModelSettings) -> MemoryNeed:
        """Estimate the least memory of a model, with the draft model that it is to have.

        Raises RunnerError for a file that cannot be read.
        """
        asked = (str(model.id), settings)
        if asked not in self._needs:
            need = await self._estimate(model, settings.wishes)
            if settings.draft_model is not None:
                need = with_draft(need, await self._draft_need(settings))
            if len(self._needs) >= MAX_NEEDS:
                self._needs.clear()
            self._needs[asked] = need
        return self._needs[asked]

    async def _draft_need(self, settings: ModelSettings) -> MemoryNeed:
        assert settings.draft_model is not None
        try:
            model = await self._models.obtain(settings.draft_model)
            return await self._estimate(model, settings.wishes)
        except RunnerError as error:
            raise _no_draft(settings.draft_model, error) from error

    async def describe(self, model: StoredModel, settings: ModelSettings) -> Load:
        """Build the message; raise RunnerError for files that are not there."""
        files = await self._models.engine_files(model)
        draft = None
        if settings.draft_model is not None:
            draft = await self._draft(settings.draft_model)
        wishes = wishes_with(settings.wishes, files, draft=draft)
        record = await self._recall(model, wishes)
        after_s = self._tuning.after_s if self._tuning is not None and record is None else None
        return Load(
            version=WIRE_VERSION,
            model_path=str(files.model_path),
            projector_path=None if files.projector_path is None else str(files.projector_path),
            library_path=None if self._library_path is None else str(self._library_path),
            wishes=wishes,
            adapter_paths=tuple(map(str, files.adapter_paths)),
            tuned=None if record is None else record.settings,
            tune_after_s=after_s,
            prefix_dir=self._prefix_dir(model, wishes),
        )

    def _prefix_dir(self, model: StoredModel, wishes: EngineWishes) -> str | None:
        if self._prefixes_path is None or not wishes.prefix_disk_bytes:
            return None
        return str(self._prefixes_path / str(model.id).replace(":", "-"))

    async def tuned(self, model: StoredModel, settings: ModelSettings) -> Record | None:
        """Return what was measured of a model here, with the wishes of today; None: nothing."""
        files = await self._models.engine_files(model)
        return await self._recall(model, wishes_with(settings.wishes, files))

    async def _recall(self, model: StoredModel, wishes: EngineWishes) -> Record | None:
        return None if self._tuning is None else await self._tuning.recall(str(model.id), wishes)

    async def _draft(self, name: str) -> EngineFiles:
        """Find what guesses for a model; raise RunnerError(LOAD_FAILED)."""
        try:
            return await self._models.engine_files(await self._models.obtain(name))
        except RunnerError as error:
            raise _no_draft(name, error) from error


def _no_draft(name: str, cause: RunnerError) -> RunnerError:
    message = f"the draft model {name} cannot be used: {cause.message}"
    return RunnerError(Kind.LOAD_FAILED, message, hint=cause.hint)


def with_draft(need: MemoryNeed, draft: MemoryNeed) -> MemoryNeed:
    """Add what a draft model takes beside its model, in a context of its own."""
    return msgspec.structs.replace(
        need,
        weights_bytes=need.weights_bytes + draft.weights_bytes,
        cache_bytes=need.cache_bytes + draft.cache_bytes,
        compute_bytes=need.compute_bytes + draft.compute_bytes,
        device_bytes=need.device_bytes + draft.device_bytes,
    )


def wishes_with(
    wishes: EngineWishes, files: EngineFiles, *, draft: EngineFiles | None = None
) -> EngineWishes:
    """Fill what the user left open with what the stored models bring."""
    return msgspec.structs.replace(
        wishes,
        context_size=wishes.context_size or files.context_size,
        chat_template=wishes.chat_template or files.chat_template,
        draft_model_path=str(draft.model_path) if draft else None,
    )
