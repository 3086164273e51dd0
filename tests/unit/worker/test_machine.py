"""The machine as a process in a container sees it, read from made-up /proc and /sys trees."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from runner.worker.machine import cpu_time, describe_machine, resident_bytes, survey

MEMINFO = "MemTotal: 9000000 kB\nMemAvailable:    1000 kB\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of four CPUs on two cores, with 1000 KiB free."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    write(tmp_path, "proc/meminfo", MEMINFO)
    for cpu in range(4):
        topology = f"sys/devices/system/cpu/cpu{cpu}/topology"
        write(tmp_path, f"{topology}/core_id", f"{cpu // 2}\n")
        write(tmp_path, f"{topology}/physical_package_id", "0\n")
    return tmp_path


def test_a_limit_of_the_process_counts_as_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, "proc/meminfo", "MemAvailable: 900000000000 kB\n")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + 4096
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    freed_bytes = 1 << 28  # at most, by the test's own process meanwhile
    assert survey([], root=root).available_bytes < 4096 + freed_bytes


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_threads_of_one_core_count_as_one_core(root: Path) -> None:
    machine = survey([], root=root)
    assert (machine.cpus, machine.physical_cores) == (4, 2)


def test_cores_of_two_packages_are_different_cores(root: Path) -> None:
    for cpu in (2, 3):
        write(root, f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id", "1\n")
        write(root, f"sys/devices/system/cpu/cpu{cpu}/topology/core_id", "0\n")
    assert survey([], root=root).physical_cores == 2


def test_an_unknown_topology_says_nothing_of_cores(root: Path) -> None:
    (root / "sys/devices/system/cpu/cpu3/topology/core_id").unlink()
    assert survey([], root=root).physical_cores is None


def test_without_a_control_group_the_whole_machine_is_ours(root: Path) -> None:
    machine = survey([], root=root)
    assert (machine.quota_cpus, machine.available_bytes) == (None, 1000 * 1024)


def device(kind: str, free: int, total: int) -> dict[str, object]:
    return {"name": kind, "type": kind, "free_bytes": free, "total_bytes": total}


@pytest.mark.parametrize(
    ("devices", "count", "free"),
    [
        ([], 0, None),
        ([device("cpu", 9, 10)], 0, None),
        ([device("gpu", 7, 10), device("cpu", 9, 10)], 1, 7),
        ([device("gpu", 7, 10), device("gpu", 5, 10)], 2, 12),
        ([device("gpu", 0, 10)], 1, 0),
        ([device("gpu", 0, 0), device("cpu", 9, 10)], 0, None),  # a BLAS has no memory of its own
    ],
)
def test_gpus_are_those_with_memory(
    root: Path, devices: list[dict[str, object]], count: int, free: int | None
) -> None:
    machine = survey(devices, root=root)
    assert (machine.devices, machine.device_free_bytes) == (count, free)


@pytest.mark.parametrize(
    ("cpu_max", "quota"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000 200000", 0.25)]
)
def test_the_quota_of_a_control_group(root: Path, cpu_max: str, quota: float | None) -> None:
    write(root, "proc/self/cgroup", "0::/user/app\n")
    write(root, "sys/fs/cgroup/user/app/cpu.max", cpu_max)
    assert survey([], root=root).quota_cpus == quota


def test_a_parent_group_may_be_the_tighter_one(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/user/app\n")
    write(root, "sys/fs/cgroup/user/app/cpu.max", "400000 100000\n")
    write(root, "sys/fs/cgroup/user/cpu.max", "200000 100000\n")
    write(root, "sys/fs/cgroup/memory.max", "300000\n")
    write(root, "sys/fs/cgroup/memory.current", "100000\n")
    machine = survey([], root=root)
    assert (machine.quota_cpus, machine.available_bytes) == (2.0, 200_000)


def test_file_pages_that_can_go_count_as_free(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", "500000\n")
    write(root, "sys/fs/cgroup/memory.current", "450000\n")
    write(root, "sys/fs/cgroup/memory.stat", "anon 100000\ninactive_file 300000\n")
    assert survey([], root=root).available_bytes == 350_000


def test_the_first_version_of_control_groups(root: Path) -> None:
    write(root, "proc/self/cgroup", "4:cpu,cpuacct:/box\n3:memory:/box\n1:name=systemd:/x\n")
    write(root, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "300000\n")
    write(root, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n")
    write(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
    write(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    write(root, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", "200000\n")
    write(root, "sys/fs/cgroup/memory/box/memory.usage_in_bytes", "50000\n")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "50000\n")
    machine = survey([], root=root)
    assert (machine.quota_cpus, machine.available_bytes) == (3.0, 150_000)


def test_no_limit_in_words_is_no_limit(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", "max\n")
    write(root, "sys/fs/cgroup/memory.current", "450000\n")
    assert survey([], root=root).available_bytes == 1000 * 1024


def test_a_system_without_proc_still_has_memory(tmp_path: Path) -> None:
    machine = survey([], root=tmp_path)
    assert machine.available_bytes > 1024**2
    assert machine.cpus >= 1


def test_the_process_knows_its_own_size() -> None:
    assert 1024**2 < resident_bytes() < 1024**4


def test_cpu_time_counts_who_used_our_cpus_and_no_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)
    #                user nice system idle iowait irq softirq steal guest
    write(root, "proc/stat", "cpu  9 9 9 9 9 9 9 9 0 0\n"
        "cpu0 100 10 20 5000 40 1 2 3 0 0\n"
        "cpu1 900 0 0 0 0 0 0 0 0 0\n"
        "cpu2 200 0 0 7000 0 0 0 64 0 0\n"
        "intr 12 0\n")  # fmt: skip
    now = cpu_time(root)
    assert now is not None
    assert now.busy_s == pytest.approx(4.0)
    assert cpu_time(root / "elsewhere") is None


CPUINFO = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fma avx2 sse
cpu MHz\t\t: {mhz}

processor\t: 1
model name\t: AMD EPYC
flags\t\t: fma avx2 sse
"""


def test_a_machine_is_described_by_what_makes_it_fast_and_not_by_the_moment(root: Path) -> None:
    write(root, "proc/cpuinfo", CPUINFO.format(mhz=1999))
    described = describe_machine(root)
    assert described["model name"] == "AMD EPYC"
    assert (described["cpus"], described["memory"], described["quota"]) == ("4", "2**33", "")
    write(root, "proc/cpuinfo", CPUINFO.format(mhz=3200))
    write(root, "proc/meminfo", "MemTotal: 9100000 kB\nMemAvailable: 5 kB\n")
    assert describe_machine(root) == described
    write(root, "proc/cpuinfo", CPUINFO.replace("avx2", "avx512f"))
    assert describe_machine(root)["features"] != described["features"]


def test_a_machine_that_tells_nothing_is_still_described(tmp_path: Path) -> None:
    assert {"architecture", "cpus", "quota", "memory"} == set(describe_machine(tmp_path))
