"""What a model's blocks keep of a sequence: cells that grow with it, or a state that does not.

Keys and sizes are those of llama.cpp's ``llama_hparams::n_embd_r`` and ``n_embd_s``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.gguf.values import Gguf

_RECURRENT = ("ssm_", "shortconv.", "time_mix_")  # tensors of blocks that keep a state
_ATTENTIVE = ("attn_k.", "attn_kv_")  # and of those among them that keep cells as well


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The recurrent part of a model; all zero where there is none."""

    state_elements: int = 0  # of one sequence in all blocks, 4 bytes each
    blocks_without_cells: int = 0


def find_recurrence(gguf: Gguf, *rest: Gguf) -> Recurrence:
    """Tell from the names of tensors which blocks are recurrent, and from keys what they keep."""
    names = [tensor.name for part in (gguf, *rest) for tensor in part.tensors]
    recurrent = _blocks_with(names, _RECURRENT)
    return Recurrence(
        state_elements=len(recurrent) * _state_elements(gguf),
        blocks_without_cells=len(recurrent - _blocks_with(names, _ATTENTIVE)),
    )


def _blocks_with(names: Iterable[str], kinds: tuple[str, ...]) -> set[str]:
    found = set()
    for name in names:
        prefix, _, rest = name.partition(".")
        number, _, kind = rest.partition(".")
        if prefix == "blk" and kind.startswith(kinds):
            found.add(number)
    return found


def _state_elements(gguf: Gguf) -> int:
    """Count what one recurrent block keeps of one sequence."""

    def size(name: str) -> int:
        return gguf.integer(f"{gguf.architecture}.{name}") or 0

    width, heads = size("embedding_length"), size("attention.head_count")
    if head := size("wkv.head_size"):  # RWKV
        return width * ((size("token_shift_count") or 2) + head)
    if length := size("shortconv.l_cache"):  # LFM2
        return width * (length - 1)
    taps = max(0, size("ssm.conv_kernel") - 1)
    if head := size("kda.head_dim"):  # Kimi Linear
        return heads * head * (3 * (taps or 3) + head)
    inner, state = size("ssm.inner_size"), size("ssm.state_size")  # Mamba, gated delta net
    return taps * (inner + 2 * size("ssm.group_count") * state) + state * inner
