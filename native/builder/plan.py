"""Decide how to build the native library: backend, CPU instructions, cmake options, next attempt.

Pure: build_native.py looks at the machine and acts; here facts come in and decisions go out.
"""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from native.builder.ground import BuildError

BACKENDS = ("auto", "cpu", "cuda", "metal", "vulkan", "opencl")
SELF_TEST_S = 180.0  # takes a second; Metal compiles its shaders at first use

# Compiler macro of an x86 feature -> the GGML_ option that turns it on when GGML_NATIVE is off.
# AVX512BW stands for the group F, CD, VL, DQ, BW that the option means.
X86_OPTIONS = {
    "__SSE4_2__": "SSE42", "__AVX__": "AVX", "__F16C__": "F16C", "__FMA__": "FMA",
    "__AVX2__": "AVX2", "__BMI2__": "BMI2", "__AVXVNNI__": "AVX_VNNI",
    "__AVX512BW__": "AVX512", "__AVX512VBMI__": "AVX512_VBMI", "__AVX512VNNI__": "AVX512_VNNI",
    "__AVX512BF16__": "AVX512_BF16",
    "__AMX_TILE__": "AMX_TILE", "__AMX_INT8__": "AMX_INT8", "__AMX_BF16__": "AMX_BF16",
}  # fmt: skip
X86_64_V3 = frozenset({"SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2"})

PYPI_CUDA = 13  # major version; its wheels are one toolkit under site-packages/nvidia/cu13
# Without a GPU to ask: upstream's choice, code for common cards and PTX that newer ones compile.
CUDA_ARCHITECTURES = ("75-virtual", "80-virtual", "86-real", "89-real", "90-virtual")

PACKAGES = {
    "vulkan": "Debian: apt-get install glslc libvulkan-dev spirv-headers",
    "opencl": "Debian: apt-get install opencl-headers ocl-icd-opencl-dev",
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the NVIDIA driver says: the CUDA major version it runs, compute capabilities."""

    driver: int
    compute: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A CUDA toolkit; `rpath` is set where the loader would not find its libraries by itself."""

    root: str
    major: int
    rpath: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What probing found on this machine."""

    system: str
    machine: str
    cpu_features: frozenset[str] = frozenset()
    gpu: Gpu | None = None
    no_gpu: str = ""  # why `gpu` is None
    toolkit: Toolkit | None = None
    missing: tuple[str, ...] = ()  # what the backend asked for lacks (vulkan, opencl)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build and why. A CUDA plan without a toolkit means: the one from PyPI."""

    backend: str
    because: str
    architectures: tuple[str, ...] = ()
    toolkit: Toolkit | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """One choice of CPU instructions."""

    name: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a self-test ended: passed, crashed, hung, wrong (numbers) or unusable; and where."""

    kind: str
    stage: str
    detail: str


def plan_backend(facts: Facts, wish: str) -> Plan:
    """Choose the backend, or raise BuildError naming what a backend asked for by name lacks."""
    if wish == "auto":
        if facts.system == "Darwin" and facts.machine == "arm64":
            return Plan("metal", "Apple silicon")
        problem = facts.no_gpu if facts.gpu is None else cuda_problem(facts)
        return Plan("cpu", problem) if problem else plan_cuda(facts, "NVIDIA driver found")
    if wish == "metal" and facts.system != "Darwin":
        raise BuildError("the metal backend builds on macOS only", "try: --backend auto")
    if wish == "cuda" and (problem := cuda_problem(facts)):
        raise BuildError(f"the cuda backend cannot be built: {problem}", "try: --backend cpu")
    if facts.missing:
        lacks = ", ".join(facts.missing)
        raise BuildError(f"the {wish} backend cannot be built: missing {lacks}", PACKAGES[wish])
    return plan_cuda(facts, "asked for") if wish == "cuda" else Plan(wish, "asked for")


def cuda_problem(facts: Facts) -> str:
    """Say what forbids a CUDA build, or nothing."""
    major = facts.toolkit.major if facts.toolkit else PYPI_CUDA
    if facts.gpu and facts.gpu.driver < major:
        return f"the NVIDIA driver runs CUDA {facts.gpu.driver}, the toolkit is CUDA {major}"
    if facts.toolkit is None and facts.system != "Linux":
        return "no CUDA toolkit with cuBLAS found (nvcc on PATH, CUDA_HOME)"
    return ""


def plan_cuda(facts: Facts, because: str) -> Plan:
    """Build for the GPUs that are here; for a list of common ones when there is none."""
    found = (
        tuple(f"{number}-real" for number in sorted(set(facts.gpu.compute))) if facts.gpu else ()
    )
    return Plan("cuda", because, found or CUDA_ARCHITECTURES, facts.toolkit)


def cpu_ladder(facts: Facts, *, is_portable: bool) -> tuple[Cpu, ...]:
    """List the CPU builds to try, best first; each leaves out what may have failed before it."""
    if facts.machine in ("x86_64", "AMD64"):
        found = frozenset(X86_OPTIONS[macro] for macro in facts.cpu_features & X86_OPTIONS.keys())
        weaker = [Cpu("portable", x86_flags(X86_64_V3))] if is_portable else x86_ladder(found)
    elif facts.machine in ("aarch64", "arm64", "ARM64"):
        arches = {"portable": "armv8.2-a+dotprod+fp16", "baseline": "armv8-a"}
        flags = {name: f"-DGGML_CPU_ARM_ARCH={arch}" for name, arch in arches.items()}
        weaker = [Cpu(name, ("-DGGML_NATIVE=OFF", flag)) for name, flag in flags.items()]
    else:
        weaker = [Cpu("baseline", ("-DGGML_NATIVE=OFF",))]
    if is_portable:
        return (weaker[0],)
    ladder = [Cpu("native", ("-DGGML_NATIVE=ON",)), *weaker]
    return tuple(drop_kernels(ladder) if "__AVX2__" in facts.cpu_features else ladder)


def drop_kernels(ladder: Sequence[Cpu]) -> list[Cpu]:
    """Add a build without our own kernels where they first may be the culprit: not beside AMX.

    What is weaker goes without them too.
    """
    last = next((i for i, cpu in enumerate(ladder) if cpu.name == "no-amx"), 0)
    tried = [Cpu(cpu.name, (*cpu.flags, "-DRN_KERNELS=ON")) for cpu in ladder[: last + 1]]
    rest = [Cpu("no-kernels", ladder[last].flags), *ladder[last + 1 :]]
    return tried + [Cpu(cpu.name, (*cpu.flags, "-DRN_KERNELS=OFF")) for cpu in rest]


def x86_ladder(found: frozenset[str]) -> list[Cpu]:
    """Drop AMX, then AVX-512 (the usual culprits: new, and hidden by hypervisors), then more."""
    steps = {
        "no-amx": frozenset(name for name in found if not name.startswith("AMX")),
        "no-avx512": frozenset(name for name in found if not name.startswith(("AMX", "AVX512"))),
        "portable": found & X86_64_V3,
        "baseline": frozenset[str](),
    }
    kept: dict[str, frozenset[str]] = {}
    for name, options in steps.items():
        has_lost_nothing = name.startswith("no-") and options == found
        if not has_lost_nothing and options not in kept.values():
            kept[name] = options
    return [Cpu(name, x86_flags(options)) for name, options in kept.items()]


def x86_flags(options: frozenset[str]) -> tuple[str, ...]:
    """Name every option: what is left out would take a default that depends on the environment."""
    switches = {name: "ON" if name in options else "OFF" for name in X86_OPTIONS.values()}
    return ("-DGGML_NATIVE=OFF", *(f"-DGGML_{name}={value}" for name, value in switches.items()))


def cmake_flags(plan: Plan, cpu: Cpu) -> list[str]:
    """Give the options of a plan; native/CMakeLists.txt fixes those that never vary (no RPC)."""
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_LLAMAFILE=ON", "-DGGML_CPU_REPACK=ON"]
    flags += ["-DGGML_CCACHE=OFF", *cpu.flags]  # ccache comes as a compiler launcher
    for backend in ("cuda", "metal", "vulkan", "opencl"):
        flags.append(f"-DGGML_{backend.upper()}={'ON' if backend == plan.backend else 'OFF'}")
    if plan.backend == "metal":
        flags.append("-DGGML_METAL_EMBED_LIBRARY=ON")
    if plan.backend == "cuda" and plan.toolkit:
        # NO_VMM: no stub of the driver to link. NCCL is for several GPUs.
        flags += ["-DGGML_CUDA_NO_VMM=ON", "-DGGML_CUDA_NCCL=OFF"]
        flags.append(f"-DCMAKE_CUDA_ARCHITECTURES={';'.join(plan.architectures)}")
        flags.append(f"-DCMAKE_CUDA_COMPILER={plan.toolkit.root}/bin/nvcc")
        flags.append(f"-DCUDAToolkit_ROOT={plan.toolkit.root}")
        if plan.toolkit.rpath:
            flags.append(f"-DCMAKE_BUILD_RPATH={plan.toolkit.rpath}")
    return flags


def job_count(cpus: int, available_bytes: int, backend: str) -> int:
    """Use every core, unless memory is short: a compiler takes 1 GB at its worst, nvcc 3 GB."""
    return max(1, min(cpus, available_bytes // (3 << 30 if backend == "cuda" else 1 << 30)))


def build_key(inputs: Mapping[str, object]) -> str:
    """Name a build directory after all that a changed value would need a new one for."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def judge(returncode: int | None, output: str, errors: str) -> Verdict:
    """Read how the self-test's process ended; `returncode` is None when its time was up."""
    stages = [
        line.removeprefix("stage ") for line in output.splitlines() if line.startswith("stage ")
    ]
    stage = stages[-1] if stages else "load"
    last = (errors.strip().splitlines() or ["no message"])[-1]
    if returncode is None:
        return Verdict("hung", stage, f"no end after {SELF_TEST_S:.0f} s")
    if returncode < 0:
        return Verdict("crashed", stage, signal.Signals(-returncode).name)
    if returncode > 255:  # Windows: an NTSTATUS, 0xC000001D is an illegal instruction
        return Verdict("crashed", stage, f"{returncode:#010x}")
    kind = {0: "passed", 3: "wrong"}.get(returncode, "unusable")
    return Verdict(kind, stage, output.strip().splitlines()[-1] if kind == "passed" else last)


def next_cpu(ladder: Sequence[Cpu], tried: Cpu, verdict: Verdict) -> Cpu | None:
    """Choose what to build after a failed self-test, or None when nothing weaker can help."""
    if verdict.kind not in ("crashed", "hung", "wrong") or verdict.stage == "gpu":
        return None
    rest = ladder[ladder.index(tried) + 1 :]
    return rest[0] if rest else None
