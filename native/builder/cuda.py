"""Find NVIDIA's driver and a CUDA toolkit: the machine's, or the one that is on PyPI as packages.

The packages are a whole toolkit under site-packages/nvidia/cu13, except that they carry
libX.so.13 without libX.so: a folder of links gives the files the names that cmake looks for.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

from native.builder.ground import BuildError, ask, cache_dir, data_dir, last_line
from native.builder.plan import PYPI_CUDA, Gpu, Toolkit

PACKAGES = ("nvidia-cuda-nvcc", "nvidia-cuda-runtime", "nvidia-cublas", "nvidia-cuda-cccl")
PROBE = """
import ctypes, json, sys
cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
if code := cuda.cuInit(0):
    sys.exit(f"the NVIDIA driver finds no usable GPU (cuInit: {code})")
version, count, device, part = (ctypes.c_int() for _ in range(4))
cuda.cuDriverGetVersion(ctypes.byref(version))
cuda.cuDeviceGetCount(ctypes.byref(count))
found = []
for index in range(count.value):
    cuda.cuDeviceGet(ctypes.byref(device), index)
    digits = ""
    for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
        cuda.cuDeviceGetAttribute(ctypes.byref(part), attribute, device)
        digits += str(part.value)
    found.append(digits)
print(json.dumps({"driver": version.value // 1000, "compute": found}))
"""


def probe_gpu() -> tuple[Gpu | None, str]:
    """Ask the driver in a child process, since a broken one may hang or crash; else say why not."""
    asked = ask([sys.executable, "-c", PROBE])
    if asked.returncode == 0:
        facts = json.loads(asked.stdout)
        return Gpu(facts["driver"], tuple(facts["compute"])), ""
    if asked.returncode < 0:
        return None, f"the NVIDIA driver crashed (signal {-asked.returncode})"
    reason = last_line(asked.stderr)
    return None, "no NVIDIA driver" if "cannot open shared object" in reason else reason


def find_toolkit() -> Toolkit | None:
    """Find a toolkit that has cuBLAS: the machine's first, then the packages'."""
    nvcc = shutil.which("nvcc")
    beside = str(Path(nvcc).resolve().parents[1]) if nvcc else ""
    named = (os.environ.get("CUDA_HOME", ""), os.environ.get("CUDA_PATH", ""))
    for root in filter(None, (*named, beside, "/usr/local/cuda", "/opt/cuda")):
        version = ask([f"{root}/bin/nvcc", "--version"]).stdout.partition("release ")[2]
        if version and Path(root, "include", "cublas_v2.h").is_file():
            return Toolkit(root, int(version.split(".")[0]))
    spec = importlib.util.find_spec("nvidia")  # a namespace: every installed package adds to it
    installed = list(spec.submodule_search_locations or ()) if spec else []
    for place in (*map(Path, installed), data_dir() / "cuda" / "nvidia"):
        wheels = place / f"cu{PYPI_CUDA}"
        if (wheels / "bin" / "nvcc").is_file() and (wheels / "include" / "cublas_v2.h").is_file():
            return link_toolkit(wheels, cache_dir() / f"cu{PYPI_CUDA}")
    return None


def fetch_toolkit() -> Toolkit:
    """Install the packages (1.1 GB) where they can stay: the library loads cuBLAS from there."""
    command = [sys.executable, "-m", "pip", "install", "--upgrade"]
    command += ["--target", str(data_dir() / "cuda")]
    done = ask([*command, *(f"{name}=={PYPI_CUDA}.*" for name in PACKAGES)], timeout_s=3600)
    toolkit = find_toolkit() if done.returncode == 0 else None
    if toolkit is None:
        raise BuildError(
            f"there is no CUDA toolkit here, and fetching one failed: {last_line(done.stderr)}",
            "install a CUDA toolkit with cuBLAS, or try: --backend cpu",
        )
    return toolkit


def link_toolkit(wheels: Path, folder: Path) -> Toolkit:
    """Make the folder of links anew and return it as a toolkit."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lib").mkdir(parents=True)
    (folder / "lib64").symlink_to("lib")  # nvcc says the one, cmake looks in the other
    for name in ("bin", "include", "nvvm", "cccl"):
        if (wheels / name).exists():
            (folder / name).symlink_to(wheels / name)
    for file in (wheels / "lib").iterdir():
        (folder / "lib" / file.name).symlink_to(file)
        plain = folder / "lib" / (file.name.partition(".so.")[0] + ".so")
        if ".so." in file.name and not (wheels / "lib" / plain.name).exists():
            plain.symlink_to(file)
    return Toolkit(str(folder), PYPI_CUDA, rpath=str(wheels / "lib"))
