"""Finding tools: where they may lie, and what is said when they are nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from native.builder import tools
from native.builder.ground import BuildError


def program(path: Path, script: str = "") -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this folder all there is on PATH; Python lies elsewhere."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path


def test_a_tool_on_path_comes_first(only: Path) -> None:
    program(only / "ninja")
    assert tools.find_tool("ninja") == str(only / "ninja")


def test_a_tool_beside_this_python_is_found(only: Path) -> None:
    (only / "elsewhere").mkdir()
    program(only / "elsewhere" / "ninja")
    assert tools.find_tool("ninja") == str(only / "elsewhere" / "ninja")


def test_a_missing_tool_is_an_error_that_says_how_to_get_it(only: Path) -> None:
    with pytest.raises(BuildError) as caught:
        tools.find_tool("no-such-build-tool")
    assert str(caught.value) == "no-such-build-tool is needed and not found"
    assert caught.value.hint == "try: pip install cmake ninja"


def test_the_first_compiler_on_path_is_taken(only: Path) -> None:
    for name in ("clang", "gcc", "g++"):
        program(only / name)
    assert tools.find_compiler() == ["gcc"]


def test_the_environment_s_compiler_may_come_with_words(
    only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ccache", "clang", "clang++"):
        program(only / name)
    monkeypatch.setenv("CC", "ccache clang")
    assert tools.find_compiler() == ["ccache", "clang"]


def test_c_without_c_plus_plus_is_not_enough(only: Path) -> None:
    program(only / "gcc")
    with pytest.raises(BuildError, match=r"^no compiler found: c\+\+ g\+\+ clang\+\+ cl$"):
        tools.find_compiler()


def test_a_compiler_named_in_the_environment_must_be_there(
    only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(only / "gcc")
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(BuildError, match=r"^no compiler found: no-such-cc$"):
        tools.find_compiler()


def test_ccache_is_used_where_it_is(only: Path) -> None:
    assert tools.launchers() == []
    program(only / "ccache")
    assert tools.launchers() == [
        "-DCMAKE_C_COMPILER_LAUNCHER=ccache",
        "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache",
        "-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache",
    ]


def test_cpu_features_are_the_macros_that_matter(only: Path) -> None:
    program(only / "cc", "echo '#define __AVX2__ 1'; echo '#define __linux__ 1'; echo noise")
    assert tools.cpu_features([str(only / "cc")], "x86_64") == {"__AVX2__"}
    program(only / "cc", "echo '#define __ARM_FEATURE_DOTPROD 1'")
    assert tools.cpu_features([str(only / "cc")], "aarch64") == {"__ARM_FEATURE_DOTPROD"}
    program(only / "cc", "exit 1")
    assert tools.cpu_features([str(only / "cc")], "x86_64") == set()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the compiler for a .so file")
def test_everything_a_backend_lacks_is_listed(only: Path) -> None:
    program(only / "cc", 'case "$*" in -print-file-name=*) echo "${1#*=}";; *) exit 1;; esac')
    assert tools.missing_for("vulkan", [str(only / "cc")]) == (
        "glslc",
        "vulkan/vulkan.h",
        "spirv/unified1/spirv.hpp",
        "libvulkan.so",
    )
    program(only / "cc", "echo /usr/lib/libOpenCL.so")
    assert tools.missing_for("opencl", [str(only / "cc")]) == ()
