"""Tiny models of random weights that pool: two BERTs and a causal one, as GGUF files.

Their vectors mean nothing, but sharply: another token anywhere is another vector. Shapes of
llama.cpp's ``src/models/{bert,gemma3}.cpp``. The BERTs know single letters, and words of them.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase, digits

import numpy as np

from tests.support.gguf_maker import ARR, BOOL, F32, I32, STR, U32, Fields, Tensor, make_gguf

WIDTH = 32
LAYERS = 2
HEADS = 4
FEED = 64
CONTEXT = 128
MARKERS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLS, SEP = 2, 3
MEAN, RANK = 1, 4  # llama_pooling_type


def write_pooling_models(folder: Path) -> dict[str, Path]:
    """Write a model that embeds and one that ranks; return them by name."""
    contents = {
        "embedding": _bert(MEAN),
        "reranker": _bert(RANK),
        "broken": _bert(MEAN, broken=True),  # gives NaN for any text with an "x"
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.gguf"
        paths[name].write_bytes(content)
    return paths


class _Draw:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def matrix(self, name: str, *shape: int) -> Tensor:
        values = self._random.standard_normal(shape[::-1], dtype=np.float32)
        return Tensor(name, shape, data=(values * shape[0] ** -0.5).astype("<f4").tobytes())

    def linear(self, name: str, wide: int, high: int) -> list[Tensor]:
        bias = self._random.standard_normal(high, dtype=np.float32) * np.float32(0.1)
        return [
            self.matrix(f"{name}.weight", wide, high),
            Tensor(f"{name}.bias", (high,), data=bias.astype("<f4").tobytes()),
        ]


def _norm(name: str) -> list[Tensor]:
    ones, zeros = np.ones(WIDTH, "<f4").tobytes(), np.zeros(WIDTH, "<f4").tobytes()
    return [
        Tensor(f"{name}.weight", (WIDTH,), data=ones),
        Tensor(f"{name}.bias", (WIDTH,), data=zeros),
    ]


def _vocabulary() -> list[str]:
    letters = [*ascii_lowercase, *digits]
    return [*MARKERS, *(f"\u2581{letter}" for letter in letters), *letters]


def _bert(pooling: int, *, broken: bool = False) -> bytes:
    draw, tokens = _Draw(5), _vocabulary()
    words = np.random.default_rng(6).standard_normal((len(tokens), WIDTH)).astype("<f4")
    if broken:
        words[[index for index, token in enumerate(tokens) if token.endswith("x")]] = np.nan
    tensors = [
        Tensor("token_embd.weight", (WIDTH, len(tokens)), data=words.tobytes()),
        draw.matrix("position_embd.weight", WIDTH, CONTEXT),
        draw.matrix("token_types.weight", WIDTH, 2),
        *_norm("token_embd_norm"),
    ]
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors += draw.linear(f"{block}{part}", WIDTH, WIDTH)
        tensors += _norm(f"{block}attn_output_norm")
        tensors += draw.linear(f"{block}ffn_up", WIDTH, FEED)
        tensors += draw.linear(f"{block}ffn_down", FEED, WIDTH)
        tensors += _norm(f"{block}layer_output_norm")
    if pooling == RANK:
        tensors += draw.linear("cls", WIDTH, WIDTH) + draw.linear("cls.output", WIDTH, 1)
    return make_gguf(_fields(tokens, pooling), tensors)


def _fields(tokens: list[str], pooling: int) -> Fields:
    shape = {
        "block_count": LAYERS,
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "feed_forward_length": FEED,
        "attention.head_count": HEADS,
        "pooling_type": pooling,
    }
    ids = {"bos": CLS, "eos": SEP, "unknown": 1, "seperator": SEP, "padding": 0, "mask": 4}
    return {
        "general.architecture": (STR, "bert"),
        "general.name": (STR, "Tiny BERT"),
        "general.file_type": (U32, 0),
        "bert.attention.layer_norm_epsilon": (F32, 1e-6),
        "bert.attention.causal": (BOOL, False),
        **{f"bert.{name}": (U32, value) for name, value in shape.items()},
        "tokenizer.ggml.model": (STR, "bert"),
        "tokenizer.ggml.pre": (STR, "jina-v2-en"),
        "tokenizer.ggml.tokens": (ARR, (STR, tokens)),
        "tokenizer.ggml.token_type": (ARR, (I32, [3] * 5 + [1] * (len(tokens) - 5))),
        "tokenizer.ggml.token_type_count": (U32, 2),
        **{f"tokenizer.ggml.{name}_token_id": (U32, id) for name, id in ids.items()},
        "tokenizer.ggml.add_bos_token": (BOOL, True),
        "tokenizer.ggml.add_eos_token": (BOOL, True),
    }
