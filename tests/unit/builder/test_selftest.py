"""The self-test's arithmetic: what counts as the same numbers, and the model it makes."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from random import Random

import pytest

from native.builder.selftest import difference, features
from native.builder.tiny_model import Q4_0, Q4_1, Q4_K, Q6_K, Q8_0, Quant, render, write_models

ROW = {token: -float(token) for token in range(20)}


def test_equal_rows_differ_by_nothing() -> None:
    assert difference([ROW, ROW], [ROW, ROW]) == 0.0


def test_the_difference_is_the_root_of_the_mean_square() -> None:
    off = {token: value + 0.5 for token, value in ROW.items()}
    assert difference([ROW, ROW], [ROW, off]) == pytest.approx(0.5 / math.sqrt(2))


def test_rows_about_other_tokens_are_infinitely_different() -> None:
    other = {token + 15: value for token, value in ROW.items()}
    assert difference([ROW], [other]) == math.inf


def test_a_row_of_no_numbers_is_not_within_any_bound() -> None:
    broken = dict.fromkeys(ROW, math.nan)
    assert not difference([ROW], [broken]) <= 1e9


def test_features_are_those_that_are_on() -> None:
    line = "CPU : SSE3 = 1 | AVX512 = 0 | AMX_INT8 = 1 | "
    assert features(line) == ["SSE3", "AMX_INT8"]


@pytest.mark.parametrize(
    ("quant", "size_bytes"),
    [(Q4_0, 18), (Q4_1, 20), (Q8_0, 34), (Q4_K, 144), (Q6_K, 210)],
)
def test_a_block_has_the_size_of_its_format_and_weights_of_one_spread(
    quant: Quant, size_bytes: int
) -> None:
    random = Random(1)
    blocks = [quant.make(random) for _ in range(2000 // quant.values + 10)]
    assert {len(packed) for packed, _ in blocks} == {size_bytes}
    assert {len(values) for _, values in blocks} == {quant.values}
    flat = array("d", (value for _, values in blocks for value in values))
    assert math.sqrt(sum(value * value for value in flat) / len(flat)) == pytest.approx(
        1 / 16, rel=0.4
    )


def test_a_q8_0_block_is_read_as_ggml_reads_it() -> None:
    packed, values = Q8_0.make(Random(7))
    as_half = int.from_bytes(packed[:2], "little")
    scale = (1 + (as_half & 1023) / 1024) * 2.0 ** ((as_half >> 10) - 15)
    signed = [byte - 256 if byte > 127 else byte for byte in packed[2:]]
    assert values == [scale * byte for byte in signed]


def test_tensor_data_begins_at_a_multiple_of_32() -> None:
    model = render({"a": (0, 0, bytes(1024)), "b": (0, 0, bytes([7]) * 1024)})
    assert len(model) % 32 == 0
    assert model.endswith(bytes([7]) * 1024)
    assert model[:8] == b"GGUF\x03\x00\x00\x00"


def test_the_same_model_is_made_every_time(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("q1", "f1", "q2", "f2")]
    write_models(names[0], names[1])
    write_models(names[2], names[3])
    assert names[0].read_bytes() == names[2].read_bytes()
    assert names[1].read_bytes() == names[3].read_bytes()
    assert names[0].stat().st_size < 1_000_000
