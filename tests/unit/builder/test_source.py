"""The pinned sources: what is unpacked, what is refused, whose folder is left alone."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from native.builder.ground import BuildError
from native.builder.source import Pin, ensure_source, unpack, wanted

ROOT = Path(__file__).resolve().parents[3]
PIN = Pin(
    package="some-package",
    version="1.0",
    archive="some_package-1.0.tar.gz",
    sha256="",
    folder="some_package-1.0/vendor/llama.cpp",
    upstream="",
    commit="",
    keep=("CMakeLists.txt", "ggml", "tools/mtmd"),
)


def archive_at(path: Path, members: list[tarfile.TarInfo]) -> Pin:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            content = b"content"
            member.size = len(content) if member.isfile() else 0
            tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return replace(PIN, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_pin_file_names_one_archive() -> None:
    pin = Pin.read(ROOT / "vendor" / "llama.cpp.json")
    assert pin.archive == "llama_cpp_python-0.3.36.tar.gz"
    assert len(pin.sha256) == 64
    assert pin.commit.startswith("0c1e57098")


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("some_package-1.0/vendor/llama.cpp/CMakeLists.txt", "CMakeLists.txt"),
        ("some_package-1.0/vendor/llama.cpp/ggml/src/ggml.c", "ggml/src/ggml.c"),
        ("some_package-1.0/vendor/llama.cpp/tools/mtmd/clip.cpp", "tools/mtmd/clip.cpp"),
        ("some_package-1.0/vendor/llama.cpp/tools/server/server.cpp", None),
        ("some_package-1.0/vendor/llama.cpp/ggml-more/x", None),
        ("some_package-1.0/vendor/llama.cpp/ggml/../../../../x", None),
        ("some_package-1.0/setup.py", None),
        ("/etc/passwd", None),
    ],
)
def test_what_is_kept_of_an_archive(name: str, inner: str | None) -> None:
    got = wanted(name, PIN)
    assert (str(got) if got else None) == inner


def test_only_regular_files_are_unpacked(tmp_path: Path) -> None:
    folder = PIN.folder
    pin = archive_at(
        tmp_path / PIN.archive,
        [
            entry(f"{folder}/ggml", tarfile.DIRTYPE),
            entry(f"{folder}/ggml/a.c"),
            entry(f"{folder}/ggml/link.c", tarfile.SYMTYPE, "/etc/passwd"),
            entry(f"{folder}/ggml/hard.c", tarfile.LNKTYPE, f"{folder}/ggml/a.c"),
            entry(f"{folder}/ggml/fifo", tarfile.FIFOTYPE),
            entry(f"{folder}/docs/readme"),
        ],
    )
    assert unpack(tmp_path / PIN.archive, pin, tmp_path / "tree") == 1
    assert files_below(tmp_path / "tree") == [".pin", "ggml/a.c"]


def test_an_archive_with_another_hash_is_removed_and_both_hashes_said(tmp_path: Path) -> None:
    archive = tmp_path / PIN.archive
    got = archive_at(archive, [entry(f"{PIN.folder}/ggml/a.c")]).sha256
    pin = replace(PIN, sha256="0" * 64)
    with pytest.raises(BuildError) as caught:
        unpack(archive, pin, tmp_path / "tree")
    assert str(caught.value) == (
        f"some_package-1.0.tar.gz is not the pinned file: its sha256 is {got}, expected {'0' * 64}"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_this_pin_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "llama.cpp").mkdir()
    (tmp_path / "llama.cpp" / ".pin").write_text(PIN.sha256)
    said = ensure_source(PIN, tmp_path / "llama.cpp", scratch=tmp_path / "build")
    assert said == "some-package 1.0, already unpacked"


def test_a_tree_that_somebody_put_there_is_left_alone(tmp_path: Path) -> None:
    tree = tmp_path / "llama.cpp"
    tree.mkdir()
    (tree / "CMakeLists.txt").write_text("mine")
    with pytest.raises(BuildError) as caught:
        ensure_source(PIN, tree, scratch=tmp_path / "build")
    assert str(caught.value) == f"{tree} is not what this tool unpacked"
    assert caught.value.hint == f"remove it, or build from it: --source {tree}"
    assert files_below(tmp_path) == ["llama.cpp/CMakeLists.txt"]
