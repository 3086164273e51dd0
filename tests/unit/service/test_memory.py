from __future__ import annotations

import os
from pathlib import Path

from runner.service.memory import available_bytes

MB = 1 << 20


def machine(tmp_path: Path, files: dict[str, str]) -> Path:
    """A folder like /proc or /sys/fs/cgroup."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


MEMINFO = {"meminfo": f"MemTotal: 1 kB\nMemAvailable:   {8000 * 1024} kB\n"}


def test_available_is_what_the_kernel_says(tmp_path: Path) -> None:
    proc = machine(tmp_path, MEMINFO)
    assert available_bytes([], proc=proc, cgroup=tmp_path / "none") == 8000 * MB


def test_weights_that_workers_have_mapped_are_not_free(tmp_path: Path) -> None:
    pages = 1000 * MB // os.sysconf("SC_PAGE_SIZE")
    proc = machine(tmp_path, {**MEMINFO, "7/statm": f"9999 {pages + 50} {pages} 1 0 99 0\n"})
    assert available_bytes([7, 8], proc=proc, cgroup=tmp_path / "none") == 7000 * MB


def test_a_container_s_limit_counts_less_its_use_but_not_its_file_cache(tmp_path: Path) -> None:
    proc = machine(tmp_path / "proc", MEMINFO)
    cgroup = machine(
        tmp_path / "cgroup",
        {
            "memory.max": f"{4000 * MB}\n",
            "memory.current": f"{3000 * MB}\n",
            "memory.stat": f"anon {2500 * MB}\nfile {500 * MB}\n",
        },
    )
    assert available_bytes([], proc=proc, cgroup=cgroup) == 1500 * MB


def test_a_container_without_limit_is_the_machine(tmp_path: Path) -> None:
    proc = machine(tmp_path / "proc", MEMINFO)
    cgroup = machine(tmp_path / "cgroup", {"memory.max": "max\n", "memory.current": "5\n"})
    assert available_bytes([], proc=proc, cgroup=cgroup) == 8000 * MB


def test_where_it_cannot_be_told_it_is_unknown(tmp_path: Path) -> None:
    assert available_bytes([1], proc=tmp_path, cgroup=tmp_path) is None
