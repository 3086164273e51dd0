#!/usr/bin/env python3
"""Build runner's native library here: fetch llama.cpp, probe, configure, compile, self-test, place.

Developers, CI and `pip install .` (through native/hatch_build.py) all build with this file. It
runs before anything is installed: it needs only the standard library, a compiler, cmake and ninja.
What to do is decided in native/builder/plan.py. No compiler flag is trusted: a library that fails
its self-test (native/builder/selftest.py) is built again without the likely culprit, or not placed.

RUNNER_BUILD_DIR, where set, is the build directory; otherwise one below ~/.cache/runner/build.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from native.builder import cuda, tools
from native.builder.ground import BuildError, ask, cache_dir
from native.builder.plan import (
    BACKENDS,
    SELF_TEST_S,
    Cpu,
    Facts,
    Plan,
    Verdict,
    build_key,
    cmake_flags,
    cpu_ladder,
    job_count,
    judge,
    next_cpu,
    plan_backend,
)
from native.builder.source import Pin, ensure_source
from native.builder.steps import Step, run_logged

ROOT = Path(__file__).resolve().parent
NATIVE, PLACE = ROOT / "native", ROOT / "runner" / "binding"
RECORD = PLACE / "build.json"
PIN_FILE, PINNED_SOURCE = ROOT / "vendor" / "llama.cpp.json", ROOT / "vendor" / "llama.cpp"
SELF_TEST = NATIVE / "builder" / "selftest.py"
LIBRARIES = {"Darwin": "librunner_native.dylib", "Windows": "runner_native.dll"}
NEEDED_BYTES = 1_500_000_000  # the objects and the library of a CPU build, with room


@dataclass(frozen=True, slots=True)
class Order:
    """What to build out of what; `inputs` are equal exactly when nothing has to be built."""

    plan: Plan
    ladder: tuple[Cpu, ...]
    source: Path
    compiler: str
    library: str  # its file name
    inputs: dict[str, str]
    llama_cpp: dict[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a build happens and how."""

    folder: Path
    jobs: int
    is_verbose: bool

    @property
    def log(self) -> Path:
        """Hold all that cmake and ninja print."""
        return self.folder / "build.log"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, or say in one line why not: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    options = parse(arguments)
    try:
        build(options)
    except BuildError as error:
        report(error)
    except OSError as error:
        is_full = error.errno == errno.ENOSPC
        report(BuildError(str(error), "free some space, then run it again" if is_full else ""))
    except KeyboardInterrupt:
        print("\ninterrupted; run it again to go on where it stopped", file=sys.stderr)
        return 130
    else:
        return 0
    return 1


def report(error: BuildError) -> None:
    """Print an error: what there is to read, what went wrong, what to do."""
    sys.stdout.flush()
    for line in error.details:
        print(f"    {line}", file=sys.stderr)
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint:  {error.hint}", file=sys.stderr)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="build_native.py", description="Build the native library."
    )
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="default: auto")
    parser.add_argument("--source", type=Path, metavar="DIR", help="a llama.cpp tree of your own")
    parser.add_argument("--jobs", type=positive, metavar="N", help="compilers at a time")
    parser.add_argument(
        "--portable", action="store_true", help="for other machines: x86-64-v3, armv8.2"
    )
    parser.add_argument("--force", action="store_true", help="build again from nothing")
    parser.add_argument("--verbose", action="store_true", help="print what cmake and ninja print")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """Read a number of jobs."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def build(options: argparse.Namespace) -> None:
    """Do all the steps; only look around when the library in place is of the same inputs."""
    started = time.monotonic()
    order = survey(options)
    placed = {} if options.force else read_record()
    if is_current(order, placed):
        print(f"nothing to do: {PLACE / order.library} is of these sources and options")
        return
    site = prepare(order, options)
    record = compile_and_test(order, site, placed) | {
        "backend": order.plan.backend, "because": order.plan.because, "inputs": order.inputs,
        "compiler": order.compiler, "llama_cpp": order.llama_cpp,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    step = Step("place")
    size_bytes = place(site.folder / order.library, record)
    step.done(f"{PLACE / order.library}, {size_bytes / 1e6:.1f} MB")


def survey(options: argparse.Namespace) -> Order:
    """Have the sources, look at this machine, decide."""
    pin = Pin.read(PIN_FILE)
    source = get_source(pin, options.source)
    facts, plan, compiler = get_plan(options.backend)
    is_pinned = options.source is None
    identity = {
        "plan": asdict(plan), "is_portable": options.portable, "cpu": sorted(facts.cpu_features),
        "compiler": compiler, "pin": pin.sha256, "paths": [str(NATIVE), str(source)],
    }  # fmt: skip
    return Order(
        plan=plan,
        ladder=cpu_ladder(facts, is_portable=options.portable),
        source=source,
        compiler=compiler,
        library=LIBRARIES.get(facts.system, "librunner_native.so"),
        inputs={"key": build_key(identity), "native": digest(NATIVE), "source": digest(source)},
        llama_cpp={"commit": pin.commit, "sha256": pin.sha256}
        if is_pinned
        else {"tree": str(source)},
    )


def is_current(order: Order, placed: Mapping[str, Any]) -> bool:
    """Tell whether the library in place is what this order would build."""
    library = PLACE / order.library
    if placed.get("inputs") != order.inputs or not library.is_file():
        return False
    return library.stat().st_size == placed.get("size_bytes")


def prepare(order: Order, options: argparse.Namespace) -> Site:
    """Have a build directory, with room; an empty one where the user wants all anew."""
    named = os.environ.get("RUNNER_BUILD_DIR")
    folder = Path(named) if named else cache_dir() / "build" / order.inputs["key"]
    require_space(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if options.force and (folder / "build.ninja").exists():
        ask([tools.find_tool("ninja"), "-C", folder, "-t", "clean"])
        (folder / "CMakeCache.txt").unlink(missing_ok=True)
    memory = tools.memory_here()
    jobs = options.jobs or job_count(tools.cpus_here(), memory, order.plan.backend)
    return Site(folder, jobs, options.verbose)


def get_source(pin: Pin, own: Path | None) -> Path:
    """Have the sources: the pinned ones, or the user's own tree."""
    step = Step("source")
    if own is None:
        step.progress(f"{pin.package} {pin.version}")
        step.done(ensure_source(pin, PINNED_SOURCE, scratch=ROOT / "build"))
        return PINNED_SOURCE
    if not (own / "CMakeLists.txt").is_file():
        raise BuildError(f"{own} is not a llama.cpp tree", "it has no CMakeLists.txt")
    step.done(f"{own.resolve()}, as asked for")
    return own.resolve()


def get_plan(wish: str) -> tuple[Facts, Plan, str]:
    """Look at this machine and decide what to build; also give the compiler's own words."""
    step = Step("probe")
    tools.require_cmake_and_ninja()
    compiler = tools.find_compiler()
    facts = probe(wish, compiler)
    plan = plan_backend(facts, wish)
    if plan.backend == "cuda" and plan.toolkit is None:
        step.progress("fetching the CUDA toolkit of PyPI, 1.1 GB")
        try:
            facts = replace(facts, toolkit=cuda.fetch_toolkit())
        except BuildError as error:
            if wish != "auto":
                raise
            facts = replace(facts, gpu=None, no_gpu=str(error))
        plan = plan_backend(facts, wish)
    version = ask([*compiler, "--version"]).stdout.partition("\n")[0]
    step.done(f"{facts.system} {facts.machine}, {version}: {plan.backend}, {plan.because}")
    return facts, plan, version


def probe(wish: str, compiler: Sequence[str]) -> Facts:
    """Find the facts that decide; ask for a GPU only where the answer matters."""
    system, machine = platform.system(), platform.machine()
    facts = Facts(system, machine, tools.cpu_features(compiler, machine))
    if wish in ("vulkan", "opencl"):
        return replace(facts, missing=tools.missing_for(wish, compiler))
    if wish not in ("auto", "cuda") or system == "Darwin":
        return facts
    gpu, reason = cuda.probe_gpu()
    toolkit = cuda.find_toolkit() if gpu or wish == "cuda" else None
    return replace(facts, gpu=gpu, no_gpu=reason, toolkit=toolkit)


def compile_and_test(order: Order, site: Site, placed: Mapping[str, Any]) -> dict[str, Any]:
    """Build until a self-test passes, each time with less; give what the record tells of it."""
    is_same = placed.get("inputs", {}).get("key") == order.inputs["key"]
    # What failed is not tried again because a file was edited.
    failed = list(placed.get("failed", [])) if is_same else []
    left = [cpu for cpu in order.ladder if cpu.name not in {failure["cpu"] for failure in failed}]
    cpu: Cpu | None = left[0] if left else order.ladder[-1]
    while cpu:
        flags = cmake_flags(order.plan, cpu)
        configure(order, site, flags)
        compile_library(order, site)
        step = Step("self-test")
        verdict = self_test(site.folder / order.library)
        if verdict.kind == "passed":
            report: dict[str, Any] = json.loads(verdict.detail)
            step.done(report["summary"])
            return {"cpu": cpu.name, "options": flags, "failed": failed} | report
        step.done(f"the {cpu.name} build: {verdict.kind} ({verdict.stage}), {verdict.detail}")
        failed.append({"cpu": cpu.name} | asdict(verdict))
        cpu = next_cpu(order.ladder, cpu, verdict)
        if cpu:
            print(f"building the CPU part again with less: {cpu.name}", flush=True)
    hint = "" if order.plan.backend == "cpu" else "try: --backend cpu"
    raise BuildError("the library does not pass its self-test and is not used", hint)


def configure(order: Order, site: Site, flags: Sequence[str]) -> None:
    """Run cmake over native/, which takes in llama.cpp."""
    step = Step("configure", is_verbose=site.is_verbose)
    command = [tools.find_tool("cmake"), "-S", str(NATIVE), "-B", str(site.folder)]
    command += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools.find_tool('ninja')}", *flags]
    command += [f"-DLLAMA_SOURCE_DIR={order.source}", *tools.launchers()]
    # llama.cpp's cmake files ask git for a commit: this keeps them from finding one of ours.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(order.source.parent)}
    site.log.unlink(missing_ok=True)
    run_logged(command, site.log, step, environment=environment)
    step.done(str(site.folder))


def compile_library(order: Order, site: Site) -> None:
    """Run ninja, directly: stopped, it stops its compilers, which `cmake --build` does not."""
    step = Step("compile", is_verbose=site.is_verbose)
    command = [tools.find_tool("ninja"), "-C", str(site.folder), "-j", str(site.jobs)]
    environment = os.environ | {"NINJA_STATUS": "[%f/%t] "}
    run_logged([*command, "runner_native"], site.log, step, environment=environment)
    step.done(f"{order.library}, {site.jobs} compilers at a time")


def self_test(library: Path, *, timeout_s: float = SELF_TEST_S) -> Verdict:
    """Try the library in a child process, which may die of it."""
    command = [sys.executable, str(SELF_TEST), str(library)]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace",
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return judge(None, (error.stdout or b"").decode(errors="replace"), "")
    return judge(done.returncode, done.stdout, done.stderr)


def place(library: Path, record: dict[str, Any]) -> int:
    """Put library and record in the package, each by a rename: a running server keeps its own."""
    PLACE.mkdir(parents=True, exist_ok=True)
    new = PLACE / f".{library.name}.{os.getpid()}"
    shutil.copy2(library, new)
    size_bytes = new.stat().st_size
    new.replace(PLACE / library.name)
    new.write_text(json.dumps(record | {"size_bytes": size_bytes}, indent=2) + "\n")
    new.replace(RECORD)
    return size_bytes


def read_record() -> dict[str, Any]:
    """Read what the last build left; a broken record is no record."""
    try:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def digest(folder: Path) -> str:
    """Digest a tree's names, sizes and times: an edit shows, and it takes milliseconds."""
    found = hashlib.sha256()
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            status = Path(root, name).stat()
            found.update(f"{root}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()


def require_space(folder: Path) -> None:
    """Refuse to begin a build that the disk cannot hold."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < NEEDED_BYTES and not (folder / "CMakeCache.txt").exists():
        raise BuildError(
            f"{existing} has {free / 1e9:.1f} GB free; a build needs {NEEDED_BYTES / 1e9:.1f} GB",
            "free some space, or build elsewhere: RUNNER_BUILD_DIR=DIR",
        )


if __name__ == "__main__":
    sys.exit(main())
