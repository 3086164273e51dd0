"""Choosing the settings of a model that pools. Pure."""

from __future__ import annotations

from typing import Any

from runner.wire.messages import EngineSettings, EngineWishes
from runner.worker.settings import (
    CPU_BATCH,
    GPU_BATCH,
    MAX_QUEUE,
    USUAL_CONTEXT,
    Machine,
    threads,
)

PASS_TEXTS = 64  # few texts are so short that more would fill a pass


def choose(wishes: EngineWishes, context_train: int, machine: Machine) -> EngineSettings:
    """Choose the settings of a model that pools.

    A text must fit one pass: attention that looks both ways cannot be computed in parts. Flash
    attention keeps what a pass needs from growing with the square of its length.
    """
    on_gpu = machine.device_free_bytes is not None and wishes.gpu_layers != 0
    context = min(wishes.context_size or USUAL_CONTEXT, context_train or USUAL_CONTEXT)
    rows = max(wishes.batch_size or (GPU_BATCH if on_gpu else CPU_BATCH), context, 2)
    count = wishes.threads_batch or wishes.threads or threads(machine)
    texts = min(wishes.parallel or PASS_TEXTS, rows)
    flash = True if wishes.flash_attention is None else wishes.flash_attention
    layers = wishes.gpu_layers
    return EngineSettings(
        context_size=context,
        total_cells=rows,
        parallel=texts,
        slots=texts,
        threads=count,
        threads_batch=count,
        batch_size=rows,
        ubatch_size=rows,
        flash_attention=flash,
        kv_layout="unified",
        kv_type="f16",
        gpu_layers=(-1 if on_gpu else 0) if layers is None else layers,
        target_gap_ms=0,
        max_queue=MAX_QUEUE if wishes.max_queue is None else wishes.max_queue,
    )


def embedder_options(settings: EngineSettings) -> dict[str, Any]:
    """Write the settings as ``rn_embedder_new`` takes them."""
    return {
        "n_batch": settings.batch_size,
        "n_seq_max": settings.slots,
        "n_threads": settings.threads_batch,
        "flash_attn": settings.flash_attention,
        "poll": 0,
    }


def pass_rows(settings: EngineSettings) -> int:
    """Tokens to aim at in one pass."""
    return min(settings.batch_size, GPU_BATCH if settings.gpu_layers else CPU_BATCH)
