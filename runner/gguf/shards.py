"""Models in several files: their names, and whether the parts belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.gguf.values import Gguf

_NAME = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII)


@dataclass(frozen=True, slots=True)
class ShardName:
    """The parts of a file name such as ``model-00001-of-00003.gguf``."""

    stem: str
    index: int  # from 1, as in the name
    count: int


def parse_shard_name(file_name: str) -> ShardName | None:
    """Parse a shard's file name; None when the name is not of that form."""
    match = _NAME.fullmatch(file_name)
    if match is None:
        return None
    name = ShardName(match["stem"], int(match["index"]), int(match["count"]))
    return name if 1 <= name.index <= name.count else None


def render_shard_name(stem: str, index: int, count: int) -> str:
    """Render the file name llama.cpp looks for: ``index`` from 1."""
    return f"{stem}-{index:05d}-of-{count:05d}.gguf"


def check_shards(parts: Sequence[Gguf]) -> None:
    """Check that the headers are the parts of one model, all of them, in order.

    Raises RunnerError(INVALID_MODEL) that names the part.
    """
    split = parts[0].split
    count = split.count if split else 1
    if count != len(parts):
        raise _refuse(f"the model is in {count} parts, but {len(parts)} are given")
    if split is None:
        return
    for index, part in enumerate(parts):
        if part.split is None or part.split.count != count:
            raise _refuse(f"part {index + 1} is not one of {count} parts (split.count)")
        if part.split.index != index:
            raise _refuse(f"part {index + 1} says it is part {part.split.index + 1} (split.no)")
    names = [tensor.name for part in parts for tensor in part.tensors]
    if len(set(names)) != len(names):
        raise _refuse("two parts hold the same tensor: they are not of one model")
    if split.tensors is not None and split.tensors != len(names):
        raise _refuse(f"the parts hold {len(names)} tensors, not {split.tensors}")


def _refuse(problem: str) -> RunnerError:
    return RunnerError(
        Kind.INVALID_MODEL,
        f"invalid sharded model: {problem}",
        hint="put all parts of one download, NAME-00001-of-0000N.gguf and on, into one folder",
        details={"field": "split"},
    )
