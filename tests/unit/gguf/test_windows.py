"""How far back blocks look, by keys and by the architecture; numbers of models that exist."""

from __future__ import annotations

import re
from typing import Any

import pytest

from runner.gguf import Gguf, Window, read_header
from runner.gguf.windows import PATTERNS, find_window
from tests.conftest import ROOT
from tests.support.gguf_maker import ARR, BOOL, I32, STR, U32, make_gguf

SOURCES = ROOT / "vendor" / "llama.cpp" / "src"
NONE = Window()


def model(architecture: str, blocks: int, **attention: Any) -> Gguf:
    """A header; ``attention`` has the keys below ``attention.``."""
    fields: dict[str, tuple[int, Any]] = {
        "general.architecture": (STR, architecture),
        f"{architecture}.block_count": (U32, blocks),
    }
    for name, size in attention.items():
        value = (U32, size) if isinstance(size, int) else size
        fields[f"{architecture}.attention.{name}"] = value
    data = make_gguf(fields, [])
    return read_header(data, len(data))


@pytest.mark.parametrize(
    ("architecture", "blocks", "keys", "expected"),
    [
        pytest.param("gemma2", 26, {}, Window(4096, 0.5), id="Gemma 2 2B, an old file"),
        pytest.param("gemma2", 26, {"sliding_window": 512}, Window(512, 0.5), id="Gemma 2"),
        pytest.param("gemma3", 26, {"sliding_window": 512}, Window(512, 22 / 26), id="Gemma 3 1B"),
        pytest.param("gemma3", 26, {"sliding_window": 0}, NONE, id="Gemma 3 without a window"),
        pytest.param("gemma3", 26, {}, NONE, id="Gemma 3 that says nothing"),
        pytest.param("gpt-oss", 24, {"sliding_window": 128}, Window(128, 0.5), id="gpt-oss 20B"),
        pytest.param("exaone4", 64, {}, Window(4096, 0.75), id="EXAONE 4 32B"),
        pytest.param("exaone4", 30, {"sliding_window": 4096}, NONE, id="EXAONE 4 1.2B"),
        pytest.param("llama4", 48, {}, Window(8192, 0.75), id="Llama 4 Scout"),
        pytest.param("llama4", 48, {"sliding_window": 512}, Window(8192, 0.75), id="its chunk"),
        pytest.param("llama4", 48, {"sliding_window": 0}, NONE, id="Llama 4 without chunks"),
        pytest.param("smallthinker", 32, {"sliding_window": 1}, Window(4096, 0.75), id="fixed"),
        pytest.param("smallthinker", 6, {"sliding_window": 1}, Window(4096, 4 / 6), id="dense 1st"),
        pytest.param("cohere2", 6, {"sliding_window": 9}, Window(9, 5 / 6), id="dense last"),
        pytest.param("lfm2", 16, {"sliding_window": 64}, Window(64, 1.0), id="a hybrid's all"),
        pytest.param("llama", 32, {"sliding_window": 4096}, NONE, id="Mistral 7B v0.1: no cache"),
        pytest.param("phi3", 32, {"sliding_window": 2047}, NONE, id="Phi-3: switched off"),
    ],
)
def test_what_the_architecture_tells(
    architecture: str, blocks: int, keys: dict[str, int], expected: Window
) -> None:
    assert find_window(model(architecture, blocks, **keys)) == expected


@pytest.mark.parametrize(
    ("architecture", "pattern", "share"),
    [
        ("gemma3", 2, 0.5),
        ("gemma3", 1, 0.0),
        ("gemma3", 0, 1.0),  # llama_hparams::set_swa_pattern(0): all
        ("gemma3", (ARR, (BOOL, [True, True, True, False])), 0.75),
        ("gemma4", (ARR, (BOOL, [True, True, True, False])), 0.75),
        ("gemma4", (ARR, (I32, [])), 0.0),
        ("gemma3", (STR, "half"), 7 / 8),  # no number: as if it were not there
        ("llama", 2, 0.0),
    ],
)
def test_what_the_file_tells_counts_more(architecture: str, pattern: Any, share: float) -> None:
    told = model(architecture, 8, sliding_window=16, sliding_window_pattern=pattern)
    assert find_window(told) == (Window(16, share) if share else NONE)


def test_a_header_that_does_not_count_its_blocks_tells_of_no_window() -> None:
    data = make_gguf({"general.architecture": (STR, "gemma2")}, [])
    assert find_window(read_header(data, len(data))) == NONE


def test_the_table_is_llama_cpp_s() -> None:
    if not SOURCES.is_dir():
        pytest.skip("vendor/llama.cpp is not there: build_native.py fetches it")
    names = dict(
        re.findall(r"{ LLM_ARCH_(\w+), +\"([^\"]+)\"", (SOURCES / "llama-arch.cpp").read_text())
    )
    by_file = {name.lower().replace("_", "-"): text for name, text in names.items()}
    found = {}
    for path in (SOURCES / "models").glob("*.cpp"):
        call = r"load_swa_pattern\(ml, (\d+)(, (?:/\*dense_first=\*/)?true)?\)"
        if match := re.search(call, path.read_text()):
            found[by_file[path.stem]] = (int(match[1]), bool(match[2]))
    assert found == {
        name: (pattern.every, pattern.dense_first) for name, pattern in PATTERNS.items()
    }
