from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import models
from benchmarks.models import QUANTS, Shape
from native.builder.ground import BuildError
from runner.gguf import describe, read_header
from tests.support.gguf_maker import tiny_model

SHAPE = Shape(layers=2, width=64, inner=128, heads=4, kv_heads=2)


@pytest.mark.parametrize(("name", "block"), [("q4_0", 18), ("q4_1", 20), ("q8_0", 34)])
def test_a_random_model_is_sound_and_has_the_vocabulary_of_another(
    tmp_path: Path, name: str, block: int
) -> None:
    (tmp_path / "other").write_bytes(tiny_model())
    path = tmp_path / "random.gguf"
    models.write_random(path, tmp_path / "other", SHAPE, QUANTS[name])
    header = read_header(path.read_bytes(), path.stat().st_size)
    matrices = [tensor for tensor in header.tensors if len(tensor.shape) == 2]
    assert sum(t.size_bytes for t in matrices) == sum(t.elements for t in matrices) // 32 * block
    tokens = header.array("tokenizer.ggml.tokens")
    assert tokens is not None and tokens.strings()[-2:] == [b"a", b"b"]
    metadata = describe(header)
    assert (metadata.block_count, metadata.head_count_kv) == (2, 2)


def test_a_model_is_a_file_or_one_of_the_names(tmp_path: Path) -> None:
    file = tmp_path / "my.gguf"
    file.write_bytes(b"")
    assert models.find(str(file)) == file
    with pytest.raises(BuildError, match="no model nothing"):
        models.find("nothing")
