"""build_native.py as a user meets it: a program run in a checkout, with what may go wrong.

The checkout is a copy whose native/ compiles in a second: one file, and what a test wants in it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

import build_native
from native.builder.ground import BuildError

ROOT = Path(__file__).resolve().parents[2]
CMAKE = """
cmake_minimum_required(VERSION 3.21)
project(runner_native LANGUAGES C)
add_library(runner_native SHARED library.c)
"""
FINE = "int rn_abi_version(void) { return 0; }\n"
ILLEGAL = "#include <signal.h>\nint rn_abi_version(void) { return raise(SIGILL); }\n"


class Checkout:
    """A copy of what builds, and a way to run it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copy(ROOT / "build_native.py", root)
        for folder in ("native/builder", "runner/binding"):
            ignored = shutil.ignore_patterns("*.so", "*.dylib", "*.json", "__pycache__")
            shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
        shutil.copytree(ROOT / "vendor", root / "vendor", ignore=lambda *_: ["llama.cpp"])
        (root / "llama").mkdir()
        (root / "llama" / "CMakeLists.txt").write_text("")
        self.write(CMAKE, FINE)

    def write(self, cmake: str, library: str) -> None:
        (self.root / "native" / "CMakeLists.txt").write_text(cmake)
        (self.root / "native" / "library.c").write_text(library)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = os.environ | {"RUNNER_BUILD_DIR": str(self.root / "build" / "native")}
        return subprocess.Popen(
            [sys.executable, "build_native.py", *arguments],
            cwd=self.root, env=environment | variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        with self.start(*arguments, **variables) as process:
            output, errors = process.communicate(timeout=100)
        return process.returncode, output, errors

    def build(self, **variables: str) -> tuple[int, str, str]:
        return self.run("--backend", "cpu", "--source", "llama", **variables)

    def placed(self) -> list[str]:
        folder = self.root / "runner" / "binding"
        return [path.name for path in folder.iterdir() if path.suffix not in ("", ".py")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def doctored_archive(folder: Path) -> None:
    with tarfile.open(folder / "llama_cpp_python-0.3.36.tar.gz", "w:gz") as tar:
        content = b"import os; os.abort()\n"
        member = tarfile.TarInfo("llama_cpp_python-0.3.36/setup.py")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def test_a_doctored_archive_is_refused_before_it_is_used(checkout: Checkout) -> None:
    (checkout.root / "links").mkdir()
    doctored_archive(checkout.root / "links")
    links = str(checkout.root / "links")
    code, _, errors = checkout.run(PIP_NO_INDEX="1", PIP_FIND_LINKS=links, PIP_CONSTRAINT="")
    assert code == 1
    assert errors.startswith(
        "error: llama_cpp_python-0.3.36.tar.gz is not the pinned file: its sha256 is "
    )
    assert "expected 832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e" in errors
    assert not (checkout.root / "vendor" / "llama.cpp").exists()
    assert list((checkout.root / "build").iterdir()) == []


def test_without_network_and_sources_the_error_says_what_to_do(checkout: Checkout) -> None:
    code, _, errors = checkout.run(PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONSTRAINT="")
    assert code == 1
    error, hint = errors.splitlines()
    assert error.startswith("error: could not fetch llama-cpp-python 0.3.36: ")
    assert hint == (
        "hint:  the first build needs the network once; or give a llama.cpp tree: --source DIR"
    )


def test_without_a_compiler_the_error_says_what_to_install(checkout: Checkout) -> None:
    (checkout.root / "bin").mkdir()
    for tool in ("cmake", "ninja"):
        found = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
        assert found, "the tests need what a build needs"
        (checkout.root / "bin" / tool).symlink_to(found)
    code, _, errors = checkout.build(PATH=str(checkout.root / "bin"), CC="", CXX="")
    assert code == 1
    assert errors.splitlines()[0] == "error: no compiler found: cc gcc clang cl"
    assert errors.splitlines()[1].startswith("hint:  try: ")


def test_a_compile_error_shows_its_last_lines_and_the_log(checkout: Checkout) -> None:
    checkout.write(CMAKE, "int broken(void) { return undeclared_name; }\n")
    code, output, errors = checkout.build()
    log = checkout.root / "build" / "native" / "build.log"
    assert code == 1
    assert "undeclared_name" in errors
    assert errors.endswith(f"error: compile failed\nhint:  the whole log: {log}\n")
    assert len(errors.splitlines()) <= 32
    assert "undeclared_name" in log.read_text()
    assert "configure " in output
    assert checkout.placed() == []


def test_a_tree_that_cmake_refuses_is_shown_the_same_way(checkout: Checkout) -> None:
    checkout.write("message(FATAL_ERROR no_such_thing)\n", FINE)
    code, _, errors = checkout.build()
    assert code == 1
    assert "no_such_thing" in errors
    assert "error: configure failed" in errors


def test_a_library_that_crashes_is_built_again_with_less_and_never_placed(
    checkout: Checkout,
) -> None:
    checkout.write(CMAKE, ILLEGAL)
    code, output, errors = checkout.build()
    assert code == 1
    assert "the native build: crashed (load), SIGILL" in output
    assert "building the CPU part again with less: " in output
    assert "the baseline build: crashed (load), SIGILL" in output
    assert errors == "error: the library does not pass its self-test and is not used\n"
    assert checkout.placed() == []


def test_a_library_of_another_abi_is_an_error_and_not_blamed_on_the_cpu(
    checkout: Checkout,
) -> None:
    code, output, errors = checkout.build()
    assert code == 1
    assert "the native build: unusable (load), " in output
    assert "ABI 0" in output
    assert "again with less" not in output
    assert errors == "error: the library does not pass its self-test and is not used\n"


def test_a_library_that_hangs_is_stopped(checkout: Checkout) -> None:
    checkout.write(CMAKE, "int rn_abi_version(void) { for (;;) {} }\n")
    library = checkout.root / "hangs.so"
    compiler = build_native.tools.find_compiler()
    source = checkout.root / "native" / "library.c"
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    verdict = build_native.self_test(library, timeout_s=1.0)
    assert (verdict.kind, verdict.stage) == ("hung", "load")


def test_ctrl_c_stops_the_compilers_too(checkout: Checkout) -> None:
    pid_file = checkout.root / "compiler.pid"
    waits = f"""
add_custom_command(OUTPUT more.c COMMAND sh -c "echo $$$$ >{pid_file}; exec sleep 100" VERBATIM)
target_sources(runner_native PRIVATE more.c)
"""
    checkout.write(CMAKE + waits, FINE)
    with checkout.start("--backend", "cpu", "--source", "llama") as process:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "\ninterrupted; run it again to go on where it stopped\n"
    compiler = Path("/proc") / pid_file.read_text().strip()
    deadline = time.monotonic() + 10
    while compiler.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not compiler.exists()


@pytest.mark.native
def test_a_second_run_has_nothing_to_do_and_takes_no_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wish = {"backend": "auto", "source": None, "portable": False, "force": False}
    try:
        order = build_native.survey(argparse.Namespace(**wish))
    except BuildError as error:
        pytest.skip(f"this machine cannot build: {error}")
    if not build_native.is_current(order, build_native.read_record()):
        pytest.skip("the library is older than its sources: make native")
    record = build_native.RECORD.stat()
    took_s = []
    for _ in range(3):
        started = time.monotonic()
        assert build_native.main([]) == 0
        took_s.append(time.monotonic() - started)
    assert "nothing to do: " in capsys.readouterr().out
    assert build_native.RECORD.stat().st_mtime_ns == record.st_mtime_ns
    assert min(took_s) < 2.0


@pytest.mark.native
def test_the_record_tells_what_was_built() -> None:
    record = json.loads(build_native.RECORD.read_text())
    assert record["backend"] in ("cpu", "cuda", "metal", "vulkan", "opencl")
    assert record["self_test"]["allowed"] == 0.4
    assert max(record["self_test"]["differences"].values()) <= 0.4
    assert "-DCMAKE_BUILD_TYPE=Release" in record["options"]
    assert record["cpu_features"]
