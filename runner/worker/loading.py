"""From a ``Load`` message to a model that can compute: check, load, choose settings, warm up."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from runner import binding
from runner.binding import Code, NativeError
from runner.errors import Kind, RunnerError
from runner.gguf import ModelMetadata, render_size
from runner.wire.messages import EngineSettings, EngineWishes, Load, ModelFacts, Ready
from runner.worker import plain_tools, pooling_settings
from runner.worker import settings as choosing
from runner.worker.adapters import LoadedAdapters, load_adapters
from runner.worker.conversation import Conversations
from runner.worker.footprint import estimate, need, on_device, settings_for
from runner.worker.machine import device_memory, survey
from runner.worker.media import Seeing, open_projector
from runner.worker.model_file import check_model_file
from runner.worker.offload import ALL, MARGIN_BYTES, gpu_layers

TEMPLATE_LIMIT_S = 5.0  # its analysis renders it some twenty times

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedPool:
    """A model in memory that makes vectors or ranks. The engine thread owns the embedder."""

    model: binding.Model
    embedder: binding.Embedder
    info: dict[str, Any]  # as ``rn_model_info`` tells it
    ready: Ready


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory. The engine thread, which made it, owns the context."""

    model: binding.Model
    context: binding.Context
    conversations: Conversations | None
    no_template: str  # why there is none
    adapters: LoadedAdapters
    memory: dict[str, Any]  # what the scheduler needs to know of the context's, by its names
    penalty_tokens: int  # the model's own hint; 0: none
    traits: choosing.Traits
    machine: choosing.Machine  # before the load
    ready: Ready
    seeing: Seeing | None = None  # None: it takes text only


def open_library(path: str | None, *, log_level: int, kernels: bool) -> binding.Library:
    """Load the native library; raise RunnerError(LOAD_FAILED) that says how to get one.

    ``log_level`` and ``kernels`` as :meth:`binding.Library.init` takes them.
    """
    try:
        library = binding.load(Path(path) if path else None)
    except ImportError as error:
        raise RunnerError(Kind.LOAD_FAILED, str(error)) from error
    library.init(log_level=log_level, kernels=kernels)
    return library


def load(message: Load, library: binding.Library, watch: binding.LoadWatch) -> Loaded | LoadedPool:
    """Load; ``watch`` shows the progress. Raises RunnerError, ready to be told to a person."""
    began_s = time.monotonic()
    path = Path(message.model_path)
    metadata = check_model_file(path)
    try:
        system = library.system()
        machine = survey(system["devices"])
        message = _with_layers(message, metadata, machine)
        loaded = _load(message, library, watch, system=system, machine=machine, metadata=metadata)
    except NativeError as error:
        raise _explain(error, message.wishes, metadata, library) from error
    except MemoryError as error:
        raise _no_memory() from error
    left = device_memory(library.system()["devices"])
    ready = structs.replace(
        loaded.ready,
        load_ms=(time.monotonic() - began_s) * 1000,
        device=left,
        device_bytes=max(0, (machine.device_free_bytes or 0) - (left.free_bytes if left else 0)),
    )
    if isinstance(loaded, LoadedPool):
        return replace(loaded, ready=ready)
    return replace(loaded, ready=ready)


def _load(
    message: Load,
    library: binding.Library,
    watch: binding.LoadWatch,
    *,
    system: dict[str, Any],
    machine: choosing.Machine,
    metadata: ModelMetadata,
) -> Loaded | LoadedPool:
    wishes = message.wishes
    layers = ALL if wishes.gpu_layers is None else wishes.gpu_layers
    model = binding.Model(library, Path(message.model_path), gpu_layers=layers, watch=watch)
    info = model.info()
    if info["pooling"] and message.adapter_paths:
        problem = "adapters of a model for embeddings or ranking are not supported"
        raise RunnerError(Kind.INVALID_MODEL, problem)
    if info["pooling"]:
        return _load_pool(message, model, system, machine, info=info, metadata=metadata)
    paths = [Path(path) for path in message.adapter_paths]
    adapters = load_adapters(model, paths, architecture=metadata.architecture)
    traits = choosing.traits(
        metadata,
        has_state=info["recurrent"] or info["hybrid"],
        window=info["n_swa"],
        window_share=_window_share(info, metadata),
    )
    wanted = choosing.choose(wishes, traits, machine, message.tuned)
    context = binding.Context(model, choosing.context_options(wanted))
    if wishes.draft_model_path is not None:
        _take_draft(context, Path(wishes.draft_model_path), wanted)
    template, no_template = _make_template(model, wishes.chat_template)
    seeing, blindness = _open_projector(model, message.projector_path, wanted, context.info)
    takes = {} if seeing is None else {"vision": seeing.takes.vision, "audio": seeing.takes.audio}
    ready = Ready(
        pid=os.getpid(),
        model=structs.replace(
            _facts(info, metadata, template.info if template else {}),
            adapters=adapters.facts,
            **takes,
        ),
        settings=_in_force(wanted, context.info),
        system_info=system["system_info"],
        devices=tuple(f"{d['name']}: {d['description']}" for d in system["devices"]),
        load_ms=0.0,
    )
    return Loaded(
        model,
        context,
        _conversations(model, template, seeing, blindness) if template else None,
        no_template,
        adapters,
        memory=_memory(context.info),
        penalty_tokens=int(info["sampling"].get("penalty_last_n", 0)),
        traits=traits,
        machine=machine,
        ready=ready,
        seeing=seeing,
    )


def _with_layers(message: Load, metadata: ModelMetadata, machine: choosing.Machine) -> Load:
    """Fill in how many layers go to the GPU, where there is one and nobody has asked for some."""
    wishes = message.wishes
    if machine.device_free_bytes is None or wishes.gpu_layers is not None:
        return message
    companions = [Path(path) for path in (*message.adapter_paths, message.projector_path) if path]
    beside = sum(path.stat().st_size for path in companions if path.is_file())
    if wishes.draft_model_path is not None:
        draft = check_model_file(Path(wishes.draft_model_path))
        takes = need(settings_for(metadata, wishes, machine), draft)
        beside += on_device(takes, draft.weights, ALL)
    layers = gpu_layers(metadata, wishes, machine, companions_bytes=beside)
    if layers != ALL:
        LOG.info(
            "%d of %d layers go to the GPU, which has %s free",
            layers,
            metadata.weights.layers,
            render_size(machine.device_free_bytes),
        )
    return structs.replace(message, wishes=structs.replace(wishes, gpu_layers=layers))


def _window_share(info: dict[str, Any], metadata: ModelMetadata) -> float:
    """Tell the share of layers with a window among those that keep cells."""
    layers = info["n_layer"] - metadata.recurrence.blocks_without_cells
    return min(1.0, info["swa_layers"] / layers) if layers > 0 else 0.0


def _open_projector(
    model: binding.Model, path: str | None, wanted: EngineSettings, info: binding.ContextInfo
) -> tuple[Seeing | None, str]:
    """Open what a model sees and hears with, or say why it does not: text is served without."""
    if path is None:
        return None, "this model takes text only"
    try:
        threads, largest = wanted.threads_batch, min(info.n_batch, info.n_ubatch)
        use_gpu = wanted.gpu_layers != 0
        return open_projector(
            model, Path(path), threads=threads, largest=largest, use_gpu=use_gpu
        ), ""
    except RunnerError as error:
        LOG.warning("images and sounds will be refused: %s", error.message)
        return None, f"this model takes text only, as {error.message}"


def _load_pool(
    message: Load,
    model: binding.Model,
    system: dict[str, Any],
    machine: choosing.Machine,
    *,
    info: dict[str, Any],
    metadata: ModelMetadata,
) -> LoadedPool:
    wanted = pooling_settings.choose(message.wishes, info["n_ctx_train"], machine)
    embedder = binding.Embedder(model, pooling_settings.embedder_options(wanted))
    native = embedder.info
    embedder.embed([[info["bos"] if info["bos"] >= 0 else 0]])  # touches all weights
    reranks = info["pooling_type"] == "rank"
    facts = structs.replace(
        _facts(info, metadata, {}), reranks=reranks, dimensions=0 if reranks else native.n_out
    )
    settings = structs.replace(
        wanted,
        context_size=min(wanted.context_size, native.n_text),
        batch_size=native.n_batch,
        ubatch_size=native.n_ubatch,
    )
    ready = Ready(
        pid=os.getpid(),
        model=facts,
        settings=settings,
        system_info=system["system_info"],
        devices=tuple(f"{d['name']}: {d['description']}" for d in system["devices"]),
        load_ms=0.0,
    )
    return LoadedPool(model, embedder, info, ready)


def _take_draft(context: binding.Context, path: Path, wanted: EngineSettings) -> None:
    """Open a draft model with the same room; raise RunnerError(INVALID_REQUEST) if it is no fit."""
    if context.info.seq_rm != "part":
        LOG.warning("%s is not used: this model's memory cannot take a guess back", path.name)
        return
    check_model_file(path)
    options = choosing.context_options(wanted) | {
        "n_outputs_max": wanted.slots,
        "full_window": True,
    }
    layers = ALL if wanted.gpu_layers else 0  # room was left for all of them
    with binding.Model(context.library, path, gpu_layers=layers) as model:
        draft = binding.Context(model, options)  # keeps what it needs of the model
    try:
        context.take_draft(draft)
    except NativeError as error:
        draft.close()
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{path.name} cannot guess for this model: {error.message}",
            hint="a draft model must be of the same family, with the same vocabulary",
            param="draft_model",
        ) from error


def _memory(info: binding.ContextInfo) -> dict[str, Any]:
    """Say what the memory can do and what its states take, by the names of ``Capacity``."""
    return {
        "can_trim": info.seq_rm == "part" and (info.full_window or not info.window),
        "can_guess": info.seq_rm == "part",
        "state_bytes": info.state_bytes,
        "token_bytes": info.token_bytes,
        "window_tokens": info.window,
        "window_token_bytes": info.window_token_bytes,
    }


def _in_force(wanted: EngineSettings, info: binding.ContextInfo) -> EngineSettings:
    """What the context really has: llama.cpp rounds and bounds some of the numbers."""
    return structs.replace(
        wanted,
        context_size=min(wanted.context_size, info.n_ctx_seq),
        total_cells=info.n_ctx,
        batch_size=info.n_batch,
        ubatch_size=info.n_ubatch,
        draft_tokens=wanted.draft_tokens if info.seq_rm == "part" else 0,
        full_window=info.full_window or not info.window,
    )


def _make_template(
    model: binding.Model, override: str | None
) -> tuple[binding.Template | None, str]:
    """Open the chat template; a faulty one of the model's own only stops chats, not the load.

    Raises RunnerError(TEMPLATE_ERROR) for a faulty override.
    """
    made: list[binding.Template] = []
    problem = "the model's chat template does not come to an end"

    def make() -> None:
        nonlocal problem
        try:
            made.append(binding.Template(model, override))
        except NativeError as error:
            problem = error.message

    # A thread of its own: the analysis renders the template, which may loop for ever.
    thread = threading.Thread(target=make, name="template", daemon=True)
    thread.start()
    thread.join(TEMPLATE_LIMIT_S)
    if made:
        return made[0], ""
    if override is not None:
        raise RunnerError(Kind.TEMPLATE_ERROR, problem, param="chat_template")
    LOG.warning("chats will be refused: %s", problem)
    return None, problem


def _conversations(
    model: binding.Model, template: binding.Template, seeing: Seeing | None, blindness: str
) -> Conversations:
    """Give a template that knows no tools another one beside it for their grammars."""
    caps = template.info["caps"]
    knows_tools = caps.get("supports_tools") and caps.get("supports_tool_calls")
    thinks = template.info["supports_thinking"]
    plain = plain_tools.THINKING_TEMPLATE if thinks else plain_tools.TEMPLATE
    return Conversations(
        template,
        partial(binding.Parser, model.library),
        model.library.schema_to_grammar,
        None if knows_tools else binding.Template(model, plain),
        "" if seeing is None else seeing.marker,
        blindness,
    )


def _is_too_large(wishes: EngineWishes, metadata: ModelMetadata, library: binding.Library) -> bool:
    """Whether memory is the cause of a failure: llama.cpp tells of no causes but in words."""
    machine = survey(library.system()["devices"])
    takes = estimate(metadata, wishes)
    if machine.device_free_bytes is None:
        return takes.total_bytes > machine.available_bytes
    margin_bytes = machine.devices * MARGIN_BYTES if takes.device_bytes else 0
    if takes.device_bytes + margin_bytes > machine.device_free_bytes:
        return True
    return takes.total_bytes - takes.device_bytes > machine.available_bytes


def _no_memory(cause: str = "") -> RunnerError:
    return RunnerError(
        Kind.OUT_OF_MEMORY,
        "not enough memory for the model" + (f": {cause}" if cause else ""),
        hint="use a smaller model or a smaller context (--context-size 2048), or unload others",
    )


def _facts(info: dict[str, Any], metadata: ModelMetadata, template: dict[str, Any]) -> ModelFacts:
    return ModelFacts(
        architecture=info["architecture"],
        description=info["description"],
        parameters=info["parameters"],
        size_bytes=info["size_bytes"],
        context_train=info["n_ctx_train"],
        vocabulary=info["n_vocab"],
        has_chat_template=metadata.has_chat_template,
        chat_template=template.get("source", ""),
        chat_template_caps=template.get("caps", {}),
        pooling=info["pooling"],
        bos_token=info["bos_piece"],
        eos_token=info["eos_piece"],
    )


def _explain(
    error: NativeError, wishes: EngineWishes, metadata: ModelMetadata, library: binding.Library
) -> RunnerError:
    match error.code:
        case Code.NO_MEMORY:
            return _no_memory()
        case Code.EXCEPTION if _is_too_large(wishes, metadata, library):
            return _no_memory(error.message)
        case Code.UNSUPPORTED:
            return RunnerError(Kind.INVALID_MODEL, f"this model cannot be served: {error.message}")
        case Code.CANCELLED:
            return RunnerError(Kind.CANCELLED, "the load was cancelled")
        case _:
            return RunnerError(
                Kind.LOAD_FAILED,
                f"llama.cpp could not load the model: {error.message}",
                hint="`runner logs` has the whole story; a newer model may need a newer engine",
            )
