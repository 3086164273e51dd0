"""Which backend, which CPU instructions, which cmake options, and what after a failed self-test."""

from __future__ import annotations

import pytest

from native.builder.ground import BuildError
from native.builder.plan import (
    Cpu,
    Facts,
    Gpu,
    Plan,
    Toolkit,
    Verdict,
    build_key,
    cmake_flags,
    cpu_ladder,
    job_count,
    judge,
    next_cpu,
    plan_backend,
)

AVX2 = {"__SSE4_2__", "__AVX__", "__F16C__", "__FMA__", "__AVX2__", "__BMI2__"}
VNNI = {"__AVXVNNI__"}
AVX512 = {"__AVX512BW__", "__AVX512VNNI__", "__AVX512BF16__"}
AMX = {"__AMX_TILE__", "__AMX_INT8__", "__AMX_BF16__"}
CUDA13 = Toolkit("/usr/local/cuda", 13)
LINUX = Facts("Linux", "x86_64", frozenset(AVX2), no_gpu="no NVIDIA driver")


def linux(*features: set[str]) -> Facts:
    return Facts("Linux", "x86_64", frozenset().union(*features))


@pytest.mark.parametrize(
    ("facts", "backend", "because"),
    [
        (LINUX, "cpu", "no NVIDIA driver"),
        (Facts("Darwin", "arm64"), "metal", "Apple silicon"),
        (Facts("Darwin", "x86_64", no_gpu="no NVIDIA driver"), "cpu", "no NVIDIA driver"),
        (
            Facts("Linux", "x86_64", gpu=Gpu(13, ("90",)), toolkit=CUDA13),
            "cuda",
            "NVIDIA driver found",
        ),
        (Facts("Linux", "x86_64", gpu=Gpu(13, ("90",))), "cuda", "NVIDIA driver found"),
        (
            Facts("Linux", "x86_64", gpu=Gpu(12, ("90",))),
            "cpu",
            "the NVIDIA driver runs CUDA 12, the toolkit is CUDA 13",
        ),
        (
            Facts("Windows", "AMD64", gpu=Gpu(13, ("90",))),
            "cpu",
            "no CUDA toolkit with cuBLAS found (nvcc on PATH, CUDA_HOME)",
        ),
    ],
)
def test_auto_takes_the_best_that_works_and_says_why(
    facts: Facts, backend: str, because: str
) -> None:
    plan = plan_backend(facts, "auto")
    assert (plan.backend, plan.because) == (backend, because)


@pytest.mark.parametrize(
    ("facts", "wish", "message"),
    [
        (LINUX, "metal", "the metal backend builds on macOS only"),
        (
            Facts("Darwin", "arm64"),
            "cuda",
            "the cuda backend cannot be built: no CUDA toolkit with cuBLAS found"
            " (nvcc on PATH, CUDA_HOME)",
        ),
        (
            Facts("Linux", "x86_64", gpu=Gpu(11, ("75",)), toolkit=Toolkit("/opt/cuda", 12)),
            "cuda",
            "the cuda backend cannot be built: the NVIDIA driver runs CUDA 11,"
            " the toolkit is CUDA 12",
        ),
        (
            Facts("Linux", "x86_64", missing=("glslc", "libvulkan.so")),
            "vulkan",
            "the vulkan backend cannot be built: missing glslc, libvulkan.so",
        ),
        (
            Facts("Linux", "x86_64", missing=("CL/cl.h",)),
            "opencl",
            "the opencl backend cannot be built: missing CL/cl.h",
        ),
    ],
)
def test_a_backend_asked_for_by_name_is_built_or_its_lack_named(
    facts: Facts, wish: str, message: str
) -> None:
    with pytest.raises(BuildError) as caught:
        plan_backend(facts, wish)
    assert str(caught.value) == message
    assert caught.value.hint


def test_cuda_without_a_gpu_is_built_for_common_cards() -> None:
    plan = plan_backend(Facts("Linux", "x86_64", toolkit=CUDA13), "cuda")
    assert plan.architectures == (
        "75-virtual",
        "80-virtual",
        "86-real",
        "89-real",
        "90-virtual",
    )


def test_cuda_with_gpus_is_built_for_each_kind_once() -> None:
    facts = Facts("Linux", "x86_64", gpu=Gpu(13, ("90", "86", "90")), toolkit=CUDA13)
    assert plan_backend(facts, "auto").architectures == ("86-real", "90-real")


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (
            linux(AVX2, VNNI, AVX512, AMX),
            ["native", "no-amx", "no-kernels", "no-avx512", "portable", "baseline"],
        ),
        # Without VNNI "portable" would be what "no-avx512" is.
        (linux(AVX2, AVX512), ["native", "no-kernels", "no-avx512", "baseline"]),
        (linux(AVX2), ["native", "no-kernels", "portable", "baseline"]),
        (linux(set()), ["native", "portable"]),  # which lacks all that x86-64-v3 has
        (Facts("Linux", "aarch64"), ["native", "portable", "baseline"]),
        (Facts("Linux", "riscv64"), ["native", "baseline"]),
    ],
)
def test_each_cpu_build_leaves_out_what_the_one_before_may_have_failed_in(
    facts: Facts, names: list[str]
) -> None:
    assert [cpu.name for cpu in cpu_ladder(facts, is_portable=False)] == names


@pytest.mark.parametrize("features", [AVX2 | AVX512 | AMX, set[str]()], ids=["new", "old"])
def test_a_portable_build_is_the_same_on_every_machine(features: set[str]) -> None:
    (cpu,) = cpu_ladder(linux(features), is_portable=True)
    assert [flag for flag in cpu.flags if flag.endswith("=ON")] == [
        "-DGGML_SSE42=ON",
        "-DGGML_AVX=ON",
        "-DGGML_F16C=ON",
        "-DGGML_FMA=ON",
        "-DGGML_AVX2=ON",
        "-DGGML_BMI2=ON",
    ]
    assert "-DGGML_NATIVE=OFF" in cpu.flags
    assert "-DGGML_AMX_TILE=OFF" in cpu.flags


def test_a_portable_arm_build_has_dot_products_and_half_floats() -> None:
    (cpu,) = cpu_ladder(Facts("Linux", "aarch64"), is_portable=True)
    assert cpu.flags == ("-DGGML_NATIVE=OFF", "-DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod+fp16")


def test_without_amx_the_rest_stays() -> None:
    no_amx = cpu_ladder(linux(AVX2, AVX512, AMX), is_portable=False)[1]
    assert "-DGGML_AMX_INT8=OFF" in no_amx.flags
    assert "-DGGML_AVX512=ON" in no_amx.flags
    assert "-DGGML_AVX512_VNNI=ON" in no_amx.flags
    assert "-DGGML_AVX512_VBMI=OFF" in no_amx.flags  # this CPU has none


@pytest.mark.parametrize(("features", "last"), [(AVX2 | AVX512 | AMX, "no-amx"), (AVX2, "native")])
def test_own_kernels_are_dropped_once_amx_is_out_of_the_way(features: set[str], last: str) -> None:
    ladder = cpu_ladder(linux(features), is_portable=False)
    at = [cpu.name for cpu in ladder].index("no-kernels")
    assert ladder[at - 1].name == last
    assert ladder[at].flags[:-1] == ladder[at - 1].flags[:-1]
    assert {cpu.flags[-1] for cpu in ladder[:at]} == {"-DRN_KERNELS=ON"}
    assert {cpu.flags[-1] for cpu in ladder[at:]} == {"-DRN_KERNELS=OFF"}


def test_the_options_of_a_cpu_build() -> None:
    assert cmake_flags(Plan("cpu", "asked for"), Cpu("native", ("-DGGML_NATIVE=ON",))) == [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DGGML_LLAMAFILE=ON",
        "-DGGML_CPU_REPACK=ON",
        "-DGGML_CCACHE=OFF",
        "-DGGML_NATIVE=ON",
        "-DGGML_CUDA=OFF",
        "-DGGML_METAL=OFF",
        "-DGGML_VULKAN=OFF",
        "-DGGML_OPENCL=OFF",
    ]


def test_the_options_of_a_cuda_build_with_the_toolkit_of_packages() -> None:
    toolkit = Toolkit("/cache/cu13", 13, rpath="/site/nvidia/cu13/lib")
    flags = cmake_flags(Plan("cuda", "", ("86-real", "90-real"), toolkit), Cpu("native", ()))
    assert flags[-7:] == [
        "-DGGML_OPENCL=OFF",
        "-DGGML_CUDA_NO_VMM=ON",
        "-DGGML_CUDA_NCCL=OFF",
        "-DCMAKE_CUDA_ARCHITECTURES=86-real;90-real",
        "-DCMAKE_CUDA_COMPILER=/cache/cu13/bin/nvcc",
        "-DCUDAToolkit_ROOT=/cache/cu13",
        "-DCMAKE_BUILD_RPATH=/site/nvidia/cu13/lib",
    ]
    assert "-DGGML_CUDA=ON" in flags


@pytest.mark.parametrize(
    ("backend", "flag"),
    [
        ("metal", "-DGGML_METAL_EMBED_LIBRARY=ON"),
        ("vulkan", "-DGGML_VULKAN=ON"),
        ("opencl", "-DGGML_OPENCL=ON"),
    ],
)
def test_other_backends_are_switched_on_alone(backend: str, flag: str) -> None:
    flags = cmake_flags(Plan(backend, "asked for"), Cpu("native", ()))
    assert flag in flags
    assert "-DGGML_CUDA=OFF" in flags


@pytest.mark.parametrize("backend", ["cpu", "cuda", "metal", "vulkan", "opencl"])
def test_no_plan_switches_the_network_backend_on(backend: str) -> None:
    plan = Plan(backend, "", ("90",), CUDA13)
    assert [flag for flag in cmake_flags(plan, Cpu("native", ())) if "RPC" in flag] == []


@pytest.mark.parametrize(
    ("cpus", "gigabytes", "backend", "jobs"),
    [(8, 64, "cpu", 8), (8, 3, "cpu", 3), (2, 0, "cpu", 1), (16, 12, "cuda", 4)],
)
def test_compilers_run_as_far_as_cores_and_memory_go(
    cpus: int, gigabytes: int, backend: str, jobs: int
) -> None:
    assert job_count(cpus, gigabytes << 30, backend) == jobs


def test_a_build_directory_is_named_after_its_inputs() -> None:
    assert build_key({"a": 1, "b": 2}) == build_key({"b": 2, "a": 1})
    assert build_key({"a": 1}) != build_key({"a": 2})
    assert len(build_key({})) == 16


@pytest.mark.parametrize(
    ("returncode", "output", "errors", "verdict"),
    [
        (0, 'stage cpu\n{"summary": ""}\n', "", Verdict("passed", "cpu", '{"summary": ""}')),
        (-4, "stage cpu\n", "", Verdict("crashed", "cpu", "SIGILL")),
        (-11, "stage cpu\nstage gpu\n", "", Verdict("crashed", "gpu", "SIGSEGV")),
        (-6, "", "GGML_ASSERT", Verdict("crashed", "load", "SIGABRT")),
        (0xC000001D, "stage cpu\n", "", Verdict("crashed", "cpu", "0xc000001d")),
        (None, "stage cpu\n", "", Verdict("hung", "cpu", "no end after 180 s")),
        (3, "stage cpu\n", "off by 7\n", Verdict("wrong", "cpu", "off by 7")),
        (1, "", "Traceback\nImportError: no\n", Verdict("unusable", "load", "ImportError: no")),
        (1, "", "", Verdict("unusable", "load", "no message")),
    ],
)
def test_how_a_self_test_ended(
    returncode: int | None, output: str, errors: str, verdict: Verdict
) -> None:
    assert judge(returncode, output, errors) == verdict


LADDER = cpu_ladder(linux(AVX2, VNNI, AVX512, AMX), is_portable=False)


@pytest.mark.parametrize(
    ("tried", "kind", "stage", "then"),
    [
        (0, "crashed", "cpu", "no-amx"),
        (0, "wrong", "cpu", "no-amx"),
        (0, "hung", "cpu", "no-amx"),
        (1, "crashed", "load", "no-kernels"),
        (2, "crashed", "cpu", "no-avx512"),
        (3, "crashed", "cpu", "portable"),
        (4, "crashed", "cpu", "baseline"),
        (5, "crashed", "cpu", None),
        (0, "crashed", "gpu", None),  # the CPU part is not to blame
        (0, "unusable", "load", None),  # nor is an instruction
    ],
)
def test_what_is_built_after_a_failed_self_test(
    tried: int, kind: str, stage: str, then: str | None
) -> None:
    weaker = next_cpu(LADDER, LADDER[tried], Verdict(kind, stage, ""))
    assert (weaker.name if weaker else None) == then
