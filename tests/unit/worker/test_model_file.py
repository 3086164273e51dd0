"""Only a regular file with a sound header gets as far as native code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.worker.model_file import USUAL_HEADER_BYTES, check_model_file
from tests.support.gguf_maker import ARR, STR, U32, tiny_model, tiny_shards


def refusal(path: Path) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        check_model_file(path)
    assert caught.value.kind is Kind.INVALID_MODEL
    return caught.value


def test_a_sound_file_tells_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_model())
    metadata = check_model_file(path)
    assert (metadata.architecture, metadata.context_length) == ("llama", 128)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a GGUF file"),
        (b"<!doctype html>" + b" " * 100, "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n" + b"x" * 50, "Git LFS pointer"),
        (tiny_model(llama__block_count=(U32, 100_000)), "llama.block_count"),
        (tiny_model()[:-1000], "cut short"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert words.lower() in str(refusal(path)).lower()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.gguf"
    os.mkfifo(fifo)
    assert "not a regular file" in refusal(fifo).message
    assert "not a regular file" in refusal(Path("/dev/null")).message
    assert "cannot open" in refusal(tmp_path / "absent.gguf").message
    assert "cannot open" in refusal(tmp_path).message


def test_a_header_longer_than_usual_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    words = (ARR, (STR, ["x" * 1000] * (USUAL_HEADER_BYTES // 1000)))
    path.write_bytes(tiny_model(general__padding=words))
    assert check_model_file(path).architecture == "llama"


def test_all_parts_of_a_sharded_model_are_read(tmp_path: Path) -> None:
    for index, data in enumerate(tiny_shards(3)):
        (tmp_path / f"m-{index + 1:05d}-of-00003.gguf").write_bytes(data)
    first = tmp_path / "m-00001-of-00003.gguf"
    sizes = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert check_model_file(first).size_bytes == sizes
    (tmp_path / "m-00002-of-00003.gguf").unlink()
    assert "m-00002-of-00003.gguf" in refusal(first).message


def test_a_part_under_a_name_that_hides_the_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_shards(3)[0])
    assert "3 parts" in refusal(path).message
