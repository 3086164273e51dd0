from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.service.memory import available_bytes

MB = 1 << 20


def machine(tmp_path: Path, files: dict[str, str]) -> Path:
    """A file system's root, with what the kernel tells."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


MEMINFO = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable:   {8000 * 1024} kB\n"}


def test_available_is_what_the_kernel_says(tmp_path: Path) -> None:
    root = machine(tmp_path, MEMINFO)
    assert available_bytes([], root=root) == 8000 * MB


def test_weights_that_workers_have_mapped_are_not_free(tmp_path: Path) -> None:
    pages = 1000 * MB // os.sysconf("SC_PAGE_SIZE")
    root = machine(tmp_path, {**MEMINFO, "proc/7/statm": f"9999 {pages + 50} {pages} 1 0 99 0\n"})
    assert available_bytes([7, 8], root=root) == 7000 * MB


def group(limit: str, used: int, *, files: int = 0, high: str = "max") -> dict[str, str]:
    """The files of a control group of version 2; sizes in MB."""
    return {
        "memory.max": f"{int(limit) * MB if limit != 'max' else limit}\n",
        "memory.high": f"{int(high) * MB if high != 'max' else high}\n",
        "memory.current": f"{used * MB}\n",
        "memory.stat": f"anon 1\nfile {900 * MB}\nshmem {800 * MB}\n"
        f"inactive_file {files * MB}\nactive_file {MB}\n",
    }


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


def in_group(tmp_path: Path, path: str, groups: dict[str, str]) -> int | None:
    """The memory a process has for a model on a machine with 8000 MB in control group ``path``."""
    files = {**MEMINFO, "proc/self/cgroup": path, **below("sys/fs/cgroup", groups)}
    return available_bytes([], root=machine(tmp_path, files))


def test_a_container_s_limit_counts_less_its_use_but_not_its_files(tmp_path: Path) -> None:
    groups = group("4000", 3000, files=499)
    assert in_group(tmp_path, "0::/\n", groups) == 1500 * MB


def test_a_container_without_limit_is_the_machine(tmp_path: Path) -> None:
    assert in_group(tmp_path, "0::/\n", group("max", 5)) == 8000 * MB


def test_the_narrowest_of_nested_groups_counts(tmp_path: Path) -> None:
    unit = "/system.slice/runner.service"
    groups = {
        **below("system.slice", group("6000", 5000, files=999)),
        **below("system.slice/runner.service", group("5000", 1000, files=99)),
    }
    assert in_group(tmp_path, f"0::{unit}\n", groups) == 2000 * MB


def test_a_throttled_group_has_no_more_than_where_it_is_throttled(tmp_path: Path) -> None:
    groups = below("runner.service", group("4000", 1000, files=99, high="2000"))
    assert in_group(tmp_path, "0::/runner.service\n", groups) == 1100 * MB


def test_groups_of_version_1_count(tmp_path: Path) -> None:
    groups = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",  # none
        "memory/memory.usage_in_bytes": f"{9000 * MB}\n",
        "memory/job/memory.limit_in_bytes": f"{3000 * MB}\n",
        "memory/job/memory.usage_in_bytes": f"{1000 * MB}\n",
        "memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {300 * MB}\n"
        f"total_active_file {200 * MB}\n",
    }
    lines = "9:name=systemd:/\n4:memory:/job\n3:cpuset:/\n0::/\n"
    assert in_group(tmp_path, lines, groups) == 2500 * MB


@pytest.mark.parametrize("path", ["/docker/0123", "/../../elsewhere"])
def test_a_container_that_is_told_the_machine_s_path_has_its_root(
    tmp_path: Path, path: str
) -> None:
    assert in_group(tmp_path, f"0::{path}\n", group("4000", 3000)) == 1001 * MB


def test_where_it_cannot_be_told_it_is_unknown(tmp_path: Path) -> None:
    assert available_bytes([1], root=tmp_path) is None
