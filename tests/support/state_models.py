"""Tiny models of random weights whose memory is not a plain cache, as GGUF files.

They say nothing, but sharply: a state that is wrong anywhere shows in the next tokens. Shapes of
llama.cpp's ``src/models/{gemma3,mamba,lfm2}.cpp``. The vocabulary is the 256 bytes and 3 markers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.gguf_maker import ARR, BOOL, F32, I32, STR, U32, Fields, Tensor, make_gguf

WIDTH = 64
LAYERS = 4
MANY_LAYERS = 7  # more than any period of window layers here
WINDOW = 48  # tokens that every other layer of "window" looks back
CONTEXT = 8192
VOCABULARY = 3 + 256
INFILL_TOKENS = (3 + 1, 3 + 2, 3 + 3)
INNER, STATE, KERNEL, RANK = 2 * WIDTH, 8, 4, 4  # of mamba
FEED, HEADS, HEAD = 128, 2, 32

Draw = Callable[..., Tensor]


def write_state_models(folder: Path) -> dict[str, Path]:
    """Write a model with a sliding window, a recurrent one and a hybrid; return them by name."""
    makers = {"window": _gemma3, "recurrent": _mamba, "hybrid": _lfm2}
    paths = {}
    for name, make in makers.items():
        paths[name] = folder / f"{name}.gguf"
        paths[name].write_bytes(make())
    return paths


def write_window_models(folder: Path) -> dict[str, Path]:
    """Write models that do not say which layers have a window; return them by architecture."""
    paths = {}
    for architecture in ("gemma3", "gemma2", "cohere2"):
        paths[architecture] = folder / f"{architecture}.gguf"
        paths[architecture].write_bytes(_untold_window(architecture))
    return paths


def write_infill_model(folder: Path) -> Path:
    """Write a model whose bytes 1, 2 and 3 mark the prefix, the suffix and the middle of a gap."""
    names = ("fim_pre", "fim_suf", "fim_mid")
    fields: dict[str, tuple[int, Any]] = {
        f"tokenizer.ggml.{name}_token_id": (U32, INFILL_TOKENS[i]) for i, name in enumerate(names)
    }
    path = folder / "infill.gguf"
    path.write_bytes(_gemma3(fields | {"tokenizer.ggml.add_space_prefix": (BOOL, False)}))
    return path


def write_grid_model(folder: Path) -> Path:
    """Write a model that knows lines and columns: shape of ``src/models/qwen2vl.cpp``."""
    draw = _drawer(4)
    tensors = [draw("token_embd.weight", WIDTH, VOCABULARY), _gain("output_norm.weight", 6.0)]
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        norms = ("attn_q_norm.weight", "attn_k_norm.weight")
        tensors += [each for each in _attention(draw, block) if not each.name.endswith(norms)]
        tensors += _feed_forward(draw, block)
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    fields = _shape("qwen2vl") | {
        "tokenizer.chat_template": (STR, template),
        "qwen2vl.attention.head_count_kv": (U32, 1),
        "qwen2vl.rope.dimension_sections": (ARR, (I32, [4, 6, 6, 0])),
    }
    path = folder / "grid.gguf"
    path.write_bytes(make_gguf(fields, tensors))
    return path


def _drawer(seed: int) -> Draw:
    random = np.random.default_rng(seed)

    def draw(name: str, *shape: int, mean: float = 0.0, spread: float | None = None) -> Tensor:
        """Make a tensor of normal values; the shape begins with the dimension of a row."""
        scale = shape[0] ** -0.5 if spread is None else spread
        values = random.standard_normal(shape[::-1], dtype=np.float32) * np.float32(scale)
        return Tensor(name, shape, data=(values + np.float32(mean)).astype("<f4").tobytes())

    return draw


def _gemma3(more: Fields | None = None) -> bytes:
    draw = _drawer(1)
    tensors = [draw("token_embd.weight", WIDTH, VOCABULARY), _gain("output_norm.weight", 6.0)]
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        tensors += [
            *_attention(draw, block),
            *_feed_forward(draw, block),
            _gain(f"{block}post_attention_norm.weight"),
            _gain(f"{block}post_ffw_norm.weight"),
        ]
    fields = _shape("gemma3") | {
        "gemma3.attention.sliding_window": (U32, WINDOW),
        "gemma3.attention.sliding_window_pattern": (U32, 2),
        "gemma3.attention.head_count_kv": (U32, 1),
    }
    return make_gguf(fields | (more or {}), tensors)


def _untold_window(architecture: str) -> bytes:
    """Make a model whose window layers are known by its architecture: ``load_swa_pattern``."""
    draw = _drawer(5)
    tensors = [draw("token_embd.weight", WIDTH, VOCABULARY), _gain("output_norm.weight", 6.0)]
    left_out = () if architecture == "gemma3" else ("attn_q_norm.weight", "attn_k_norm.weight")
    for block in (f"blk.{layer}." for layer in range(MANY_LAYERS)):
        tensors += [each for each in _attention(draw, block) if not each.name.endswith(left_out)]
        tensors += _feed_forward(draw, block)
        if architecture != "cohere2":
            tensors += [_gain(f"{block}post_{part}_norm.weight") for part in ("attention", "ffw")]
    fields = _shape(architecture) | {
        f"{architecture}.block_count": (U32, MANY_LAYERS),
        f"{architecture}.attention.sliding_window": (U32, WINDOW),
        f"{architecture}.attention.head_count_kv": (U32, 1),
        f"{architecture}.attention.layer_norm_epsilon": (F32, 1e-5),
        f"{architecture}.logit_scale": (F32, 1.0),
    }
    if architecture == "cohere2":
        tensors = [each for each in tensors if not each.name.endswith("ffn_norm.weight")]
    return make_gguf(fields, tensors)


def _mamba() -> bytes:
    draw = _drawer(2)
    tensors = [draw("token_embd.weight", WIDTH, VOCABULARY), _gain("output_norm.weight", 6.0)]
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        tensors += [
            _gain(f"{block}attn_norm.weight"),
            draw(f"{block}ssm_in.weight", WIDTH, 2 * INNER),
            draw(f"{block}ssm_conv1d.weight", KERNEL, INNER),
            draw(f"{block}ssm_conv1d.bias", INNER, spread=0.1),
            draw(f"{block}ssm_x.weight", INNER, RANK + 2 * STATE),
            draw(f"{block}ssm_dt.weight", RANK, INNER),
            draw(f"{block}ssm_dt.bias", INNER, mean=-4.0, spread=0.5),  # it forgets slowly
            draw(f"{block}ssm_a", STATE, INNER, mean=-1.0, spread=0.2),
            draw(f"{block}ssm_d", INNER, mean=1.0, spread=0.1),
            draw(f"{block}ssm_out.weight", INNER, WIDTH),
        ]
    sizes = {"conv_kernel": KERNEL, "inner_size": INNER, "state_size": STATE}
    fields = _shape("mamba", is_attentive=False) | {
        f"mamba.ssm.{name}": (U32, size) for name, size in {**sizes, "time_step_rank": RANK}.items()
    }
    return make_gguf(fields, tensors)


def _lfm2() -> bytes:
    draw = _drawer(3)
    tensors = [draw("token_embd.weight", WIDTH, VOCABULARY), _gain("token_embd_norm.weight", 6.0)]
    heads = [layer % 2 for layer in range(LAYERS)]  # 0: a convolution in place of attention
    for layer, is_attentive in enumerate(heads):
        block = f"blk.{layer}."
        tensors += _feed_forward(draw, block)
        if is_attentive:
            tensors += _attention(draw, block)
            continue
        tensors += [
            _gain(f"{block}attn_norm.weight"),
            draw(f"{block}shortconv.conv.weight", KERNEL, WIDTH),
            draw(f"{block}shortconv.in_proj.weight", WIDTH, 3 * WIDTH),
            draw(f"{block}shortconv.out_proj.weight", WIDTH, WIDTH),
        ]
    fields = _shape("lfm2") | {
        "lfm2.shortconv.l_cache": (U32, KERNEL),
        "lfm2.attention.head_count_kv": (ARR, (I32, heads)),
    }
    return make_gguf(fields, tensors)


def _attention(draw: Draw, block: str) -> Iterator[Tensor]:
    yield _gain(f"{block}attn_norm.weight")
    yield draw(f"{block}attn_q.weight", WIDTH, HEADS * HEAD)
    yield draw(f"{block}attn_k.weight", WIDTH, HEAD)
    yield draw(f"{block}attn_v.weight", WIDTH, HEAD)
    yield draw(f"{block}attn_output.weight", HEADS * HEAD, WIDTH)
    yield Tensor(f"{block}attn_q_norm.weight", (HEAD,), data=np.full(HEAD, 2, "<f4").tobytes())
    yield Tensor(f"{block}attn_k_norm.weight", (HEAD,), data=np.full(HEAD, 2, "<f4").tobytes())


def _feed_forward(draw: Draw, block: str) -> Iterator[Tensor]:
    yield _gain(f"{block}ffn_norm.weight")
    yield draw(f"{block}ffn_gate.weight", WIDTH, FEED)
    yield draw(f"{block}ffn_up.weight", WIDTH, FEED)
    yield draw(f"{block}ffn_down.weight", FEED, WIDTH)


def _gain(name: str, gain: float = 1.0) -> Tensor:
    return Tensor(name, (WIDTH,), data=np.full(WIDTH, gain, "<f4").tobytes())


def _shape(architecture: str, *, is_attentive: bool = True) -> Fields:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    sizes = {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": FEED if is_attentive else 0,
        "attention.head_count": HEADS if is_attentive else 0,
    }
    if is_attentive:
        sizes |= {"attention.key_length": HEAD, "attention.value_length": HEAD}
    return {
        "general.architecture": (STR, architecture),
        **{f"{architecture}.{name}": (U32, size) for name, size in sizes.items()},
        f"{architecture}.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "tokenizer.ggml.model": (STR, "llama"),
        "tokenizer.ggml.tokens": (ARR, (STR, tokens)),
        "tokenizer.ggml.scores": (ARR, (F32, [0.0] * VOCABULARY)),
        "tokenizer.ggml.token_type": (ARR, (I32, [2, 3, 3, *[6] * 256])),
    }
