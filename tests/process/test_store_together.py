"""E4: processes that add, remove, prune and sweep in one store at the same time lose nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runner.oci import Reference
from runner.store import Store
from tests.conftest import ROOT
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf

WRITER = """
import sys
from pathlib import Path
from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store
from tests.support.models import add_gguf

folder, name = Path(sys.argv[1]), sys.argv[2]
store = Store(folder / "models")
for _ in range(15):
    model = add_gguf(store, [folder / f"{name}.gguf"], Reference.parse(name))
    # Both writers' models share their weights with the one that stays, and with each other.
    assert store.bundle(store.resolve(name)).gguf_path.is_file()
    store.remove(name)
add_gguf(store, [folder / f"{name}.gguf"], Reference.parse(name))
print("done")
"""

KEEPER = """
import sys
from pathlib import Path
from runner.store import PruneWish, Store

store = Store(Path(sys.argv[1]) / "models")
for _ in range(40):
    store.upkeep.prune(PruneWish(untagged=True))
    store.upkeep.sweep(grace_s=-1.0)
    store.upkeep.usage()
    store.list()
print("done")
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_e4_writers_and_keepers_of_one_store(tmp_path: Path) -> None:
    for name, filling in {"kept": b"\1", "one": b"\2", "two": b"\2", "three": b"\1"}.items():
        (tmp_path / f"{name}.gguf").write_bytes(tiny_model(filling))
    store = Store(tmp_path / "models")
    kept = add_gguf(store, [tmp_path / "kept.gguf"], Reference.parse("kept"))
    folder = str(tmp_path)
    children = [start(WRITER, folder, name) for name in ("one", "two", "three")]
    children.append(start(KEEPER, folder))
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out) == (0, "done\n"), err
    assert {tag for model in store.list() for tag in model.tags} == {
        f"docker.io/ai/{name}:latest" for name in ("kept", "one", "two", "three")
    }
    assert store.resolve("kept").id == kept.id
    assert store.upkeep.check().damages == ()
    store.upkeep.sweep(grace_s=-1.0)
    assert list((store.path / "ingest").iterdir()) == []
