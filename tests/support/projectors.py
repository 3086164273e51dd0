"""Tiny projectors of random weights, as GGUF files: they see and hear nothing, but sharply.

Another pixel gives other rows. For language models of any width; shapes of llama.cpp's
``tools/mtmd/models/{llava,siglip,whisper-enc}.cpp``. And pictures and a sound to show them.
"""

from __future__ import annotations

import struct
import wave
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.gguf_maker import ARR, BOOL, F32, STR, TENSOR_F16, U32, Fields, Tensor, make_gguf

WIDTH, FEED, HEADS, LAYERS = 64, 128, 4, 2
PATCH, SIDE = 14, 56  # pixels
ROWS = (SIDE // PATCH) ** 2  # of a picture to "plain"
POOLED_SIDE, POOL = 112, 2
POOLED_ROWS = (POOLED_SIDE // PATCH // POOL) ** 2  # of a picture to "whole"
MERGE = 2  # patches a side of a row of "grid"
BINS, FRAMES = 128, 1500
SOUND_ROWS = FRAMES // 2  # of each half minute that has begun
MEAN = (F32, [0.48, 0.46, 0.41])
SPREAD = (F32, [0.27, 0.26, 0.28])


def write_projectors(folder: Path, *, width: int) -> dict[str, Path]:
    """Write projectors for a language model with rows of ``width`` numbers; return them by name.

    "plain" (LLaVA's) and "whole" (Gemma 3's, whose rows look at one another) take images, "ear"
    (Qwen2-Audio's) sounds.
    """
    makers = {"plain": _llava, "whole": _gemma3, "ear": _qwen2_audio}
    paths = {}
    for name, make in makers.items():
        paths[name] = folder / f"{name}.mmproj.gguf"
        paths[name].write_bytes(make(width))
    return paths


def write_grid_projector(folder: Path, *, width: int) -> Path:
    """Write a projector of Qwen2-VL, whose rows are a grid as large as the picture asks for."""
    path = folder / "grid.mmproj.gguf"
    path.write_bytes(_qwen2vl(width))
    return path


class _Draw:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def matrix(self, name: str, *shape: int, half: bool = False) -> Tensor:
        values = self._random.standard_normal(shape[::-1]) * shape[0] ** -0.5
        if half:
            return Tensor(name, shape, TENSOR_F16, values.astype("<f2").tobytes())
        return Tensor(name, shape, data=values.astype("<f4").tobytes())


def _constant(name: str, size: int, value: float) -> Tensor:
    return Tensor(name, (size,), data=np.full(size, value, "<f4").tobytes())


def _norm(name: str, size: int = WIDTH) -> list[Tensor]:
    return [_constant(f"{name}.weight", size, 1.0), _constant(f"{name}.bias", size, 0.0)]


def _blocks(draw: _Draw, prefix: str, *, key_bias: bool = True) -> list[Tensor]:
    tensors: list[Tensor] = []
    for block in (f"{prefix}.blk.{layer}." for layer in range(LAYERS)):
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors.append(draw.matrix(f"{block}{part}.weight", WIDTH, WIDTH))
            if part != "attn_k" or key_bias:
                tensors.append(_constant(f"{block}{part}.bias", WIDTH, 0.0))
        tensors += _norm(f"{block}ln1") + _norm(f"{block}ln2")
        tensors.append(draw.matrix(f"{block}ffn_up.weight", WIDTH, FEED))
        tensors.append(_constant(f"{block}ffn_up.bias", FEED, 0.0))
        tensors.append(draw.matrix(f"{block}ffn_down.weight", FEED, WIDTH))
        tensors.append(_constant(f"{block}ffn_down.bias", WIDTH, 0.0))
    return tensors


def _fields(kind: str, sense: str, width: int, **more: tuple[int, Any]) -> Fields:
    start = f"clip.{sense}."
    return {
        "general.architecture": (STR, "clip"),
        "general.type": (STR, "mmproj"),
        f"clip.has_{sense}_encoder": (BOOL, True),
        "clip.projector_type": (STR, kind),
        "clip.use_gelu": (BOOL, True),
        f"{start}embedding_length": (U32, WIDTH),
        f"{start}feed_forward_length": (U32, FEED),
        f"{start}block_count": (U32, LAYERS),
        f"{start}attention.head_count": (U32, HEADS),
        f"{start}attention.layer_norm_epsilon": (F32, 1e-5),
        f"{start}projection_dim": (U32, width),
        **{f"{start}{name}": value for name, value in more.items()},
    }


def _vision_fields(kind: str, width: int, side: int) -> Fields:
    sizes = {"image_size": (U32, side), "patch_size": (U32, PATCH)}
    return _fields(kind, "vision", width, **sizes, image_mean=(ARR, MEAN), image_std=(ARR, SPREAD))


def _llava(width: int) -> bytes:
    draw = _Draw(21)
    tensors = [
        draw.matrix("v.patch_embd.weight", PATCH, PATCH, 3, WIDTH, half=True),
        draw.matrix("v.class_embd", WIDTH),
        draw.matrix("v.position_embd.weight", WIDTH, ROWS + 1),
        *_norm("v.pre_ln"),
        *_norm("v.post_ln"),
        *_blocks(draw, "v"),
        draw.matrix("mm.0.weight", WIDTH, width),
        _constant("mm.0.bias", width, 0.0),
        draw.matrix("mm.2.weight", width, width),
        _constant("mm.2.bias", width, 0.0),
    ]
    return make_gguf(_vision_fields("mlp", width, SIDE), tensors)


def _qwen2vl(width: int) -> bytes:
    draw = _Draw(24)
    merged = MERGE**2 * WIDTH
    tensors = [
        draw.matrix("v.patch_embd.weight", PATCH, PATCH, 3, WIDTH, half=True),
        draw.matrix("v.patch_embd.weight.1", PATCH, PATCH, 3, WIDTH, half=True),
        *_norm("v.post_ln"),
        *_blocks(draw, "v"),
        draw.matrix("mm.0.weight", merged, merged),
        _constant("mm.0.bias", merged, 0.0),
        draw.matrix("mm.2.weight", merged, width),
        _constant("mm.2.bias", width, 0.0),
    ]
    return make_gguf(_vision_fields("qwen2vl_merger", width, SIDE), tensors)


def _gemma3(width: int) -> bytes:
    draw = _Draw(22)
    patches = (POOLED_SIDE // PATCH) ** 2
    tensors = [
        draw.matrix("v.patch_embd.weight", PATCH, PATCH, 3, WIDTH, half=True),
        _constant("v.patch_embd.bias", WIDTH, 0.0),
        draw.matrix("v.position_embd.weight", WIDTH, patches),
        *_norm("v.post_ln"),
        *_blocks(draw, "v"),
        draw.matrix("mm.input_projection.weight", width, WIDTH),
        _constant("mm.soft_emb_norm.weight", WIDTH, 1.0),
    ]
    fields = _vision_fields("gemma3", width, POOLED_SIDE)
    return make_gguf({**fields, "clip.vision.projector.scale_factor": (U32, POOL)}, tensors)


def _qwen2_audio(width: int) -> bytes:
    draw = _Draw(23)
    tensors = [
        draw.matrix("a.conv1d.1.weight", 3, BINS, WIDTH, half=True),
        Tensor("a.conv1d.1.bias", (1, WIDTH), data=bytes(4 * WIDTH)),
        draw.matrix("a.conv1d.2.weight", 3, WIDTH, WIDTH, half=True),
        Tensor("a.conv1d.2.bias", (1, WIDTH), data=bytes(4 * WIDTH)),
        draw.matrix("a.position_embd.weight", WIDTH, FRAMES),
        *_norm("a.post_ln"),
        *_blocks(draw, "a", key_bias=False),
        draw.matrix("mm.a.fc.weight", WIDTH, width),
        _constant("mm.a.fc.bias", width, 0.0),
    ]
    return make_gguf(_fields("qwen2a", "audio", width, num_mel_bins=(U32, BINS)), tensors)


# ---- what is shown to them -------------------------------------------------------------------


def png(seed: int, *, width: int = 40, height: int = 30) -> bytes:
    """Draw coloured noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return png_of(width, height, zlib.compress(rows))


def png_of(width: int, height: int, compressed: bytes) -> bytes:
    """Write a PNG of 8-bit RGB whose parts need not fit each other."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", compressed), (b"IEND", b""))
    written = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def wav(seed: int, *, seconds: float = 0.5, rate: int = 16_000) -> bytes:
    """Record noise."""
    samples = np.random.default_rng(seed).integers(-9000, 9000, int(seconds * rate), np.int16)
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
