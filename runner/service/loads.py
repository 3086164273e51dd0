"""From a stored model and how it is to be run to the message that a worker loads it by."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from runner.errors import Kind, RunnerError
from runner.service.catalogue import EngineFiles
from runner.service.resident import ModelSettings
from runner.service.tuning import Record, Tuning
from runner.store import StoredModel
from runner.wire.messages import WIRE_VERSION, EngineWishes, Load


class Models(Protocol):
    """What is asked of the catalogue."""

    async def resolve(self, name: str) -> StoredModel:
        """Find a stored model."""

    async def obtain(self, name: str) -> StoredModel:
        """Find a model, adding one that an installed package ships."""

    async def engine_files(self, model: StoredModel) -> EngineFiles:
        """Say what an engine loads."""


class Loads:
    """Says what a worker is told: files, wishes, and what was measured before."""

    def __init__(
        self,
        models: Models,
        tuning: Tuning | None,
        *,
        library_path: Path | None,
        prefixes_path: Path | None = None,
    ) -> None:
        """``prefixes_path`` has a folder for each model whose prefixes are kept on disk."""
        self._models = models
        self._prefixes_path = prefixes_path
        self._tuning = tuning
        self._library_path = library_path

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
            library_path=None if self._library_path is None else str(self._library_path),
            wishes=wishes,
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
            message = f"the draft model {name} cannot be used: {error.message}"
            raise RunnerError(Kind.LOAD_FAILED, message, hint=error.hint) from error


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
