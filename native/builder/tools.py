"""Find what a build uses of this machine: cmake, ninja, compilers, ccache, CPU, memory."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from native.builder.ground import BuildError, ask
from native.builder.plan import X86_OPTIONS

COMPILERS = {"CC": ("cc", "gcc", "clang", "cl"), "CXX": ("c++", "g++", "clang++", "cl")}
VULKAN_HEADERS = ("vulkan/vulkan.h", "spirv/unified1/spirv.hpp")
HEADERS = {"vulkan": VULKAN_HEADERS, "opencl": ("CL/cl.h",)}
LINKED = {"vulkan": "libvulkan.so", "opencl": "libOpenCL.so"}


def find_tool(name: str) -> str:
    """Find cmake or ninja: on PATH, beside this Python, or in the Python package of that name."""
    for place in (None, str(Path(sys.executable).parent), *places_of_package(name)):
        if found := shutil.which(name, path=place):
            return found
    raise BuildError(f"{name} is needed and not found", "try: pip install cmake ninja")


def places_of_package(name: str) -> list[str]:
    """List where a package put the program of its name: pip's folders need not be on PATH."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return []
    return [str(Path(str(file.locate())).parent) for file in files if file.stem == name]


def require_cmake_and_ninja() -> None:
    """Say early that a tool is missing, not after the probing."""
    for name in ("cmake", "ninja"):
        find_tool(name)


def find_compiler() -> list[str]:
    """Find the C compiler that cmake will take: CC, else the first on PATH. See C++ too."""
    found = []
    for variable, names in COMPILERS.items():
        named = shlex.split(os.environ.get(variable, ""))
        command = named or [name for name in names if shutil.which(name)][:1]
        if not command or not shutil.which(command[0]):
            hint = "xcode-select --install" if sys.platform == "darwin" else "apt-get install g++"
            raise BuildError(f"no compiler found: {' '.join(named or names)}", f"try: {hint}")
        found.append(command)
    return found[0]


def launchers() -> list[str]:
    """Compile through ccache where there is one."""
    if not shutil.which("ccache"):
        return []
    return [f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache" for language in ("C", "CXX", "CUDA")]


def cpu_features(compiler: Sequence[str], machine: str) -> frozenset[str]:
    """List the macros of CPU features that the compiler defines for this machine."""
    flag = "-march=native" if machine in ("x86_64", "AMD64") else "-mcpu=native"
    text = ask([*compiler, flag, "-dM", "-E", "-x", "c", os.devnull]).stdout
    macros = {line.split()[1] for line in text.splitlines() if line.startswith("#define ")}
    return frozenset(name for name in macros if name in X86_OPTIONS or "_ARM_FEATURE_" in name)


def missing_for(backend: str, compiler: Sequence[str]) -> tuple[str, ...]:
    """List what the vulkan or opencl backend needs and this machine lacks."""
    missing = ["glslc"] if backend == "vulkan" and not shutil.which("glslc") else []
    for header in HEADERS[backend]:
        check = ["-x", "c++", "-fsyntax-only", "-include", header, os.devnull]
        if ask([*compiler, *check]).returncode:
            missing.append(header)
    library = LINKED[backend]
    if (
        sys.platform == "linux"
        and ask([*compiler, f"-print-file-name={library}"]).stdout.strip() == library
    ):
        missing.append(library)
    return tuple(missing)


def cpus_here() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_here() -> int:
    """Give the bytes that programs may still take: available where Linux tells, else installed."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except OSError:
        names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
        pages, size = (
            (os.sysconf(name) for name in names) if hasattr(os, "sysconf") else (2 << 20, 4096)
        )
        return pages * size
