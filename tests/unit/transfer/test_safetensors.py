from __future__ import annotations

import json
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.transfer.safetensors import (
    Safetensors,
    header_bytes,
    parameters_text,
    quantization,
    read_header,
    shown,
)


def head(value: Any) -> bytes:
    text = json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text


def tensor(dtype: str = "BF16", shape: Any = (2, 3), offsets: Any = (0, 12)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def parse(raw: bytes, data_bytes: int = 100) -> Safetensors:
    size = len(raw) + data_bytes
    return read_header(raw[: header_bytes(raw[:8], size)], size)


def test_a_header_is_read() -> None:
    raw = head(
        {"__metadata__": {"format": "pt"}, "a": tensor(), "b": tensor("F32", (5,), (12, 32))}
    )
    assert parse(raw) == Safetensors(11, 2, frozenset({"BF16", "F32"}), {"format": "pt"})
    assert parse(head({"scalar": tensor(shape=[], offsets=(0, 2))})).parameters == 1


def test_files_of_one_model_are_added_up() -> None:
    parts = [
        Safetensors(1_500_000_000, 3, frozenset({"BF16"}), {"format": "pt"}),
        Safetensors(1_500_000_000, 4, frozenset({"BF16"}), {"x": "y"}),
    ]
    assert quantization(parts) == "BF16"
    assert parameters_text(parts) == "3.00B"
    assert shown(parts) == {"format": "pt", "x": "y", "tensor_count": "7"}
    assert quantization([*parts, Safetensors(1, 1, frozenset({"F32"}), {})]) == "mixed"
    assert quantization([Safetensors(0, 0, frozenset(), {})]) == "unknown"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\2\0\0",
        bytes(8) + b"{}",
        (10**12).to_bytes(8, "little") + b"{}",
        b"version https://git-lfs.github.com/spec/v1",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{",
        head({"a": 7}),
        head({"a": {"dtype": "F32", "shape": [1]}}),
        head({"a": tensor(shape=[-1])}),
        head({"a": tensor(shape=[True])}),
        head({"a": tensor(shape=[None])}),
        head({"a": tensor(shape="3")}),
        head({"a": tensor(offsets=(0, 101))}),
        head({"a": tensor(offsets=(5, 4))}),
        head({"a": tensor(offsets=(0,))}),
        head({"__metadata__": {"a": 1}}),
    ],
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        parse(raw)
    assert caught.value.kind is Kind.INVALID_MODEL
