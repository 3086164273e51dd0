"""Tiny models of random weights that pool: three BERTs and a causal one, as GGUF files.

Their vectors mean nothing, but sharply: another token anywhere is another vector. Shapes of
llama.cpp's ``src/models/{bert,llama}.cpp``. The BERTs know single letters, and words of them, the
causal one bytes. :func:`reference` computes a BERT's answer without llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.gguf_maker import ARR, BOOL, F32, I32, STR, U32, Fields, Tensor, make_gguf

WIDTH = 32
LAYERS = 2
HEADS = 4
FEED = 64
CONTEXT = 128
MARKERS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLS, SEP = 2, 3
MEAN, LAST, RANK = 1, 3, 4  # llama_pooling_type
LONG_CONTEXT = 2048  # of the causal one
BYTES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]


def write_pooling_models(folder: Path) -> dict[str, Path]:
    """Write a model that embeds and one that ranks; return them by name."""
    contents = {
        "embedding": _bert(MEAN),
        "reranker": _bert(RANK),
        "broken": _bert(MEAN, broken=True),  # gives NaN for any text with an "x"
        "causal": _llama(),
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
    tokens = _vocabulary()
    return make_gguf(_fields(tokens, pooling), _bert_tensors(pooling, broken=broken))


def _bert_tensors(pooling: int, *, broken: bool = False) -> list[Tensor]:
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
    return tensors


def reference(pooling: int, tokens: Sequence[int]) -> NDArray[np.float64]:
    """Compute what a BERT of :func:`write_pooling_models` answers: Devlin et al., post-norm."""
    weights = {
        tensor.name: np.frombuffer(tensor.data or b"", "<f4")
        .reshape(tensor.shape[::-1])
        .astype(np.float64)
        for tensor in _bert_tensors(pooling)
    }

    def linear(name: str, x: Any) -> Any:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normed(x: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    def split(x: Any) -> Any:
        return x.reshape(len(tokens), HEADS, -1).transpose(1, 0, 2)

    x = weights["token_embd.weight"][[*tokens]] + weights["position_embd.weight"][: len(tokens)]
    x = normed(x + weights["token_types.weight"][0])
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        q, k, v = (split(linear(f"{block}attn_{part}", x)) for part in "qkv")
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(WIDTH / HEADS))
        seen = (scores / scores.sum(-1, keepdims=True)) @ v
        x = normed(x + linear(f"{block}attn_output", seen.transpose(1, 0, 2).reshape(x.shape)))
        up = linear(f"{block}ffn_up", x)
        gelu = up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3))) / 2
        x = normed(x + linear(f"{block}ffn_down", gelu))
    if pooling == RANK:
        return linear("cls.output", np.tanh(linear("cls", x[0])))  # type: ignore[no-any-return]
    return x.mean(0)  # type: ignore[no-any-return]


def _llama() -> bytes:
    draw = _Draw(7)
    gain = np.ones(WIDTH, "<f4").tobytes()
    tensors = [
        draw.matrix("token_embd.weight", WIDTH, len(BYTES)),
        Tensor("output_norm.weight", (WIDTH,), data=gain),
    ]
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        tensors += [
            Tensor(f"{block}attn_norm.weight", (WIDTH,), data=gain),
            *(draw.matrix(f"{block}attn_{part}.weight", WIDTH, WIDTH) for part in "qkv"),
            draw.matrix(f"{block}attn_output.weight", WIDTH, WIDTH),
            Tensor(f"{block}ffn_norm.weight", (WIDTH,), data=gain),
            draw.matrix(f"{block}ffn_gate.weight", WIDTH, FEED),
            draw.matrix(f"{block}ffn_up.weight", WIDTH, FEED),
            draw.matrix(f"{block}ffn_down.weight", FEED, WIDTH),
        ]
    shape = {
        "context_length": LONG_CONTEXT,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": FEED,
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS,
        "rope.dimension_count": WIDTH // HEADS,
        "pooling_type": LAST,
    }
    fields = {
        "general.architecture": (STR, "llama"),
        **{f"llama.{name}": (U32, size) for name, size in shape.items()},
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "tokenizer.ggml.model": (STR, "llama"),
        "tokenizer.ggml.tokens": (ARR, (STR, BYTES)),
        "tokenizer.ggml.scores": (ARR, (F32, [0.0] * len(BYTES))),
        "tokenizer.ggml.token_type": (ARR, (I32, [2, 3, 3, *[6] * 256])),
    }
    return make_gguf(fields, tensors)


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
