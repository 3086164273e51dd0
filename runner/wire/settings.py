"""How an engine is to run, and how it does. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec


class EngineWishes(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a user or the daemon asks of the engine; ``None`` lets the worker choose."""

    context_size: int | None = None  # tokens one sequence may hold
    parallel: int | None = None  # sequences decoded together
    threads: int | None = None
    batch_size: int | None = None  # rows of one step at most
    ubatch_size: int | None = None
    flash_attention: bool | None = None
    kv_layout: Literal["unified", "streams"] | None = None
    kv_type: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] | None = None
    gpu_layers: int | None = None  # -1 = all
    target_gap_ms: int | None = None  # wished gap between two tokens while prompts are computed
    max_queue: int | None = None  # requests waiting before new ones are refused
    threads_batch: int | None = None  # for steps of more than one row
    speculation: bool | None = None  # guess tokens from the text itself and check them in one step
    draft_model_path: str | None = None  # a small model that guesses; needs the same vocabulary
    prefix_ram_bytes: int | None = None  # for prefixes that lost their slot; 0: none
    prefix_disk_bytes: int | None = None  # for prefixes kept across unload and restart; 0: none
    chat_template: str | None = None  # Jinja text that replaces the model's own


class MemoryNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes of memory, estimated from its header."""

    weights_bytes: int  # of all its files
    cache_bytes: int  # KV of the cells that there are at least
    compute_bytes: int  # of a step at its largest
    context_size: int  # tokens that one sequence may hold for it
    device_bytes: int = 0  # of all that, what goes to the GPU where there is one

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


class DeviceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker saw of the memory of all GPUs together."""

    free_bytes: int
    at_s: float  # of the monotonic clock, which all processes of a machine share


class TunedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that are chosen by measurement; what they mean is said at EngineSettings."""

    flash_attention: bool
    kv_layout: Literal["unified", "streams"]
    ubatch_size: int
    threads: int
    threads_batch: int


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force, each value chosen or wished (shown by ``ps --json``)."""

    context_size: int  # tokens one sequence may hold
    total_cells: int  # KV cells of all sequences
    parallel: int
    slots: int  # native sequence ids: running ones and holders of cached prefixes
    threads: int
    batch_size: int
    ubatch_size: int
    flash_attention: bool
    kv_layout: Literal["unified", "streams"]
    kv_type: str
    gpu_layers: int
    target_gap_ms: int
    max_queue: int
    threads_batch: int = 0  # 0: as ``threads``
    draft_tokens: int = 0  # most guessed tokens of one sequence in one step; 0: no speculation
    prefix_ram_bytes: int = 0
    prefix_disk_bytes: int = 0
    full_window: bool = True  # False: of a sliding window only what it looks back at is kept
    origin: Literal["rule", "tuned"] = "rule"  # of what was not wished: rule of thumb, or measured
