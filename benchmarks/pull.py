"""Pulls and pushes of one large layer, ours against ``skopeo copy``: time, CPU time, peak memory.

The registry is docker-registry on loopback; then the same through a line with latency and a rate
for each connection, which is where several ranges at once pay. Both programs start anew for each
measurement, into an empty folder. Needs docker-registry and skopeo.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import harness, registries
from benchmarks.registries import REPOSITORY, TAG, Cost

COLUMNS = {"wall_s": "s", "cpu_s": "CPU s", "peak_mib": "peak MiB"}


def compare(
    what: str, ours: Callable[[], Cost], theirs: Callable[[], Cost], count: int
) -> list[dict[str, Any]]:
    """One row for each figure: medians of both, ours over theirs."""
    costs = harness.rounds({"ours": ours, "skopeo": theirs}, count=count)
    rows = []
    for name, title in COLUMNS.items():
        compared = harness.Comparison(
            tuple(getattr(cost, name) for cost in costs["ours"]),
            tuple(getattr(cost, name) for cost in costs["skopeo"]),
        )
        rows.append({"what": f"{what}, {title}", **compared.row("ours", "skopeo")})
    return rows


def pulls(what: str, port: int, folder: Path, count: int) -> list[dict[str, Any]]:
    """Pull the model through ``port``."""
    host = f"127.0.0.1:{port}"
    target = folder / "pulled"

    def ours() -> Cost:
        _clear(target)
        return registries.measure(
            [sys.executable, "-m", "benchmarks.transfer_program", "pull", str(target),
             f"{host}/{REPOSITORY}:{TAG}"],
            folder / "ours.log",
        )  # fmt: skip

    def theirs() -> Cost:
        _clear(target)
        return registries.measure(
            ["skopeo", "copy", "--src-tls-verify=false", f"docker://{host}/{REPOSITORY}:{TAG}",
             f"oci:{target}:{TAG}"],
            folder / "skopeo.log",
        )  # fmt: skip

    return compare(what, ours, theirs, count)


def pushes(what: str, port: int, folder: Path, count: int) -> list[dict[str, Any]]:
    """Push the model from a store of ours, an image layout to skopeo, to a registry that is empty.

    Empty each time, since both programs would have a registry take layers over that it knows.
    """
    store, source = folder / "store", f"127.0.0.1:{port}/{REPOSITORY}:{TAG}"
    program = [sys.executable, "-m", "benchmarks.transfer_program"]
    registries.measure([*program, "pull", str(store), source], folder / "ours.log")

    def run(command: Callable[[str], list[str]]) -> Cost:
        _clear(folder / "empty")
        (folder / "empty").mkdir()
        with registries.registry(folder / "empty") as empty:
            target = f"127.0.0.1:{empty}/{REPOSITORY}:{TAG}"
            return registries.measure(command(target), folder / "push.log")

    def ours(target: str) -> list[str]:
        return [*program, "push", str(store), source, target]

    def theirs(target: str) -> list[str]:
        flags = ["--dest-tls-verify=false", f"oci:{store}:{source}", f"docker://{target}"]
        return ["skopeo", "copy", *flags]

    return compare(what, lambda: run(ours), lambda: run(theirs), count)


def _clear(folder: Path) -> None:
    """Have a folder gone, and nothing of it still on its way to the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()


def main(argv: list[str]) -> int:
    """Measure both directions on loopback, and the pull over a slow line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pull", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of the layer")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--slow-pairs", type=int, default=2, help="skopeo takes a minute for each")
    parser.add_argument("--round-trip-ms", type=float, default=50.0)
    parser.add_argument("--megabytes-per-s", type=float, default=20.0, help="of each connection")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    harness.warn_if_busy()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="runner-pull-", dir=options.folder) as name:
        folder = Path(name)
        with registries.registry(folder) as port:
            registries.seed(port, options.megabytes * 1_000_000, folder / "layer")
            rows += pulls("pull, loopback", port, folder, options.pairs)
            line = f"{options.round_trip_ms:g} ms, {options.megabytes_per_s:g} MB/s"
            with registries.slow_line(
                port,
                round_trip_ms=options.round_trip_ms,
                megabytes_per_s=options.megabytes_per_s,
            ) as slow_port:
                rows += pulls(f"pull, {line}", slow_port, folder, options.slow_pairs)
            rows += pushes("push, loopback", port, folder, options.pairs)
    harness.report("pull", vars(options), rows, options.json)
    return 0
