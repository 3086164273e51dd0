"""Says how a stored model is to be run, and changes what is kept of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.oci import ModelConfig
from runner.service.catalogue import spellings
from runner.service.configured import Configured, Record
from runner.service.loads import Models
from runner.service.options import ModelSettings, Options, Origin, merged, settle, strongest
from runner.store import StoredModel


@dataclass(frozen=True, slots=True)
class Setting:
    """What is kept of one model."""

    model: str  # the name in full, or the id of a model without one
    id: str | None  # "sha256:…"; None: no such model is stored
    options: Options  # of all who set something, by their order
    origins: Mapping[str, Origin]  # by options' names


class Configuring:
    """The options of models. Every method may raise the store's RunnerErrors."""

    def __init__(self, models: Models, configured: Configured, serve: Options) -> None:
        """``serve`` is what this daemon was told for all models."""
        self._models = models
        self._configured = configured
        self._serve = serve

    async def settings_for(self, model: StoredModel) -> ModelSettings:
        """Say how a model is to be run."""
        record = self._find(model)
        layers = {} if record is None else record.layers
        package = Options(context_size=packaged_context(model.config))
        return settle({**layers, "serve": self._serve, "package": package})

    async def explain(self, name: str) -> tuple[str, ModelSettings]:
        """Return a stored model's id, "sha256:…", and how it is to be run."""
        model = await self._models.resolve(name)
        return str(model.id), await self.settings_for(model)

    async def configure(
        self,
        name: str,
        new: Options,
        *,
        origin: Origin,
        unset: frozenset[str] = frozenset(),
    ) -> None:
        """Change some of a model's options and keep the others.

        Under a name that no model has they wait for one. Raises RunnerError: INVALID_REFERENCE.
        """
        model = await self._stored(name)
        key = _key(name, model)
        record = self._configured.records().get(key) if model is None else self._find(model)
        layers = {} if record is None else dict(record.layers)
        layers = {each: merged(options, Options(), unset) for each, options in layers.items()}
        layers[origin] = merged(layers.get(origin, Options()), new)
        self._configured.write(key, layers)
        if record is not None and record.model != key:
            self._configured.write(record.model, {})

    async def reset(self, name: str) -> bool:
        """Forget all that is kept of a model; return whether there was anything."""
        model = await self._stored(name)
        keys = {_key(name, model)} if model is None else {str(model.id), *model.tags}
        found = keys & self._configured.records().keys()
        for key in found:
            self._configured.write(key, {})
        return bool(found)

    async def kept(self, name: str | None = None) -> list[Setting]:
        """List what is kept, of one model or of all."""
        records = list(self._configured.records().values())
        if name is not None:
            model = await self._stored(name)
            key = _key(name, model)
            records = [record for record in records if record.model == key]
            if model is not None:
                found = self._find(model)
                records = [] if found is None else [found]
        return [await self._shown(record) for record in records]

    async def _shown(self, record: Record) -> Setting:
        model = await self._stored(record.model)
        options, origins = strongest(record.layers)
        id = None if model is None else str(model.id)
        return Setting(record.model, id, Options(**options), origins)

    async def _stored(self, name: str) -> StoredModel | None:
        try:
            return await self._models.resolve(name)
        except RunnerError as error:
            if error.kind not in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY):
                raise
            return None

    def _find(self, model: StoredModel) -> Record | None:
        """Find what is kept of a model under any of its names: the newest."""
        records = self._configured.records()
        found = [records[key] for key in (str(model.id), *model.tags) if key in records]
        return max(found, key=lambda record: record.written_s, default=None)


def packaged_context(config: ModelConfig) -> int | None:
    """Return the context that whoever packaged a model asks for, in tokens; None: no wish.

    Docker Model Runner packages every model with the context it was trained for: the most it could
    have, not what memory is to be taken for.
    """
    trained = config.gguf.get(f"{config.architecture}.context_length")
    is_wish = config.context_size is not None and str(config.context_size) != trained
    return config.context_size if is_wish else None


def _key(name: str, model: StoredModel | None) -> str:
    """Name what options are kept by: a tag stays when another model is pulled under it."""
    if model is None:
        return max(spellings(name), key=len)  # in full
    return model.tags[0] if model.tags else str(model.id)
