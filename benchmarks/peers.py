"""llama.cpp's own programs, built on first use from the sources that our library is built from.

Two variants. ``ours``: the flags of our library, so the same kernels, and its thread pool, so that
what differs is the program. ``defaults``: what ``cmake -B build`` gives on this machine; where that
crashes, as with AMX and GCC 12, the next weaker CPU build of build_native.py.

RUNNER_PEER_DIR names a folder with ready-made programs, in it or in a folder a variant.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from benchmarks import machine
from native.builder import tiny_model, tools
from native.builder.ground import BuildError, ask, cache_dir
from native.builder.plan import (
    Cpu,
    Facts,
    Verdict,
    build_key,
    cpu_ladder,
    job_count,
    judge,
    next_cpu,
)
from native.builder.source import Pin, ensure_source
from native.builder.steps import Step, run_logged

Variant = Literal["ours", "defaults"]
PROGRAMS = ("llama-server", "llama-bench", "llama-perplexity", "llama-quantize")
INCLUDE = machine.ROOT / "native" / "include"
PIN_FILE = machine.ROOT / "vendor" / "llama.cpp.json"
TRY_S = 60.0

# Only what we need of it: no web page, no TLS, no tests. None of these bears on speed.
PARTS = (
    "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_COMMON=ON",
    "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_NUMBER=0", "-DGGML_CCACHE=OFF",
)  # fmt: skip


def binary(name: str, variant: Variant = "ours") -> Path:
    """Give the program; build it if need be, which takes ten minutes and more the first time.

    Raises BuildError when it cannot be built, or when no build of it runs on this machine.
    """
    if name not in PROGRAMS:
        raise BuildError(f"{name} is not one of {', '.join(PROGRAMS)}")
    if ready := os.environ.get("RUNNER_PEER_DIR"):
        return _ready_made(Path(ready), name, variant)
    ladder = tuple(_ladder(variant))
    cpu: Cpu | None = ladder[0]
    while cpu:
        folder = _folder(variant, cpu)
        if not (folder / "bin" / name).is_file():
            _build(folder, cpu.flags, name)
        verdict = _verdict(folder)
        if verdict.kind == "passed":
            return folder / "bin" / name
        cpu = next_cpu(ladder, cpu, verdict)
    raise BuildError(f"no build of llama.cpp runs here: {verdict.kind}, {verdict.detail}")


def describe(variant: Variant) -> str:
    """Say in a few words which build ``binary`` gives, for a result's options."""
    if ready := os.environ.get("RUNNER_PEER_DIR"):
        return f"{variant}: of {ready}"
    return f"{variant}: {binary('llama-server', variant).parents[1].name}"


def _ready_made(folder: Path, name: str, variant: Variant) -> Path:
    for place in (folder / variant / name, folder / name):
        if place.is_file():
            return place
    raise BuildError(f"RUNNER_PEER_DIR has no {name}: {folder}")


def _ladder(variant: Variant) -> Iterator[Cpu]:
    """The builds to try, best first."""
    if variant == "ours":
        yield Cpu("ours", tuple(_our_flags()))
        return
    yield Cpu("plain", ())
    facts = Facts(
        platform.system(),
        platform.machine(),
        tools.cpu_features(tools.find_compiler(), platform.machine()),
    )
    yield from cpu_ladder(facts, is_portable=False)[1:]


def _our_flags() -> Iterator[str]:
    """The cmake options of the library in place, and what native/CMakeLists.txt adds to them."""
    record = machine.build_record()
    if "options" not in record:
        raise BuildError("our library is not built, so its flags are unknown", "try: make native")
    yield from record["options"]
    yield "-DGGML_OPENMP=OFF"
    yield f"-DCMAKE_C_FLAGS=-include {INCLUDE / 'barrier_yield.h'}"
    yield f"-DCMAKE_CXX_FLAGS=-include {INCLUDE / 'amx_tile_fix.h'}"


def _folder(variant: Variant, cpu: Cpu) -> Path:
    compiler = tools.find_compiler()
    inputs = {
        "cpu": asdict(cpu),
        "pin": Pin.read(PIN_FILE).sha256,
        "compiler": ask([*compiler, "--version"]).stdout.partition("\n")[0],
        "features": sorted(tools.cpu_features(compiler, platform.machine())),
        "paths": [str(INCLUDE), str(cache_dir())],
        "headers": [path.read_text(encoding="utf-8") for path in sorted(INCLUDE.glob("*_*.h"))],
    }
    return cache_dir() / "peer" / f"{variant}-{cpu.name}-{build_key(inputs)}"


def _build(folder: Path, flags: Sequence[str], name: str) -> None:
    """Configure and compile into ``folder``; objects of programs built before are used again."""
    print(f"building {name} in {folder}: ten minutes and more, once", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    source = folder.parent / "source"
    # All of it, while build_native.py unpacks what the library needs.
    pin = replace(Pin.read(PIN_FILE), keep=("",))
    print(ensure_source(pin, source, scratch=folder.parent), file=sys.stderr, flush=True)
    log = folder / "build.log"
    ninja = tools.find_tool("ninja")
    configure = [tools.find_tool("cmake"), "-S", str(source), "-B", str(folder), "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={ninja}", *PARTS, *flags, *tools.launchers()]
    # llama.cpp's cmake files ask git for a commit: this keeps them from finding one of ours.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(source.parent)}
    run_logged(configure, log, Step("configure"), environment=environment)
    jobs = job_count(tools.cpus_here(), tools.memory_here(), "cpu")
    command = [ninja, "-C", str(folder), "-j", str(jobs), name, "llama-bench"]
    run_logged(command, log, Step("compile"), environment=environment)


def _verdict(folder: Path) -> Verdict:
    """Whether this build computes here without dying; asked once, then remembered beside it."""
    record = folder / "verdict.json"
    if record.is_file():
        return Verdict(**json.loads(record.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory(prefix="runner-peer-") as scratch:
        model = Path(scratch, "model.gguf")
        tiny_model.write_models(model, Path(scratch, "plain.gguf"))
        verdict = _try([folder / "bin" / "llama-bench", "-m", model, "-p", "64", "-n", "4"])
    record.write_text(json.dumps(asdict(verdict)) + "\n", encoding="utf-8")
    return verdict


def _try(command: Sequence[str | Path]) -> Verdict:
    """Run a program that may die of it: 64 rows at a time are what AMX kernels die of."""
    try:
        done = subprocess.run(
            [*command, "-r", "1", "-o", "json"],
            capture_output=True, encoding="utf-8", errors="replace", timeout=TRY_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return judge(None, "", "")
    return judge(done.returncode, done.stdout, done.stderr)
