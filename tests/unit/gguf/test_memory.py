"""What blocks keep of a sequence; sizes of models that exist."""

from __future__ import annotations

from typing import Any

import pytest

from runner.gguf import Gguf, Recurrence, read_header
from runner.gguf.memory import find_recurrence
from tests.support.gguf_maker import STR, U32, Tensor, make_gguf

ATTENTION = ("attn_q.weight", "attn_k.weight", "attn_v.weight")
DELTA_NET = ("attn_qkv.weight", "ssm_conv1d.weight", "ssm_out.weight")
MAMBA = ("ssm_in.weight", "ssm_conv1d.weight", "ssm_a")


def model(blocks: list[tuple[str, ...]], *more: Tensor, **sizes: Any) -> Gguf:
    """A header of the architecture "x"; write ``a__b`` for the key ``x.a.b``."""
    tensors = [Tensor(f"blk.{n}.{name}") for n, names in enumerate(blocks) for name in names]
    fields: dict[str, tuple[int, Any]] = {
        "general.architecture": (STR, "x"),
        "x.block_count": (U32, max(1, len(blocks))),
    }
    for name, size in sizes.items():
        fields[f"x.{name.replace('__', '.')}"] = (U32, size) if isinstance(size, int) else size
    data = make_gguf(fields, [*tensors, *more])
    return read_header(data, len(data))


def test_a_model_of_attention_alone_keeps_no_state() -> None:
    assert find_recurrence(model([ATTENTION] * 3, embedding_length=64)) == Recurrence()


@pytest.mark.parametrize(
    ("blocks", "sizes", "expected"),
    [
        pytest.param(
            [MAMBA] * 24,
            {"ssm__conv_kernel": 4, "ssm__inner_size": 1536, "ssm__state_size": 16},
            Recurrence(24 * (3 * 1536 + 16 * 1536), 24),
            id="Mamba 130M",
        ),
        pytest.param(
            [("time_mix_w1.weight", "channel_mix_key.weight")] * 24,
            {"embedding_length": 2048, "wkv__head_size": 64},
            Recurrence(24 * 2048 * (2 + 64), 24),
            id="RWKV-6 1.6B",
        ),
        pytest.param(
            [("shortconv.conv.weight",), ("shortconv.conv.weight",), ATTENTION],
            {"embedding_length": 2048, "shortconv__l_cache": 3},
            Recurrence(2 * 2048 * 2, 2),
            id="LFM2 1.2B's first blocks",
        ),
        pytest.param(
            [*[DELTA_NET] * 3, ATTENTION],
            {
                "ssm__conv_kernel": 4,
                "ssm__inner_size": 4096,
                "ssm__state_size": 128,
                "ssm__group_count": 16,
            },
            Recurrence(3 * (3 * (4096 + 2 * 16 * 128) + 128 * 4096), 3),
            id="Qwen3-Next's first blocks",
        ),
        pytest.param(
            [(*ATTENTION, *MAMBA)] * 2,
            {"ssm__conv_kernel": 4, "ssm__inner_size": 1024, "ssm__state_size": 128},
            Recurrence(2 * (3 * 1024 + 128 * 1024), 0),
            id="Falcon-H1: both in every block",
        ),
        pytest.param(
            [("ssm_conv1d_q.weight",)],
            {"attention__head_count": 32, "kda__head_dim": 128, "ssm__conv_kernel": 4},
            Recurrence(3 * 3 * 4096 + 128 * 128 * 32, 1),
            id="Kimi Linear's first block",
        ),
    ],
)
def test_what_a_sequence_keeps_in_recurrent_blocks(
    blocks: list[tuple[str, ...]], sizes: dict[str, int], expected: Recurrence
) -> None:
    assert find_recurrence(model(blocks, **sizes)) == expected


def test_the_shards_of_one_model_count_together() -> None:
    sizes = {"ssm__conv_kernel": 4, "ssm__inner_size": 8, "ssm__state_size": 2}
    rest = model([], Tensor("blk.1.ssm_a"), Tensor("blk.1.ssm_d"))
    assert find_recurrence(model([MAMBA], **sizes), rest) == Recurrence(2 * 40, 2)


def test_tensors_that_only_look_like_a_block_s_are_none() -> None:
    named = [Tensor(name) for name in ("ssm_a", "v.blk.0.ssm_a", "blk.0.attn_ssm_a", "blk.ssm_a")]
    assert find_recurrence(model([], *named, ssm__inner_size=8)) == Recurrence()
