"""Engines without processes, and models without files, for tests of ``service``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

from msgspec import structs

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Manifest, ModelConfig
from runner.service.catalogue import EngineFiles
from runner.service.options import ModelSettings
from runner.store import StoredModel
from runner.supervise import Completion, Death
from runner.supervise.death import stopped
from runner.wire.messages import (
    AdapterFacts,
    Ask,
    Beat,
    DeviceMemory,
    EngineSettings,
    EngineWishes,
    Load,
    Measured,
    MemoryNeed,
    ModelFacts,
    Ready,
    RequestId,
    Submit,
    Tuned,
)

CRASH = Death(Kind.ENGINE_CRASHED, "it crashed (SIGSEGV)", hint="see the log", signal="SIGSEGV")
FACTS = ModelFacts(
    architecture="fake",
    description="a fake model",
    parameters=1,
    size_bytes=1,
    context_train=64,
    vocabulary=8,
    has_chat_template=False,
    chat_template="{{ messages }}",
    chat_template_caps={},
    pooling=False,
    bos_token="",
    eos_token="",
    adapters=(AdapterFacts(name="law", task="classify"),),
)
SETTINGS = EngineSettings(
    context_size=64,
    total_cells=64,
    parallel=1,
    slots=1,
    threads=1,
    batch_size=1,
    ubatch_size=1,
    flash_attention=False,
    kv_layout="unified",
    kv_type="f16",
    gpu_layers=0,
    target_gap_ms=100,
    max_queue=1,
)


def beat(*, resident_bytes: int, device: DeviceMemory | None = None) -> Beat:
    """An idle worker's numbers."""
    return Beat(
        step_running_s=0.0,
        running=0,
        waiting=0,
        cells_used=0,
        cells_total=64,
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        steps=0,
        resident_bytes=resident_bytes,
        device=device,
    )


class FakeEngine:
    """A loaded model that does what the test says."""

    def __init__(self, load: Load, pid: int) -> None:
        self.load = load
        self.pid = pid
        self.ready = Ready(
            pid=pid, model=FACTS, settings=SETTINGS, system_info="", devices=(), load_ms=1.0
        )
        self.beat: Beat | None = None
        self.submitted: list[Submit] = []
        self.asked: list[Ask] = []
        self.cancelled: list[RequestId] = []
        self.stops: list[float] = []  # the grace of each stop
        self.exits_at_once = True
        self.on_tuning: Callable[[Measured | Tuned], None] | None = None
        self.tuners: list[Callable[[Measured | Tuned], None]] = []
        self.exited: Callable[[], None] = lambda: None  # called at its end
        self._dead: asyncio.Future[Death] = asyncio.get_running_loop().create_future()

    @property
    def is_alive(self) -> bool:
        return not self._dead.done() and not self.stops

    def submit(self, request: Submit | Ask) -> Completion:
        if isinstance(request, Ask):
            self.asked.append(request)
        else:
            self.submitted.append(request)
        return Completion(len(self.submitted), cancel=self.cancelled.append)

    def tune(self, listener: Callable[[Measured | Tuned], None]) -> Callable[[], None]:
        self.tuners.append(listener)
        return lambda: self.tuners.remove(listener)

    def report(self, message: Measured | Tuned) -> None:
        """Tell of a search, as a worker does."""
        assert self.on_tuning is not None
        for listener in [self.on_tuning, *self.tuners]:
            listener(message)

    async def wait(self) -> Death:
        return await asyncio.shield(self._dead)

    async def stop(self, grace_s: float) -> Death:
        self.stops.append(grace_s)
        if self.exits_at_once:
            self.exit(stopped())
        return await self.wait()

    def exit(self, death: Death = CRASH) -> None:
        """End the process."""
        if not self._dead.done():
            self._dead.set_result(death)
            self.exited()


class FakeGpu:
    """A GPU's memory, which workers share: a load takes what it needs, or what is there."""

    def __init__(self, free_bytes: int, clock: Callable[[], float]) -> None:
        self.free_bytes = free_bytes
        self._clock = clock

    def tell(self) -> DeviceMemory:
        """What a worker sees."""
        return DeviceMemory(free_bytes=self.free_bytes, at_s=self._clock())

    def give(self, engine: FakeEngine, need_bytes: int) -> None:
        """Load a model into it, until the engine exits."""
        taken = min(need_bytes, self.free_bytes)
        self.free_bytes -= taken
        engine.ready = structs.replace(engine.ready, device=self.tell(), device_bytes=taken)

        def give_back() -> None:
            self.free_bytes += taken

        engine.exited = give_back


class FakeSpawn:
    """Starts fakes: at once, or when the test calls :meth:`finish`."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.gpu: FakeGpu | None = None
        self.loads: list[str] = []  # names of models, in order of loading
        self.given_up: list[str] = []
        self.engines: dict[str, FakeEngine] = {}  # the newest of each model
        self.progress: dict[str, Callable[[float], None]] = {}
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._pids = count(1000)

    async def __call__(self, load: Load, on_progress: Callable[[float], None]) -> FakeEngine:
        name = Path(load.model_path).name
        self.loads.append(name)
        self.progress[name] = on_progress
        if not self.at_once:
            pending = self._pending[name] = asyncio.get_running_loop().create_future()
            try:
                await pending
            except asyncio.CancelledError:
                self.given_up.append(name)
                raise
        engine = self.engines[name] = FakeEngine(load, next(self._pids))
        if self.gpu is not None:
            self.gpu.give(engine, 1100)  # as :func:`estimate` says of a model of 1000
        return engine

    def finish(self, name: str) -> None:
        """Let a load succeed."""
        self._pending[name].set_result(None)

    def fail(self, name: str, error: Exception) -> None:
        """Let a load fail."""
        self._pending[name].set_exception(error)


class FakeModels:
    """A catalogue of models ``a``, ``b``… that need no files."""

    def __init__(self, *names: str, size_bytes: int = 1000) -> None:
        self.models = {name: stored(name, size_bytes=size_bytes) for name in names}
        self.files: dict[str, EngineFiles] = {}

    async def resolve(self, name: str) -> StoredModel:
        tagged = (model for model in self.models.values() if name in model.tags)
        return next(tagged, None) or await self.obtain(name)

    async def obtain(self, name: str) -> StoredModel:
        if name not in self.models:
            raise RunnerError(Kind.MODEL_NOT_FOUND, f"no model {name}", hint="did you mean a?")
        return self.models[name]

    async def engine_files(self, model: StoredModel) -> EngineFiles:
        name = model.config.architecture
        return self.files.get(name, EngineFiles(model_path=Path("/models") / name))


async def as_usual(model: StoredModel) -> ModelSettings:
    """Nothing is set."""
    return ModelSettings(EngineWishes())


async def estimate(model: StoredModel, wishes: EngineWishes) -> MemoryNeed:
    """A model needs its size and a tenth."""
    return MemoryNeed(
        weights_bytes=model.size_bytes,
        cache_bytes=model.size_bytes // 10,
        compute_bytes=0,
        context_size=wishes.context_size or 64,
        device_bytes=model.size_bytes + model.size_bytes // 10,
    )


def stored(name: str, *, size_bytes: int = 1000) -> StoredModel:
    """A stored model; its architecture tells its name."""
    id = Digest.of(name.encode())
    return StoredModel(
        id=id,
        tags=(f"docker.io/ai/{name}:latest",),
        created_s=0,
        config=ModelConfig(architecture=name),
        manifest=Manifest.build(Descriptor("", id, 0), []),
        size_bytes=size_bytes,
    )
