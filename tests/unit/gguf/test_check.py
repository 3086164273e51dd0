from __future__ import annotations

from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.gguf import Gguf, read_header
from tests.support.gguf_maker import (
    ARR,
    F32,
    I32,
    I64,
    STR,
    U16,
    U32,
    make_gguf,
    tiny_fields,
    tiny_model,
    tiny_shards,
    tiny_tensors,
)


def read(data: bytes) -> Gguf:
    return read_header(data, len(data))


def field_at_fault(data: bytes) -> str:
    with pytest.raises(RunnerError) as caught:
        read(data)
    assert caught.value.kind is Kind.INVALID_MODEL
    return str(caught.value.details["field"])


HEADS = "llama.attention.head_count"
TOKENS = "tokenizer.ggml.tokens"
CASES: list[tuple[str, tuple[int, Any] | None]] = [
    ("general.architecture", None),
    ("general.architecture", (U32, 1)),
    ("general.architecture", (STR, "")),
    ("llama.block_count", None),
    ("llama.block_count", (U32, 0)),
    ("llama.block_count", (U32, 513)),
    ("llama.block_count", (U32, 100_000)),
    ("llama.block_count", (STR, "one")),
    ("llama.block_count", (F32, 1.0)),
    ("llama.nextn_predict_layers", (U32, 2)),
    ("llama.context_length", (U32, 0)),
    ("llama.embedding_length", (U32, 0)),
    ("llama.embedding_length", (I64, -1)),
    (HEADS, (U32, 0)),
    (HEADS, (STR, "4")),
    (HEADS, (ARR, (I32, [0]))),
    (HEADS, (ARR, (I32, [4, 4]))),
    (HEADS, (ARR, (I32, []))),
    (HEADS, (ARR, (I32, [-4]))),
    (HEADS, (ARR, (F32, [4.0]))),
    (HEADS + "_kv", (ARR, (I32, [2, 2]))),
    (HEADS + "_kv", (ARR, (STR, ["2"]))),
    ("llama.expert_count", (U32, 1025)),
    ("llama.rope.scaling.type", (STR, "spiral")),
    ("split.no", (STR, "0")),
    ("split.count", (I32, -1)),
    (TOKENS, (STR, "a b c")),
    (TOKENS, (ARR, (U32, [1, 2, 3, 4, 5, 6]))),
    (TOKENS, (ARR, (STR, []))),
    (TOKENS, (ARR, (STR, ["a", "b", "c", "<0x0A>", "e", "a"]))),
    (TOKENS, (ARR, (STR, ["a", "b", "c", "<0x0A>", "", "[EMPTY_4]"]))),
    (TOKENS, (ARR, (STR, ["a", "b", "c", "<0x-1>", "e", "f"]))),
    (TOKENS, (ARR, (STR, ["a", "b", "c", "<0x0A", "e", "f"]))),
    (TOKENS, (ARR, (STR, ["a", "b", "c", "<0x0A>", "e", "f" * 1_000_000]))),
    ("tokenizer.ggml.scores", (ARR, (F32, [0.0] * 5))),
    ("tokenizer.ggml.scores", (ARR, (U32, [0] * 6))),
    ("tokenizer.ggml.scores", (F32, 0.0)),
    ("tokenizer.ggml.token_type", (ARR, (I32, [1] * 7))),
    ("tokenizer.ggml.token_type", (ARR, (U32, [1] * 6))),
    ("tokenizer.ggml.merges", (ARR, (I32, [1]))),
]


@pytest.mark.parametrize(("key", "change"), CASES, ids=[f"{k}={v}"[:60] for k, v in CASES])
def test_what_the_engine_would_trip_over_is_refused_by_its_key(
    key: str, change: tuple[int, Any] | None
) -> None:
    fields = dict(tiny_fields())
    if change is None:
        del fields[key]
    else:
        fields[key] = change
    assert field_at_fault(make_gguf(fields, tiny_tensors())) == key


def test_experts_and_experts_used_must_agree() -> None:
    used = "llama.expert_used_count"
    for experts, chosen, is_sound in ((8, 2, True), (8, 9, False), (8, 0, False), (0, 2, False)):
        fields = {**tiny_fields(), "llama.expert_count": (U32, experts), used: (U32, chosen)}
        data = make_gguf(fields, tiny_tensors())
        if is_sound:
            read(data)
        else:
            assert field_at_fault(data) == used


def test_an_expert_model_must_say_how_many_are_used() -> None:
    data = make_gguf({**tiny_fields(), "llama.expert_count": (U32, 8)}, tiny_tensors())
    assert field_at_fault(data) == "llama.expert_used_count"


def test_models_without_attention_have_no_heads() -> None:
    fields = {
        "general.architecture": (STR, "mamba"),
        "mamba.block_count": (U32, 1),
        "mamba.attention.head_count": (U32, 0),
    }
    assert read(make_gguf(fields, tiny_tensors())).architecture == "mamba"


def test_some_blocks_may_have_no_heads() -> None:
    changes = {"llama.block_count": (U32, 2), HEADS: (ARR, (I32, [0, 4]))}
    fields = {**tiny_fields(), **changes, HEADS + "_kv": (ARR, (I32, [0, 2]))}
    assert read(make_gguf(fields, tiny_tensors())).array(HEADS) is not None


@pytest.mark.parametrize("kind", ["adapter", "mmproj"])
def test_parts_of_models_need_no_blocks(kind: str) -> None:
    fields = {"general.architecture": (STR, "llama"), "general.type": (STR, kind)}
    assert read(make_gguf(fields, tiny_tensors())).text("general.type") == kind


def test_a_vocabulary_without_weights_needs_no_blocks() -> None:
    data = make_gguf(tiny_fields(llama__block_count=None))
    assert read(data).tensors == ()


def test_scores_may_be_integers_as_the_engine_reads_both() -> None:
    read(tiny_model(tokenizer__ggml__scores=(ARR, (I32, [0] * 6))))


def test_a_token_may_look_like_a_byte_when_it_is_not_one() -> None:
    tokens = ["<0x-1>", "b", "c", "<0x0a>", "", "f"]
    read(tiny_model(tokenizer__ggml__tokens=(ARR, (STR, tokens))))


def test_tokens_without_types_are_sound() -> None:
    read(tiny_model(tokenizer__ggml__token_type=None))


def test_a_later_shard_has_no_architecture() -> None:
    second = read(tiny_shards(3)[1])
    assert second.architecture is None
    assert second.split is not None
    assert (second.split.index, second.split.count, second.split.tensors) == (1, 3, 3)


def test_a_later_shard_that_comes_alone_cannot_claim_more_blocks() -> None:
    parts = {"split.no": (U16, 1), "split.count": (U16, 2)}
    data = tiny_model(**parts, **{"llama.block_count": (U32, 2**32 - 1)})
    assert field_at_fault(data) == "llama.block_count"


def test_a_shard_number_beyond_the_count_is_refused() -> None:
    data = tiny_model(split__no=(U16, 3), split__count=(U16, 3))
    assert field_at_fault(data) == "split.no"


def test_a_split_of_one_is_a_whole_model() -> None:
    assert read(tiny_model(split__no=(U16, 0), split__count=(U16, 1))).split is None
