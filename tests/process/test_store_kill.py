"""kill -9 at any moment loses no stored model.

A child works on a store and is killed by SIGKILL: at each of its first calls that change the
disk, one child for each (just before the call), and at moments that nobody chose.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.oci import Reference
from runner.store import Store
from tests.conftest import ROOT
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf

# Adds b and c, tags, moves a tag, removes; dies before the n-th change of the disk.
CHILD = """
import itertools, os, signal, sys
from pathlib import Path
from runner.oci import Reference
from runner.store import Store
from tests.support.models import add_gguf

folder, deadly = Path(sys.argv[1]), int(sys.argv[2])
store = Store(folder / "models")
count = itertools.count()

def deadly_at(name):
    real = getattr(os, name)
    def call(*arguments, **options):
        if next(count) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(os, name, call)

for name in ("link", "replace", "rename", "fsync", "unlink", "mkdir", "rmdir"):
    deadly_at(name)

print("ready", flush=True)
for _ in itertools.count() if deadly < 0 else range(1):
    b = add_gguf(store, [folder / "b.gguf"], Reference.parse("b"))
    store.bundle(b)
    store.tag(b, Reference.parse("second:v1"))
    add_gguf(store, [folder / "copied.gguf"], Reference.parse("c"))
    store.tag(store.resolve("c"), Reference.parse("second:v1"))
    store.remove("c")
    store.remove("second:v1")
    store.remove("b")
print("done", next(count), flush=True)
"""
FILLINGS = {"a": b"\1", "b": b"\2", "copied": b"\3"}


def prepare(folder: Path) -> Path:
    for name, filling in FILLINGS.items():
        (folder / f"{name}.gguf").write_bytes(tiny_model(filling))
    (folder / "copied.gguf").chmod(0o666)  # anybody may write it: stored as a copy
    add_gguf(Store(folder / "models"), [folder / "a.gguf"], Reference.parse("a"))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepare(tmp_path)


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many changes of the disk the child's work takes."""
    with child(prepare(tmp_path_factory.mktemp("undisturbed")), 10**9) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    return int(output.split()[-1])


def child(folder: Path, deadly: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(deadly)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def check(folder: Path) -> None:
    """Open the store as the next process does: all that is listed is whole, and a is there."""
    started = time.monotonic()
    store = Store(folder / "models")
    listed = {tag: model for model in store.list() for tag in model.tags}
    assert "docker.io/ai/a:latest" in listed
    for tag, model in listed.items():
        content = store.bundle(model).gguf_path.read_bytes()
        assert content in {tiny_model(filling) for filling in FILLINGS.values()}
        assert store.resolve(tag) == model
    assert store.bundle(listed["docker.io/ai/a:latest"]).gguf_path.read_bytes() == tiny_model()
    # What was interrupted can be done again, and leftovers go.
    again = add_gguf(store, [folder / "b.gguf"], Reference.parse("b"))
    assert store.bundle(again).gguf_path.read_bytes() == tiny_model(b"\2")
    store.upkeep.sweep(grace_s=-1.0)
    assert list((folder / "models/ingest").iterdir()) == []
    assert len(list((folder / "models/blobs/sha256").iterdir())) == 3 * len(store.list())
    assert time.monotonic() - started < 20  # no lock was left behind


@pytest.mark.slow
@pytest.mark.parametrize("share", range(0, 100, 4))
def test_killed_before_a_change_of_the_disk(folder: Path, changes: int, share: int) -> None:
    with child(folder, changes * share // 100) as process:
        process.communicate()
    assert process.returncode == -9
    check(folder)


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [0, 3, 7, 13, 22, 37, 61, 101])
def test_killed_at_any_moment(folder: Path, delay_ms: int) -> None:
    with child(folder, -1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay_ms / 1000)
        process.kill()
    check(folder)


def test_killed_again_and_again(folder: Path) -> None:
    for deadly in (5, 40, 20):
        with child(folder, deadly) as process:
            process.communicate()
    check(folder)
