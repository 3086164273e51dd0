"""What `pip install` gets: the wheel and the sdist, as their builder lists their files."""

from __future__ import annotations

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from runner.api.page import FOLDER
from tests.conftest import ROOT

PAGE = {f"runner/web/{path.name}" for path in FOLDER.iterdir()}


def test_a_wheel_holds_the_package_with_its_page_and_nothing_else() -> None:
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "runner/web/index.html" in PAGE <= files
    assert "runner/cli/skill.md" in files
    assert {path.partition("/")[0] for path in files} == {"runner"}


def test_a_wheel_can_be_made_of_an_sdist() -> None:
    files = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    needed = {"build_native.py", "native/hatch_build.py", "native/CMakeLists.txt"}
    assert needed | {"vendor/llama.cpp.json"} | PAGE <= files
    assert not [path for path in files if path.startswith(("tests/", "vendor/llama.cpp/"))]
