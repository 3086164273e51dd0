"""Which adapters a request means, and which files are adapters for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.wire.messages import AdapterFacts, AdapterScale
from runner.worker.adapters import LoadedAdapters
from runner.worker.model_file import check_adapter_file
from tests.support.adapters import adapter
from tests.support.gguf_maker import STR, U32, tiny_model

TWO = LoadedAdapters((AdapterFacts(name="law"), AdapterFacts(name="verse")))


@pytest.mark.parametrize(
    ("wanted", "scales"),
    [
        (None, None),
        ((), (0.0, 0.0)),
        ((AdapterScale(1, 0.5),), (0.0, 0.5)),
        ((AdapterScale("law", 2.0), AdapterScale("verse", -1.0)), (2.0, -1.0)),
        ((AdapterScale(1, 1.0), AdapterScale("law", 1.0)), None),  # as the model is loaded
    ],
)
def test_a_request_has_the_scales_that_it_lists(wanted: Any, scales: Any) -> None:
    assert TWO.choose(wanted) == scales


def test_a_model_without_adapters_uses_none() -> None:
    assert LoadedAdapters().choose(()) is None


@pytest.mark.parametrize(
    ("adapters", "wanted", "param", "words"),
    [
        (TWO, (AdapterScale(2, 1.0),), "lora[0].id", "has the adapters 0 (law), 1 (verse)"),
        (TWO, (AdapterScale(0, 1.0), AdapterScale("x", 1.0)), "lora[1].name", "0 (law)"),
        (TWO, (AdapterScale(0, 1.0), AdapterScale("law", 1.0)), "lora[1].name", "listed twice"),
        (LoadedAdapters(), (AdapterScale(0, 1.0),), "lora[0].id", "has no adapters"),
    ],
)
def test_what_the_model_does_not_have_is_named(
    adapters: LoadedAdapters, wanted: Any, param: str, words: str
) -> None:
    with pytest.raises(RunnerError, match=r"lora\[") as caught:
        adapters.choose(wanted)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiny_model(), "general.type is not 'adapter'"),
        (adapter(general__architecture=(STR, "gemma3")), "general.architecture is not 'llama'"),
        (adapter(adapter__type=(STR, "control")), "adapter.type is not 'lora'"),
        (adapter(adapter__type=(U32, 1)), "adapter.type is not 'lora'"),
        (adapter(adapter__lora__alpha=(U32, 1)), "adapter.lora.alpha is not a float"),
        (adapter()[:-1000], "past the file's end"),
        (b"hello", "not a GGUF file"),
    ],
)
def test_a_file_that_is_no_adapter_for_the_model_is_named(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "adapter-1.gguf"
    path.write_bytes(content)
    with pytest.raises(RunnerError) as caught:
        check_adapter_file(path, "llama")
    assert caught.value.kind is Kind.INVALID_MODEL
    assert words in caught.value.message


def test_an_adapter_for_the_model_passes(tmp_path: Path) -> None:
    path = tmp_path / "adapter-1.gguf"
    path.write_bytes(adapter(name="law"))
    check_adapter_file(path, "llama")
