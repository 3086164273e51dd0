"""Opens the store: makes a new one in an empty folder, checks the version of an old one."""

from __future__ import annotations

import errno
import json

from runner.errors import Kind, RunnerError
from runner.store.layout import FOLDER_MODE, Layout, replace_file
from runner.store.lock import locked

LAYOUT_VERSION = "1.0.0"
_HARMLESS = {"lost+found", ".DS_Store", "index.json.bad", "oci-layout.bad"}
_DMR_NAMES = {"layout.json", "models.json"}


def open_layout(layout: Layout) -> bool:
    """Make the store ready; return whether this version may write to it.

    Raises RunnerError(STORE) for a folder that holds something else, OSError for the disk's faults.
    """
    if not layout.is_ours:
        _check_is_store(layout)
        return False
    version = _read_version(layout)
    if version is not None and _is_newer(version):
        return False
    if version is None:
        check_may_become_store(layout)
        layout.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    try:
        _make(layout)
    except OSError as error:
        # A store on a disk that is mounted read-only can still be read.
        if version is None or error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return False
    return True


def _check_is_store(layout: Layout) -> None:
    if _read_version(layout) is None:
        raise RunnerError(
            Kind.STORE,
            f"there is no model store at {layout.root}",
            hint="check the path, and that its disk is mounted",
        )


def newer_store(layout: Layout) -> RunnerError:
    """Build the refusal of a change to a store that was opened read-only."""
    return RunnerError(
        Kind.STORE,
        f"the model store at {layout.root} was opened read-only: it is of a newer version, "
        "or its disk may not be written",
        hint="update runner, make the disk writable, or name another folder with MODELS_PATH",
    )


def _make(layout: Layout) -> None:
    """Make what is missing. An index is not: reading one rebuilds it from what is there."""
    for folder in layout.folders:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    if _read_version(layout) is not None:
        return
    with locked(layout.lock):
        if layout.marker.exists() and _read_version(layout) is None:
            layout.marker.replace(layout.marker.with_suffix(".bad"))
        write_marker(layout)


def write_marker(layout: Layout) -> None:
    """Make a folder a store."""
    replace_file(layout, layout.marker, _render_version())


def _render_version() -> bytes:
    return json.dumps({"imageLayoutVersion": LAYOUT_VERSION}).encode()


def _read_version(layout: Layout) -> str | None:
    """Return the version; None when the marker is missing or damaged."""
    try:
        return str(json.loads(layout.marker.read_bytes())["imageLayoutVersion"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _is_newer(version: str) -> bool:
    major = version.partition(".")[0]
    return not major.isdigit() or int(major) > int(LAYOUT_VERSION.partition(".")[0])


def check_may_become_store(layout: Layout) -> None:
    """Never begin a store among files of something else; raise RunnerError(STORE)."""
    if not layout.root.exists():
        return
    if not layout.root.is_dir():
        raise _refuse(layout, "is not a folder")
    names = {path.name for path in layout.root.iterdir()}
    if names >= _DMR_NAMES:
        raise _refuse(
            layout,
            "is a store of Docker Model Runner",
            hint="take its models over into a store of your own: "
            f"runner import --from dmr --path {layout.root}",
        )
    unknown = sorted(names - layout.names - _HARMLESS)
    if unknown:
        raise _refuse(layout, f"is not a model store and not empty (it holds {unknown[0]!a})")


def _refuse(layout: Layout, problem: str, *, hint: str | None = None) -> RunnerError:
    return RunnerError(
        Kind.STORE,
        f"{layout.root} {problem}",
        hint=hint or "name an empty folder with MODELS_PATH or --models-path",
    )
