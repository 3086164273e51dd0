"""Choosing the engine's settings from wishes, the model and the machine. Pure.

The rules for a CPU follow measurements: flash attention slows generation there more than it
speeds prompts, and one KV stream a sequence computes twice as fast as one buffer for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from msgspec import structs

from runner.engine import Capacity, Policy
from runner.errors import Kind, RunnerError
from runner.gguf import ModelMetadata
from runner.wire.messages import EngineSettings, EngineWishes, TunedSettings

T = TypeVar("T")
Layout = Literal["unified", "streams"]

USUAL_CONTEXT = 4096  # of models that do not say; on a GPU layers give way to it
AMPLE_CONTEXT = 32_768  # enough for agents: a longer one is not worth giving up streams for
MAX_CONTEXT = 2**20  # of models that keep no cells, where memory sets no limit
LEAST_CONTEXT = 2048  # what even a small memory must allow
DEFAULT_PARALLEL = 8
MAX_PARALLEL = 128  # native sequence ids end at 256
LEAST_STREAMS = 4  # slots: fewer, and two conversations in turn push out each other's prefix
HOLDERS = 8  # slots of unified KV beyond the running ones, for cached prefixes
MEMORY_SHARE = 0.25  # of what is free beside the model, for KV and for attention's scores
PAD = 256  # llama.cpp rounds KV sizes up to this
CPU_BATCH = 512  # rows of one step: more is no faster, and cancels wait for the step
GPU_BATCH = 2048
UBATCH = 512
TARGET_GAP_MS = 100
MAX_QUEUE = 256
DRAFT_TOKENS = 8  # of one sequence in one step: few texts repeat more at a time
MAX_OUTPUTS = 64  # rows of one step with logits: 200 KB and more each, with a large vocabulary
PREFIX_RAM_SHARE = 8  # an eighth of what is free beside the model, for prefixes without a slot
MAX_PREFIX_RAM_BYTES = 2 * 1024**3
STATE_ELEMENT_BYTES = 4
SCORE_BYTES = 4  # of one head's score of one cell for one row
COPY_SHARE = 256  # copying a stream takes as long as computing a 256th of its tokens, or less

BYTES_PER_ELEMENT = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
QUANTISED = frozenset({"q8_0", "q4_0"})


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use."""

    cpus: int  # it may run on (affinity)
    quota_cpus: float | None  # CPU time it may take (cgroup); None: no quota
    physical_cores: int | None  # among ``cpus``; None: unknown
    available_bytes: int  # memory
    device_free_bytes: int | None  # GPU memory, of all together; None: no GPU
    devices: int = 0  # GPUs


@dataclass(frozen=True, slots=True)
class Traits:
    """What matters of a model here."""

    context_train: int
    size_bytes: int
    cell_elements: int  # K and V elements of one token in all blocks
    state_bytes: int = 0  # of one sequence in recurrent blocks
    has_state: bool = False  # recurrent or hybrid: a sequence cannot be cut back
    heads: int = 0  # of attention, in a block
    window: int = 0  # tokens that layers with a sliding window look back; 0: there are none
    window_share: float = 0.0  # of the layers that keep cells


def traits(metadata: ModelMetadata, **known: Any) -> Traits:
    """Read the traits from a header; ``known`` are those that the loader knows better."""
    recurrence = metadata.recurrence
    blocks = max(0, (metadata.block_count or 1) - recurrence.blocks_without_cells)
    heads = metadata.head_count_kv
    heads_of_all = sum(heads) if isinstance(heads, tuple) else (heads or 1) * blocks
    lengths = (metadata.key_length or 128) + (metadata.value_length or 128)
    asking = metadata.head_count
    told = {
        "has_state": bool(recurrence.state_elements),
        "window": metadata.window.tokens,
        "window_share": metadata.window.share,
    }
    return Traits(
        context_train=metadata.context_length or USUAL_CONTEXT,
        size_bytes=metadata.size_bytes,
        cell_elements=heads_of_all * lengths,
        state_bytes=recurrence.state_elements * STATE_ELEMENT_BYTES,
        heads=max(asking, default=0) if isinstance(asking, tuple) else asking or 0,
        **(told | known),
    )


def choose(
    wishes: EngineWishes, model: Traits, machine: Machine, tuned: TunedSettings | None = None
) -> EngineSettings:
    """Choose every setting; a wish always wins, then what was measured, then the rule of thumb.

    Raises RunnerError(INVALID_REQUEST) for wishes that no context can have together.
    """
    if tuned is not None:
        return structs.replace(
            choose(_with(wishes, tuned, model, machine), model, machine), origin="tuned"
        )
    on_gpu = machine.device_free_bytes is not None and wishes.gpu_layers != 0
    kv_type = wishes.kv_type or "f16"
    flash = _given(wishes.flash_attention, on_gpu or kv_type in QUANTISED)
    _refuse_contradictions(wishes, kv_type, flash)
    parallel = wishes.parallel or DEFAULT_PARALLEL
    ubatch = wishes.ubatch_size or UBATCH
    room = _room(model, machine, kv_type, on_gpu=on_gpu, scores=0 if flash else ubatch)
    shared = wishes.kv_layout == "unified" or (wishes.kv_layout is None and on_gpu)
    least = USUAL_CONTEXT if on_gpu else LEAST_CONTEXT
    sequences = 1 if shared else parallel
    context = wishes.context_size or _auto_context(model, room, sequences, least=least)
    prefix_ram = _given(wishes.prefix_ram_bytes, _prefix_ram(model, machine))
    stream = stream_tokens(model, context, ubatch=ubatch, prefix_ram=prefix_ram)
    fits = room.holds(parallel * stream, context)
    layout = wishes.kv_layout or _layout(model, on_gpu=on_gpu, fits=fits)
    slots, cells = _slots_and_cells(layout, parallel, context=context, room=room, stream=stream)
    batch = max(wishes.batch_size or (GPU_BATCH if on_gpu else CPU_BATCH), slots, 2)
    return EngineSettings(
        context_size=context,
        total_cells=cells,
        parallel=parallel,
        slots=slots,
        threads=wishes.threads or threads(machine),
        threads_batch=wishes.threads_batch or wishes.threads or threads(machine),
        batch_size=batch,
        ubatch_size=min(ubatch, batch),
        flash_attention=flash,
        kv_layout=layout,
        kv_type=kv_type,
        gpu_layers=_given(wishes.gpu_layers, -1 if on_gpu else 0),
        target_gap_ms=_given(wishes.target_gap_ms, TARGET_GAP_MS),
        max_queue=_given(wishes.max_queue, MAX_QUEUE),
        draft_tokens=0 if wishes.speculation is False or model.has_state else DRAFT_TOKENS,
        prefix_ram_bytes=prefix_ram,
        prefix_disk_bytes=wishes.prefix_disk_bytes or 0,
        full_window=layout == "unified" or stream >= context,
    )


def streams_fit(settings: EngineSettings, model: Traits, machine: Machine) -> bool:
    """Whether there is room for a KV stream of each sequence that runs."""
    on_gpu = machine.device_free_bytes is not None and settings.gpu_layers != 0
    scores = 0 if settings.flash_attention else settings.ubatch_size
    room = _room(model, machine, settings.kv_type, on_gpu=on_gpu, scores=scores)
    stream = stream_tokens(
        model,
        settings.context_size,
        ubatch=settings.ubatch_size,
        prefix_ram=settings.prefix_ram_bytes,
    )
    return room.holds(settings.parallel * stream, settings.context_size)


def threads(machine: Machine) -> int:
    """Count threads: one a physical core, and no more than the process is given time for."""
    limits = [machine.cpus]
    if machine.physical_cores is not None:
        limits.append(machine.physical_cores)
    if machine.quota_cpus is not None:
        limits.append(int(machine.quota_cpus))  # a thread over the quota stalls all the others
    return max(1, min(limits))


def context_options(settings: EngineSettings) -> dict[str, Any]:
    """Write the settings as ``rn_ctx_new`` takes them.

    Outputs have room for the drafts of all, or of some at a time.
    """
    with_drafts = settings.slots + settings.parallel * settings.draft_tokens
    return {
        "n_ctx": settings.total_cells,
        "n_batch": settings.batch_size,
        "n_ubatch": settings.ubatch_size,
        "n_seq_max": settings.slots,
        "n_outputs_max": max(settings.slots, min(with_drafts, MAX_OUTPUTS, settings.batch_size)),
        "n_threads": settings.threads,
        "n_threads_batch": settings.threads_batch,
        "flash_attn": settings.flash_attention,
        "kv_unified": settings.kv_layout == "unified",
        "full_window": settings.full_window or settings.kv_layout == "unified",
        "type_k": settings.kv_type,
        "type_v": settings.kv_type,
        "poll": 0,  # spinning threads collapse as soon as something else wants a core
    }


def capacity(settings: EngineSettings, **known: Any) -> Capacity:
    """Write the settings as the scheduler takes them; ``known`` is what the context knows."""
    return Capacity(
        slots=settings.slots,
        parallel=settings.parallel,
        cells=settings.total_cells,
        context_size=settings.context_size,
        batch_size=settings.batch_size,
        shares_cells=settings.kv_layout == "unified",
        prefix_bytes=settings.prefix_ram_bytes,
        # Every slot may have an output of its own in the same step.
        score_rows=context_options(settings)["n_outputs_max"] - settings.slots + 1,
        **known,
    )


def policy(settings: EngineSettings) -> Policy:
    """Write the settings as the scheduler's policy."""
    base = Policy()
    return Policy(
        target_gap_s=settings.target_gap_ms / 1000,
        max_queue=settings.max_queue,
        copy_min_tokens=max(base.copy_min_tokens, settings.context_size // COPY_SHARE),
        draft_tokens=settings.draft_tokens,
    )


def _with(
    wishes: EngineWishes, tuned: TunedSettings, model: Traits, machine: Machine
) -> EngineWishes:
    """Fill what was not wished with what was measured. Memory may have become too short for it.

    The context stays what the rule gives: a text that was answered once is answered again.
    """
    ruled = choose(wishes, model, machine)
    threads_batch = wishes.threads_batch or wishes.threads or tuned.threads_batch
    is_layout_possible = tuned.kv_layout == "unified" or streams_fit(ruled, model, machine)
    return structs.replace(
        wishes,
        context_size=ruled.context_size,
        flash_attention=_given(wishes.flash_attention, tuned.flash_attention),
        kv_layout=wishes.kv_layout or (tuned.kv_layout if is_layout_possible else None),
        ubatch_size=wishes.ubatch_size or tuned.ubatch_size,
        threads=wishes.threads or tuned.threads,
        threads_batch=threads_batch,
    )


def _given(wish: T | None, default: T) -> T:
    return default if wish is None else wish


def _refuse_contradictions(wishes: EngineWishes, kv_type: str, flash: bool) -> None:
    if kv_type in QUANTISED and not flash:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"a {kv_type} KV cache needs flash attention, which is switched off",
            hint="switch flash attention on, or use kv_type f16",
            param="flash_attention",
        )
    if wishes.parallel is not None and not 1 <= wishes.parallel <= MAX_PARALLEL:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"parallel must be 1 to {MAX_PARALLEL}, got {wishes.parallel}",
            param="parallel",
        )


@dataclass(frozen=True, slots=True)
class _Room:
    """Memory that is ours to take unasked: for cells, and for the scores of attention over them.

    Scores are held for every cell of one context at a time.
    """

    budget_bytes: float
    cell_bytes: float
    score_bytes: int

    def holds(self, cells: int, context: int) -> bool:
        """Whether so many cells fit, of contexts that long."""
        return cells * self.cell_bytes + context * self.score_bytes <= self.budget_bytes

    def context(self, sequences: int) -> int:
        """Tokens that each of so many sequences may hold at once."""
        token_bytes = sequences * self.cell_bytes + self.score_bytes
        return int(self.budget_bytes / token_bytes) if token_bytes else MAX_CONTEXT


def _room(model: Traits, machine: Machine, kv_type: str, *, on_gpu: bool, scores: int) -> _Room:
    """See what there is for KV; ``scores`` rows of a step keep theirs, without flash attention."""
    free = machine.available_bytes
    if on_gpu and machine.device_free_bytes is not None:
        free = machine.device_free_bytes
    return _Room(
        budget_bytes=max(0, free - model.size_bytes) * MEMORY_SHARE,
        cell_bytes=cell_bytes(model, kv_type),
        score_bytes=scores * model.heads * SCORE_BYTES,
    )


def cell_bytes(model: Traits, kv_type: str) -> float:
    """Count what one token takes in the KV cache."""
    return model.cell_elements * BYTES_PER_ELEMENT[kv_type]


def _prefix_ram(model: Traits, machine: Machine) -> int:
    free = max(0, machine.available_bytes - model.size_bytes)
    return min(free // PREFIX_RAM_SHARE, MAX_PREFIX_RAM_BYTES)


def _auto_context(model: Traits, room: _Room, sequences: int, *, least: int) -> int:
    """Choose the largest context that fits, up to the model's; ``least`` whether it fits or not.

    Where every sequence can have an ample one at once, as large as all can have: streams compute
    faster. Else as large as one can have, in a buffer that all share.
    """
    for_each = room.context(sequences)
    is_ample = for_each >= min(model.context_train, AMPLE_CONTEXT)
    most = for_each if is_ample else room.context(1)
    return min(model.context_train, max(least, most // PAD * PAD))


def _layout(model: Traits, *, on_gpu: bool, fits: bool) -> Layout:
    if model.has_state:
        return "streams"  # state is a sequence's own: there is nothing to share
    return "streams" if fits and not on_gpu else "unified"


def stream_tokens(model: Traits, context: int, *, ubatch: int, prefix_ram: int) -> int:
    """What one KV stream takes, in tokens of all layers: less where some have a sliding window.

    A cache for the window and one pass cannot be cut back, so prefixes are found only where their
    state was saved in passing: without room for that, it is as long as the others. So it is in
    unified KV: of cells that sequences share llama.cpp takes none for free, however far behind.
    """
    in_window = -(-(model.window + ubatch) // PAD) * PAD
    if not model.window or not prefix_ram or in_window >= context:
        return context
    return context - int((context - in_window) * model.window_share)


def _slots_and_cells(
    layout: Layout, parallel: int, *, context: int, room: _Room, stream: int
) -> tuple[int, int]:
    padded = -(-context // PAD) * PAD
    if layout == "streams":
        least = LEAST_STREAMS if room.holds(LEAST_STREAMS * stream, context) else 1
        slots = max(parallel, least)
        return slots, slots * padded
    cells = min(parallel * padded, max(padded, room.context(1) // PAD * PAD))
    return parallel + HOLDERS, cells
