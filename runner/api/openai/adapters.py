"""Which LoRA adapters of the model a request wants: llama-server's ``lora``. Pure."""

from __future__ import annotations

from typing import Any

from runner.api.fields import Field, Shape, as_array, integer, number, refuse, required, text
from runner.wire.messages import AdapterScale

MAX_ADAPTERS = 64
MAX_NAME_CHARACTERS = 256
MAX_SCALE = 100.0

ID = integer("id", "which one, by the order of GET /lora-adapters", 0, MAX_ADAPTERS - 1)
NAME = text("name", "which one, by its name there", max_characters=MAX_NAME_CHARACTERS)
SCALE = required(number("scale", "how much of it", -MAX_SCALE, MAX_SCALE))
ADAPTER = Shape("adapter", (ID, NAME, SCALE))


def _read(value: Any, param: str) -> tuple[AdapterScale, ...]:
    items = as_array(value, param)
    if len(items) > MAX_ADAPTERS:
        refuse(param, f"at most {MAX_ADAPTERS} adapters", items)
    return tuple(_read_one(item, f"{param}[{index}]") for index, item in enumerate(items))


def _read_one(value: Any, param: str) -> AdapterScale:
    fields = ADAPTER.open(value, param)
    index, name = fields.take(ID), fields.take(NAME)
    if (index is None) == (name is None):
        refuse(param, "either id or name", value)
    adapter = name if index is None else index
    assert adapter is not None
    return AdapterScale(adapter, fields.take(SCALE))


LORA = Field(
    "lora",
    "LoRA adapters of the model, and no others; left out: all of them, as packaged",
    {"type": "array", "items": ADAPTER, "maxItems": MAX_ADAPTERS},
    _read,
)
