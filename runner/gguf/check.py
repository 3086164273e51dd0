"""Checks of a header's meaning: the hyperparameters and vocabulary that the engine trusts.

Each rule stands for a place where llama.cpp asserts, divides or indexes without asking.
"""

from __future__ import annotations

from runner.gguf.fault import invalid, show
from runner.gguf.types import INTEGERS, ValueType
from runner.gguf.values import Field, Gguf
from runner.gguf.vocabulary import check_vocabulary

MAX_BLOCKS = 512  # LLAMA_MAX_LAYERS: sizes of its arrays
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
MAX_COUNT = 2**31 - 1
MAX_SHARDS = 65_535  # split.count is a u16

ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")

# Architectures without attention write a head count of 0 (llm_arch_is_recurrent).
_WITHOUT_HEADS = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# Files that are part of a model, or steer one: they have an architecture but no blocks.
_PARTS = frozenset({"adapter", "mmproj", "imatrix"})
_PART_ARCHITECTURES = frozenset({"clip", "controlvector"})


def check_model(gguf: Gguf) -> None:
    """Check what the header says of the model; raise RunnerError(INVALID_MODEL)."""
    _check_split(gguf)
    check_vocabulary(gguf)
    if gguf.split and gguf.split.index > 0:
        # A later shard carries tensors alone, but one may come in the first one's place.
        _integer(gguf, f"{gguf.architecture}.block_count", 1, MAX_BLOCKS)
        return
    architecture = _require_architecture(gguf)
    blocks = _check_blocks(gguf, architecture)
    _check_heads(gguf, architecture, blocks)
    _check_experts(gguf, architecture, blocks)
    for name in ("context_length", "embedding_length"):
        _integer(gguf, f"{architecture}.{name}", 1, MAX_COUNT)
    _check_rope_scaling(gguf, f"{architecture}.rope.scaling.type")


def _require_architecture(gguf: Gguf) -> str:
    key = "general.architecture"
    if key not in gguf.fields:
        raise invalid(key, "is missing")
    if not gguf.architecture:
        raise invalid(key, "is not a name")
    return gguf.architecture


def _check_split(gguf: Gguf) -> None:
    count = _integer(gguf, "split.count", 0, MAX_SHARDS)
    index = _integer(gguf, "split.no", 0, MAX_SHARDS)
    _integer(gguf, "split.tensors.count", 0, MAX_COUNT)
    if count is not None and index is not None and index >= max(count, 1):
        raise invalid("split.no", f"is {index} of a model in {count} parts")


def _check_blocks(gguf: Gguf, architecture: str) -> int | None:
    key = f"{architecture}.block_count"
    blocks = _integer(gguf, key, 1, MAX_BLOCKS)
    is_part = gguf.text("general.type") in _PARTS or architecture in _PART_ARCHITECTURES
    if blocks is None and gguf.tensors and not is_part:
        raise invalid(key, "is missing")
    _integer(gguf, f"{architecture}.nextn_predict_layers", 0, blocks or 0)
    return blocks


def _check_heads(gguf: Gguf, architecture: str, blocks: int | None) -> None:
    key = f"{architecture}.attention.head_count"
    heads = _per_block(gguf, key, blocks)
    if heads and not any(heads) and architecture not in _WITHOUT_HEADS:
        raise invalid(key, "is 0")
    _per_block(gguf, f"{key}_kv", blocks)


def _check_experts(gguf: Gguf, architecture: str, blocks: int | None) -> None:
    key = f"{architecture}.expert_count"
    experts = _integer(gguf, key, 0, MAX_EXPERTS) or 0
    used = _per_block(gguf, f"{architecture}.expert_used_count", blocks)
    if max(used, default=0) > experts:
        raise invalid(f"{architecture}.expert_used_count", f"is more than {key}, {experts}")
    if experts and not any(used):
        raise invalid(f"{architecture}.expert_used_count", f"is missing or 0, with {key} {experts}")


def _check_rope_scaling(gguf: Gguf, key: str) -> None:
    scaling = gguf.text(key)
    if scaling is not None and scaling not in ROPE_SCALINGS:
        raise invalid(key, f"is {show(scaling)}, not one of {', '.join(ROPE_SCALINGS)}")


def _integer(gguf: Gguf, key: str, least: int, most: int) -> int | None:
    """Return an integer in range, or None when the key is absent."""
    field = gguf.fields.get(key)
    if field is None:
        return None
    return _in_range(field, key, least, most)


def _in_range(field: Field, key: str, least: int, most: int) -> int:
    if field.type not in INTEGERS or not isinstance(field.value, int):
        raise invalid(key, f"is of type {field.type.name.lower()}, not an integer")
    if not least <= field.value <= most:
        raise invalid(key, f"is {field.value}; expected {least} to {most}")
    return field.value


def _per_block(gguf: Gguf, key: str, blocks: int | None) -> tuple[int, ...]:
    """Return a number that is one for all blocks or one for each; empty when absent."""
    array = gguf.array(key)
    if array is None:
        number = _integer(gguf, key, 0, MAX_COUNT)
        return () if number is None else (number,)
    if array.type not in (ValueType.I32, ValueType.U32):
        raise invalid(key, f"has elements of type {array.type.name.lower()}, not i32 or u32")
    if array.count != blocks:
        raise invalid(key, f"has {array.count} values for {blocks} blocks")
    numbers = tuple(int(number) for number in array.numbers())
    if min(numbers) < 0:
        raise invalid(key, f"holds {min(numbers)}, below zero")
    return numbers
