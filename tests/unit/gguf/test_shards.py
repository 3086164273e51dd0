from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.gguf import ShardName, check_shards, parse_shard_name, read_header, render_shard_name
from tests.support.gguf_maker import I32, U16, Tensor, make_gguf, tiny_model, tiny_shards

NAMES: list[tuple[str, ShardName | None]] = [
    ("model-00001-of-00003.gguf", ShardName("model", 1, 3)),
    ("a-b-00012-of-00012.gguf", ShardName("a-b", 12, 12)),
    ("model.gguf", None),
    ("model-00004-of-00003.gguf", None),
    ("model-00000-of-00003.gguf", None),
    ("model-1-of-3.gguf", None),
    ("model-00001-of-00003.gguf.part", None),
    ("-00001-of-00003.gguf", None),
    ("model-٠٠٠٠١-of-00003.gguf", None),  # noqa: RUF001
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_a_shards_name_has_two_numbers_of_five_digits(text: str, name: ShardName | None) -> None:
    assert parse_shard_name(text) == name
    if name:
        assert render_shard_name(name.stem, name.index, name.count) == text


def problem(*parts: bytes) -> str:
    with pytest.raises(RunnerError) as caught:
        check_shards([read_header(part, len(part)) for part in parts])
    assert caught.value.kind is Kind.INVALID_MODEL
    return caught.value.message


def test_all_parts_in_order_are_a_model() -> None:
    check_shards([read_header(part, len(part)) for part in tiny_shards(3)])
    whole = tiny_model()
    check_shards([read_header(whole, len(whole))])


def test_parts_must_be_complete_and_in_order() -> None:
    first, second, third = tiny_shards(3)
    assert problem(first) == "invalid sharded model: the model is in 3 parts, but 1 are given"
    assert "in 3 parts, but 2" in problem(first, second)
    assert "part 2 says it is part 3" in problem(first, third, second)
    assert "part 1 says it is part 2" in problem(second, first, third)
    assert "in 1 parts, but 2" in problem(tiny_model(), tiny_model())


def test_a_part_of_another_model_is_refused() -> None:
    first, second, third = tiny_shards(3)
    assert "part 2 is not one of 3 parts" in problem(first, tiny_shards(2)[1], third)
    assert "part 3 is not one of 3 parts" in problem(first, second, tiny_model())
    split = {"split.no": (U16, 2), "split.count": (U16, 3), "split.tensors.count": (I32, 3)}
    again = make_gguf(split, [Tensor("blk.0.part_1.weight")])
    assert "the same tensor" in problem(first, second, again)
    more = make_gguf(split, [Tensor("x"), Tensor("y")])
    assert "hold 4 tensors, not 3" in problem(first, second, more)
