"""Modules and functions stay small enough to be read at once (CONTRIBUTING.md)."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import ROOT, Module, modules

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_module_fits(module: Module) -> None:
    assert len(module.text.splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_function_fits(module: Module) -> None:
    long = {
        node.name: length
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_names_say_what_a_thing_is(module: Module) -> None:
    assert module.path.stem not in FORBIDDEN_NAMES
    classes = [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if name.endswith("Manager")] == []


@pytest.mark.parametrize("suffix", ["*.cpp", "*.hpp", "*.h"])
def test_native_files_fit(suffix: str) -> None:
    long = {
        str(path.relative_to(ROOT)): length
        for path in (ROOT / "native").rglob(suffix)
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > MAX_MODULE_LINES
    }
    assert long == {}
