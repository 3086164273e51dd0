"""The LoRA adapters of a model, and how much of each a request wants."""

from __future__ import annotations

import msgspec


class AdapterFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a LoRA adapter says of itself; empty: nothing. No two of a model have one name."""

    name: str
    task: str = ""
    prompt_prefix: str = ""


class AdapterScale(msgspec.Struct, frozen=True, gc=False):
    """How much of one of the model's adapters is wanted: of index or name ``adapter``."""

    adapter: int | str
    scale: float
