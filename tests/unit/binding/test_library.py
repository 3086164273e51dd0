"""Loading: what was tried is in the message, and nothing is loaded at import."""

from __future__ import annotations

import _ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from runner.binding import load

REPOSITORY = Path(__file__).parents[3]


def test_a_missing_library_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"missing \(tried .*none\.so\).*build_native\.py"):
        load(tmp_path / "none.so")


def test_a_file_that_is_no_library_is_an_import_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.so"
    path.write_bytes(b"not a library")
    with pytest.raises(ImportError, match=r"cannot load .*bad\.so"):
        load(path)


def test_a_library_of_something_else_is_an_import_error() -> None:
    path = getattr(_ctypes, "__file__", None)
    if path is None:
        pytest.skip("this Python has no extension module as a file")
    with pytest.raises(ImportError, match="rn_abi_version"):
        load(Path(path))


def test_importing_the_package_loads_no_library() -> None:
    script = "import runner.binding; print('librunner_native' in open('/proc/self/maps').read())"
    if not Path("/proc/self/maps").exists():
        pytest.skip("what a process has loaded is read in /proc, on Linux alone")
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
