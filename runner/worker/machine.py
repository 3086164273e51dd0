"""The machine's facts: cores, quota, memory. Reads ``/proc``, ``/sys`` and the affinity mask."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from runner.cgroups import memory_left, own_groups, read_lines, read_number
from runner.wire.messages import DeviceMemory
from runner.worker.neighbours import CpuTime
from runner.worker.settings import Machine

T = TypeVar("T")

_DROPPED = ("inactive_file",)  # what is active may be weights that another worker computes with


def survey(devices: Sequence[Mapping[str, Any]], *, root: Path = Path("/")) -> Machine:
    """Look at the machine as this process sees it; ``root`` is for tests.

    ``devices`` as ``rn_system_json`` lists them.
    """
    cpus = _affinity()
    groups = list(own_groups(root))
    return Machine(
        cpus=len(cpus),
        quota_cpus=min(_present(_quota(group) for group in groups), default=None),
        physical_cores=_physical_cores(root, cpus),
        available_bytes=min(
            [
                _available_memory(root),
                *_present(memory_left(group, _DROPPED) for group in groups),
                *_present([_address_space_left()]),
            ]
        ),
        device_free_bytes=device_free_bytes(devices),
        devices=len(_gpus(devices)),
    )


def device_free_bytes(devices: Sequence[Mapping[str, Any]]) -> int | None:
    """Count what is free on all GPUs together; None: there is none that tells."""
    gpus = _gpus(devices)
    return sum(gpu["free_bytes"] for gpu in gpus) if gpus else None


def device_memory(devices: Sequence[Mapping[str, Any]]) -> DeviceMemory | None:
    """Tell what is free on all GPUs now; None: there is none that tells."""
    free = device_free_bytes(devices)
    return None if free is None else DeviceMemory(free_bytes=free, at_s=time.monotonic())


def _gpus(devices: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    # Of no size are those that only compute in the machine's memory, as a BLAS.
    return [device for device in devices if device["type"] == "gpu" and device["total_bytes"]]


def resident_bytes() -> int:
    """Memory this process holds; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _address_space_left() -> int | None:
    """What a limit of this process (``ulimit -v``) leaves of its addresses; None: no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    except OSError:
        return limit
    return max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))


def cpu_time(root: Path = Path("/")) -> CpuTime | None:
    """Read who used the CPUs we may run on; None where the system does not tell.

    Source: proc_pid_stat(5), ``/proc/stat``: user nice system idle iowait irq softirq steal, in
    ticks. Time that a hypervisor stole is somebody's use of the core as well.
    """
    ours = {b"cpu%d" % cpu for cpu in _affinity()}
    try:
        lines = (root / "proc/stat").read_bytes().partition(b"intr")[0].splitlines()
    except OSError:
        return None
    rows = [line.split() for line in lines if line.partition(b" ")[0] in ours]
    busy = [sum(map(int, row[1:4])) + sum(map(int, row[6:9])) for row in rows]
    if not busy:
        return None
    ticks_s = os.sysconf("SC_CLK_TCK")
    return CpuTime(time.monotonic(), sum(busy) / ticks_s, time.process_time())


def describe_machine(root: Path = Path("/")) -> dict[str, str]:
    """Tell machines apart by what makes them fast: processor, its features, cores, memory.

    Memory counts by its power of two: a module more or less changes what fits.
    """
    described = {"architecture": platform.machine(), "cpus": str(count_cpus())}
    for line in read_lines(root / "proc/cpuinfo"):
        name, _, value = (part.strip() for part in line.partition(":"))
        if name in ("model name", "CPU implementer", "CPU part"):
            described.setdefault(name, value)
        elif name in ("flags", "Features"):
            digest = hashlib.sha256(" ".join(sorted(value.split())).encode()).hexdigest()
            described.setdefault("features", digest[:16])
    quotas = _present(_quota(group) for group in own_groups(root))
    described["quota"] = str(min(quotas, default=""))
    described["memory"] = f"2**{_total_memory(root).bit_length() - 1}"
    return described


def count_cpus() -> int:
    """Count the CPUs this process may run on."""
    return len(_affinity())


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(root: Path, cpus: set[int]) -> int | None:
    cores = set()
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        package, core = (
            read_number(topology / name) for name in ("physical_package_id", "core_id")
        )
        if core is None:
            return None
        cores.add((package, core))
    return len(cores)


def _available_memory(root: Path) -> int:
    return _meminfo(root, "MemAvailable:") or _total_memory(root)


def _total_memory(root: Path) -> int:
    return _meminfo(root, "MemTotal:") or _pages_bytes()


def _meminfo(root: Path, name: str) -> int | None:
    for line in read_lines(root / "proc/meminfo"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None


def _pages_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _quota(group: Path) -> float | None:
    """CPUs' worth of time: ``cpu.max`` of cgroup v2, ``cpu.cfs_*`` of v1."""
    for line in read_lines(group / "cpu.max"):
        quota, period = line.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = (
        read_number(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")
    )
    if quota_us is None or not period_us or quota_us <= 0:
        return None
    return quota_us / period_us


def _present(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]
