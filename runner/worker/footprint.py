"""What a model takes of memory, told from its header before it is loaded. Pure."""

from __future__ import annotations

import msgspec

from runner.gguf import ModelMetadata, Weights
from runner.wire.messages import EngineSettings, EngineWishes, MemoryNeed
from runner.worker import pooling_settings
from runner.worker.settings import (
    SCORE_BYTES,
    Machine,
    Traits,
    cell_bytes,
    choose,
    context_options,
    stream_tokens,
    traits,
)

FULL = Machine(
    cpus=1, quota_cpus=None, physical_cores=None, available_bytes=0, device_free_bytes=None
)
PROCESS_BYTES = 64 * 1024**2  # the interpreter, numpy and the native library
ROW_WIDTHS = 12  # vectors of the embedding's width that a layer holds of a row at once
ROW_FEEDS = 3  # and of the feed-forward's


def estimate(
    metadata: ModelMetadata, wishes: EngineWishes, *, companions_bytes: int = 0
) -> MemoryNeed:
    """Estimate the least that a model takes under these wishes.

    ``companions_bytes``: of the files that are loaded with its weights.

    That is what it takes with the settings that a worker chooses where memory is short: it takes
    more where there is more. Raises RunnerError(INVALID_REQUEST) for wishes that no context can
    have together.
    """
    alone = need(settings_for(metadata, wishes, FULL), metadata)
    layers = -1 if wishes.gpu_layers is None else wishes.gpu_layers
    device_bytes = on_device(alone, metadata.weights, layers)
    return msgspec.structs.replace(
        alone,
        weights_bytes=alone.weights_bytes + companions_bytes,
        device_bytes=device_bytes + (companions_bytes if layers else 0),
    )


def on_device(takes: MemoryNeed, weights: Weights, layers: int) -> int:
    """Count what is on the GPU with the last ``layers`` there, their cells beside them.

    Negative: all layers.
    """
    if layers == 0:
        return 0
    cells_bytes = takes.cache_bytes * weights.blocks_among(layers) // max(1, len(weights.blocks))
    return weights.of_last(layers) + cells_bytes + takes.compute_bytes - PROCESS_BYTES


def settings_for(metadata: ModelMetadata, wishes: EngineWishes, machine: Machine) -> EngineSettings:
    """Choose the settings from the header alone; raise RunnerError(INVALID_REQUEST)."""
    if metadata.pooling_type:
        return pooling_settings.choose(wishes, metadata.context_length or 0, machine)
    return choose(wishes, traits(metadata), machine)


def need(settings: EngineSettings, metadata: ModelMetadata) -> MemoryNeed:
    """Estimate what a model takes with these settings when all its cells are in use."""
    model = traits(metadata)
    is_pool = bool(metadata.pooling_type)
    cells = 0 if is_pool else _cells(settings, model)
    states_bytes = 0 if is_pool else settings.slots * model.state_bytes
    outputs = 0 if is_pool else context_options(settings)["n_outputs_max"]
    seen = cells if settings.kv_layout == "unified" else settings.context_size  # by one row
    tables = 1 if settings.flash_attention else 1 + model.heads
    scores = seen * tables * SCORE_BYTES if model.cell_elements else 0
    width, feed = metadata.embedding_length or 0, metadata.feed_forward_length or 0
    row = scores + (ROW_WIDTHS * width + ROW_FEEDS * feed) * SCORE_BYTES
    logits = outputs * (metadata.vocabulary or 0) * SCORE_BYTES
    return MemoryNeed(
        weights_bytes=metadata.size_bytes,
        cache_bytes=int(cells * cell_bytes(model, settings.kv_type)) + states_bytes,
        compute_bytes=settings.ubatch_size * row + logits + PROCESS_BYTES,
        context_size=settings.context_size,
    )


def _cells(settings: EngineSettings, model: Traits) -> int:
    """Count cells, as if all blocks had as many: streams keep fewer where a window is enough."""
    if settings.full_window:
        return settings.total_cells
    stream = stream_tokens(
        model,
        settings.context_size,
        ubatch=settings.ubatch_size,
        prefix_ram=settings.prefix_ram_bytes,
    )
    return settings.total_cells - settings.slots * (settings.context_size - stream)
