"""The daemon: puts the parts together, listens, and takes them apart again in order.

The only module that knows all packages but the engine's own: native code is loaded by workers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import runner
from runner.api import About, App, Backend, Keys, RemoteMedia
from runner.config import Settings
from runner.durations import render_keep_alive
from runner.errors import RunnerError
from runner.exposure import build_policy, check_exposure, find_bridges, read_keys
from runner.listening import Addresses as Addresses
from runner.listening import adopt_addresses, listen
from runner.net import (
    AccessRecord,
    Inherited,
    Limits,
    Server,
    notify_ready,
    take_inherited,
)
from runner.oci import Artifact
from runner.registry.network import Network, read_network
from runner.registry.remote_files import RemoteFiles
from runner.service import (
    Aliases,
    Catalogue,
    Configured,
    Configuring,
    EngineLimits,
    Engines,
    Options,
    ResponseStore,
    Tally,
    Transfers,
    Tuning,
    Upkeep,
    available_bytes,
)
from runner.service.lease import Spawn
from runner.store import Store, StoredModel, find_store
from runner.supervise import Worker, worker_command
from runner.transfer.client import TransferClient
from runner.wire.messages import EngineWishes, Load, MemoryNeed
from runner.worker import footprint
from runner.worker.machine import describe_machine

LAST_GRACE_S = 5.0  # for workers to exit, once every answer is complete or cut
LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")
BINDING = Path(runner.__file__).parent / "binding"  # where the native library lies

LOG = logging.getLogger(__name__)
ACCESS = logging.getLogger("runner.access")
PROBES = ("/livez", "/readyz", "/health")


def serve(settings: Settings, announce: Callable[[Addresses], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second one of them does not wait for running answers.

    ``announce`` is told the addresses once connections are accepted. Raises RunnerError for
    settings that cannot be, a port in use, a broken store.
    """
    inherited = take_inherited(os.environ, pid=os.getpid())
    settings = adopt_addresses(settings, inherited)
    keys = read_keys(settings)
    check_exposure(settings, keys)
    network = build_network(settings, os.environ)
    asyncio.run(_serve(settings, keys, network, inherited, announce))


async def _serve(
    settings: Settings,
    keys: Keys,
    network: Network,
    inherited: Sequence[Inherited],
    announce: Callable[[Addresses], None],
) -> None:
    store = await asyncio.to_thread(open_store, settings)
    with _signals() as (stop, hurry):
        tally = Tally()
        async with _service(settings, store, network, tally) as service:
            catalogue, engines, transfers, configuring = service
            bridges = find_bridges(settings)
            responses = ResponseStore(settings.state_path / "responses")
            remote_media = build_remote_media(settings, network)
            app = App(
                catalogue,
                engines,
                transfers,
                responses=responses,
                configuring=configuring,
                upkeep=build_upkeep(settings, store),
                tally=tally,
                policy=build_policy(settings, keys, bridges=bridges),
                remote_media=remote_media,
                about=build_about(settings),
            )

            def note(record: AccessRecord) -> None:
                tally.answers[record.status] += 1
                log_access(record)

            server = Server(app, build_limits(settings), on_error=app.on_error, access_log=note)
            try:
                announce(await listen(server, settings, bridges=bridges, inherited=inherited))
                notify_ready(os.environ)
                sweeping = asyncio.create_task(_sweep(store))
                await stop.wait()
                LOG.info("stopping; running answers have %g s", settings.grace_s)
                sweeping.cancel()
            finally:
                transfers.stop()  # their clients can come again: nothing is worth waiting for
                await _drain(server, hurry, grace_s=settings.grace_s)
                remote_media.close()
                await responses.close()


@asynccontextmanager
async def _service(
    settings: Settings, store: Store, network: Network, tally: Tally
) -> AsyncIterator[tuple[Catalogue, Engines, Transfers, Configuring]]:
    """Open what serves requests, and close it: workers first, then the store's threads."""
    client = TransferClient(store, network, memory_bytes=partial(available_bytes, ()))
    transfers = Transfers(client, max_running=settings.max_transfers, tally=tally)
    catalogue = Catalogue(store, transfers, aliases=Aliases(settings.model_aliases))
    configuring = build_configuring(settings, catalogue)

    async def estimate(model: StoredModel, wishes: EngineWishes) -> MemoryNeed:
        metadata = await catalogue.describe(model)
        companions = Artifact.of(model.manifest).companions
        size_bytes = sum(file.blob.size_bytes for file in companions)
        return footprint.estimate(metadata, wishes, companions_bytes=size_bytes)

    engines = Engines(
        catalogue,
        build_spawn(),
        settings_for=configuring.settings_for,
        estimate=estimate,
        limits=build_engine_limits(settings),
        tally=tally,
        tuning=build_tuning(settings, os.environ),
        prefixes_path=settings.state_path / "prefixes",
        available_bytes=memory_meter(read_build()),
    )
    try:
        yield catalogue, engines, transfers, configuring
    finally:
        await engines.close(LAST_GRACE_S)
        await transfers.close()
        client.close()
        await catalogue.close()


def open_store(settings: Settings) -> Store:
    """Open the models' store: where the user says, else where it was moved, else the default."""
    path = settings.models_path
    if not settings.is_models_path_given:
        path = find_store(settings.models_memory, default=path)
    return Store(path, shared=settings.shared_paths)


def build_upkeep(settings: Settings, store: Store) -> Upkeep:
    """Say who keeps the store in order; a place that the user named is the user's to remember."""
    is_ours = not settings.is_models_path_given
    return Upkeep(store, memory=settings.models_memory if is_ours else None)


def build_spawn() -> Spawn:
    """Say how a worker is started: in this environment, less its secrets."""
    command = worker_command(os.environ)

    async def spawn(load: Load, on_progress: Callable[[float], None]) -> Worker:
        return await Worker.start(load, command=command, on_progress=on_progress)

    return spawn


async def _sweep(store: Store) -> None:
    """Remove what crashes left behind; a store that cannot be cleaned can still be used."""
    try:
        freed_bytes = await asyncio.to_thread(store.upkeep.sweep)
    except RunnerError as error:
        LOG.warning("the store could not be cleaned: %s", error)
    else:
        LOG.info("cleaned the store: %d bytes came free", freed_bytes)


# ---- listening and leaving -------------------------------------------------------------------


async def _drain(server: Server, hurry: asyncio.Event, *, grace_s: float) -> None:
    """Let running answers finish, until ``hurry``."""
    draining = asyncio.create_task(server.drain(grace_s))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not draining.done():
        await server.drain(0)
    await draining


@contextmanager
def _signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Turn SIGTERM and SIGINT into two events: stop, and the second time hurry.

    SIGHUP is ignored, so that a daemon started from a terminal survives it.
    """
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asked = (signal.SIGTERM, signal.SIGINT)
    for number in asked:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop, hurry
    finally:
        for number in asked:
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGHUP, before)


def log_access(record: AccessRecord) -> None:
    """Write the access log's line; what probes ask every few seconds is for those who debug."""
    is_probe = record.target in PROBES and record.status == 200
    ACCESS.log(
        logging.DEBUG if is_probe else logging.INFO,
        '%s "%s %s" %d %d %.3f %s "%s"',
        record.peer,
        record.method,
        record.target,
        record.status,
        record.body_bytes,
        record.duration_s,
        record.request_id,
        record.user_agent,
        extra={"facts": record._asdict()},
    )


# ---- settings to the parts' own values -------------------------------------------------------


def build_about(settings: Settings) -> About:
    """Say what the server tells of itself."""
    return About(
        version=runner.__version__,
        survey=survey_backend,
        log_path=settings.log_path,
        max_body_bytes=settings.max_body_bytes,
        record_requests=settings.record_requests,
        patience_s=settings.heartbeat_s,
    )


def build_limits(settings: Settings) -> Limits:
    """Say what a connection may take."""
    return Limits(
        max_connections=settings.max_connections,
        max_connections_per_peer=settings.max_connections_per_peer,
        head_s=settings.head_s,
        idle_s=settings.idle_s,
        body_s=settings.body_s,
        body_floor_bytes_per_s=settings.body_floor_bytes_per_s,
        write_stall_s=settings.write_stall_s,
        heartbeat_s=settings.heartbeat_s,
    )


def build_engine_limits(settings: Settings) -> EngineLimits:
    """Say how many models may be in memory."""
    if settings.max_loaded_models is None:
        return EngineLimits()
    return EngineLimits(max_loaded=settings.max_loaded_models)


def build_network(settings: Settings, env: Mapping[str, str]) -> Network:
    """Say how registries are reached; raise RunnerError(USAGE)."""
    flags = {
        "MODEL_RUNNER_REGISTRY_MIRRORS": settings.registry_mirrors,
        "RUNNER_INSECURE_REGISTRIES": settings.insecure_registries,
        "RUNNER_OFFLINE": settings.offline,
    }
    return read_network({**env, **{name: value for name, value in flags.items() if value}})


def build_remote_media(settings: Settings, network: Network) -> RemoteMedia:
    """Say who fetches what clients name by URL: nobody, unless the user said so."""
    return RemoteMedia(RemoteFiles(network).fetch if settings.remote_media else None)


def build_tuning(settings: Settings, env: Mapping[str, str]) -> Tuning | None:
    """Say where measured settings are kept, and for which machine, library and kernels they are."""
    if not settings.tuning:
        return None
    kernels = env.get("RUNNER_KERNELS", "on")  # as the workers will read it
    machine = describe_machine() | {"library": library_key(), "kernels": kernels}
    return Tuning(settings.state_path / "tuned", machine)


def library_key() -> str:
    """Name the build of the native library: a new one may be faster in other ways."""
    facts = read_build()
    try:
        return str(facts["inputs"]["key"])
    except (KeyError, TypeError):
        return "unknown"


def build_configuring(settings: Settings, catalogue: Catalogue) -> Configuring:
    """Say where models' options are kept, and what this daemon was told for all of them."""
    stated = {
        name: getattr(settings, name)
        for name in Options.__struct_fields__
        if name in Settings._fields
    }
    if settings.keep_alive_s is not None:
        stated["keep_alive"] = render_keep_alive(settings.keep_alive_s)
    configured = Configured(settings.state_path / "settings")
    return Configuring(catalogue, configured, Options(**stated))


def memory_meter(build: Any) -> Callable[[Iterable[int]], int | None]:
    """Say how memory is counted: a GPU's can be told by the workers alone, so it is not known."""
    on_cpu = isinstance(build, dict) and build.get("backend") == "cpu"
    return available_bytes if on_cpu else lambda pids: None


def survey_backend() -> Backend:
    """Tell what was built, without loading it: in Docker Model Runner's words for a backend."""
    library = next(
        (path for path in BINDING.glob("*runner_native.*") if path.suffix in LIBRARY_SUFFIXES), None
    )
    if library is None:
        return Backend("Not Installed: run python build_native.py", 0)
    facts = read_build()
    try:
        details = f"llama.cpp {facts['llama_cpp']['commit'][:9]}, {facts['backend']}"
    except (KeyError, TypeError):
        details = "llama.cpp, of an unknown build"
    return Backend(f"Running: {details}", library.stat().st_size)


def read_build() -> Any:
    """Read what is known of the library's build; None when nothing is."""
    try:
        return json.loads((BINDING / "build.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
