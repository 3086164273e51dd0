from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.registry.hub_reply import HubFile
from runner.transfer.quantization import (
    Choice,
    choose_projector,
    choose_variant,
    list_variants,
    read_label,
)

SOURCE = "hf.co/Org/Repo"


def file(path: str, size_bytes: int = 1024) -> HubFile:
    return HubFile(path, size_bytes, "0" * 40)


def choose(selector: str | None, *paths: str) -> Choice:
    return choose_variant(list_variants([file(path) for path in paths]), selector, source=SOURCE)


def chosen(selector: str | None, *paths: str) -> list[str]:
    return [file.path for file in choose(selector, *paths).variant.files]


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M", "Q4_K_M"),
        ("llama-2-7b.Q5_0", "Q5_0"),
        ("qwen2.5-0.5b-instruct-q4_k_m", "Q4_K_M"),
        ("UD-Q4_K_XL/DeepSeek-R1-UD-Q4_K_XL", "UD-Q4_K_XL"),
        ("Q4_K_M/model", "Q4_K_M"),
        ("model.IQ2_XXS", "IQ2_XXS"),
        ("m-IQ4_NL", "IQ4_NL"),
        ("m_Q8_0_imat", "Q8_0"),
        ("m-Q4_0_8_8", "Q4_0_8_8"),
        ("m-TQ1_0", "TQ1_0"),
        ("gpt-oss-20b-mxfp4", "MXFP4"),
        ("Phi-3-mini-4k-instruct-q4", "Q4"),
        ("Phi-3-mini-4k-instruct-fp16", "F16"),
        ("ggml-model-f16", "F16"),
        ("model-BF16", "BF16"),
        ("Q8_0/model-F16", "F16"),
        ("SmolLM2-135M", None),
        ("IQuest-1B", None),
        ("FAQ4you", None),
        ("", None),
    ],
)
def test_the_label_is_read_from_the_name(path: str, label: str | None) -> None:
    assert read_label(path) == label


@pytest.mark.parametrize(
    ("selector", "paths", "expected"),
    [
        (None, ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf"], ["m-Q4_K_M.gguf"]),
        (None, ["m-Q8_0.gguf", "m-Q6_K.gguf", "m-Q2_K.gguf"], ["m-Q6_K.gguf"]),
        (None, ["m-IQ1_S.gguf", "m-Q2_K.gguf"], ["m-Q2_K.gguf"]),
        (None, ["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"], ["m-Q4_K_M.gguf"]),
        (None, ["b.gguf", "a.gguf"], ["a.gguf"]),
        (None, ["sub/m-Q4_K_M.gguf", "x-Q4_K_M.gguf"], ["x-Q4_K_M.gguf"]),
        (None, ["mmproj-m-f16.gguf", "m.gguf", "m.imatrix.gguf", "README.md"], ["m.gguf"]),
        ("q8_0", ["m-Q8_0.gguf", "m-Q4_K_M.gguf"], ["m-Q8_0.gguf"]),
        ("Q8_0.gguf", ["m-Q8_0.gguf", "m-Q4_K_M.gguf"], ["m-Q8_0.gguf"]),
        ("fp16", ["m-f16.gguf", "m-BF16.gguf"], ["m-f16.gguf"]),
        ("Q4_K_XL", ["m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf"], ["m-UD-Q4_K_XL.gguf"]),
        ("UD-Q4_K_XL", ["m-UD-Q4_K_XL.gguf", "m-Q4_K_XL.gguf"], ["m-UD-Q4_K_XL.gguf"]),
        ("Q4", ["m-Q4_0.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"], ["m-Q4_K_M.gguf"]),
        ("Q8", ["m-Q4_0.gguf", "m-Q8_0.gguf"], ["m-Q8_0.gguf"]),
        ("base", ["m-base-Q8_0.gguf", "m-chat-Q4_K_M.gguf"], ["m-base-Q8_0.gguf"]),
        ("m-chat-Q4_K_M", ["m-chat-Q4_K_M.gguf", "m-chat-Q4_K_M-v2.gguf"], ["m-chat-Q4_K_M.gguf"]),
        ("M-Chat-q4_k_m.gguf", ["m-chat-Q4_K_M.gguf", "a-Q4_K_M.gguf"], ["m-chat-Q4_K_M.gguf"]),
    ],
)
def test_which_file_is_taken(selector: str | None, paths: list[str], expected: list[str]) -> None:
    assert chosen(selector, *paths) == expected


def test_shards_are_one_model_in_their_order_in_folders_too() -> None:
    paths = [
        "m-Q8_0.gguf",
        "Q4_K_M/m-Q4_K_M-00002-of-00003.gguf",
        "Q4_K_M/m-Q4_K_M-00003-of-00003.gguf",
        "Q4_K_M/m-Q4_K_M-00001-of-00003.gguf",
    ]
    assert chosen(None, *paths) == [
        "Q4_K_M/m-Q4_K_M-00001-of-00003.gguf",
        "Q4_K_M/m-Q4_K_M-00002-of-00003.gguf",
        "Q4_K_M/m-Q4_K_M-00003-of-00003.gguf",
    ]


def test_equal_names_in_two_folders_are_two_models() -> None:
    paths = ["Q4_K_M/m-00001-of-00001.gguf", "Q8_0/m-00001-of-00001.gguf"]
    assert chosen("Q8_0", *paths) == ["Q8_0/m-00001-of-00001.gguf"]


def test_a_missing_shard_is_named() -> None:
    with pytest.raises(RunnerError) as caught:
        choose(None, "m-Q4_K_M-00001-of-00003.gguf", "m-Q4_K_M-00003-of-00003.gguf")
    assert caught.value.kind is Kind.INVALID_MODEL
    assert caught.value.message == (
        "hf.co/Org/Repo: Q4_K_M (2.00KiB) is in 3 parts, and part 2 is missing"
    )


def test_an_unmatched_selector_is_refused_with_the_list() -> None:
    with pytest.raises(RunnerError) as caught:
        choose("Q9_K", "m-Q8_0.gguf", "m-Q4_K_M.gguf", "other.gguf")
    error = caught.value
    assert error.kind is Kind.MODEL_NOT_FOUND
    assert error.message == (
        "hf.co/Org/Repo has no 'Q9_K'; it has Q4_K_M (1.00KiB), Q8_0 (1.00KiB), other (1.00KiB)"
    )
    assert error.hint == "write hf.co/Org/Repo:Q4_K_M"


def test_a_repository_without_gguf_files_is_refused() -> None:
    with pytest.raises(RunnerError) as caught:
        choose(None, "model.safetensors", "config.json")
    assert caught.value.kind is Kind.INVALID_MODEL
    assert caught.value.message == "hf.co/Org/Repo has no GGUF files"


@pytest.mark.parametrize(
    ("selector", "paths", "reason"),
    [
        (None, ["m-Q8_0.gguf"], "taking Q8_0 (1.00KiB)"),
        (
            None,
            ["m-Q8_0.gguf", "m-Q4_K_M.gguf"],
            "taking Q4_K_M (1.00KiB), the default of 2 quantisations",
        ),
        ("Q8", ["m-Q8_0.gguf", "m-Q4_K_M.gguf"], "taking Q8_0 (1.00KiB)"),
        (
            "Q8_0",
            ["a-Q8_0.gguf", "b-Q8_0.gguf"],
            "taking Q8_0 (1.00KiB): a-Q8_0; b-Q8_0 would also fit",
        ),
    ],
)
def test_it_says_what_it_takes(selector: str | None, paths: list[str], reason: str) -> None:
    assert choose(selector, *paths).reason == reason


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["m-Q4_K_M.gguf"], None),
        (["m-Q4_K_M.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"], "mmproj-F16.gguf"),
        (["m-Q4_K_M.gguf", "mmproj-Q8_0.gguf", "mmproj-BF16.gguf"], "mmproj-BF16.gguf"),
        (["m-Q4_K_M.gguf", "other/mmproj-F16.gguf"], None),
        (["a/m-Q4_K_M.gguf", "a/mmproj.gguf", "mmproj-F16.gguf"], "a/mmproj.gguf"),
        (["a/m-Q4_K_M.gguf", "MMPROJ-F16.GGUF"], "MMPROJ-F16.GGUF"),
    ],
)
def test_which_projector_is_taken(paths: list[str], expected: str | None) -> None:
    files = [file(path) for path in paths]
    weights = choose_variant(list_variants(files), None, source=SOURCE).variant
    projector = choose_projector(files, weights)
    assert (projector.path if projector else None) == expected


@given(st.lists(st.text("abQ4_KM-./0158gufo", max_size=30), max_size=8), st.text(max_size=10))
def test_any_names_give_a_choice_or_a_refusal(paths: list[str], selector: str) -> None:
    try:
        choice = choose(selector, *paths, *(f"{path}.gguf" for path in paths))
    except RunnerError as error:
        assert error.kind in (Kind.MODEL_NOT_FOUND, Kind.INVALID_MODEL)
    else:
        assert all(found.path.endswith(".gguf") for found in choice.variant.files)
