"""Build hook of `pip install .`: put the native library, built here, into a wheel of this platform.

RUNNER_BUILD_OPTIONS holds options for build_native.py, for example "--backend cuda --portable".
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TOOLS = {"cmake": "cmake>=3.21", "ninja": "ninja>=1.10"}


class NativeLibrary(BuildHookInterface):  # type: ignore[type-arg]
    """Build the library before a wheel is made, editable or not."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for what the machine lacks: PyPI's cmake takes 88 MB. pip fetches the sources."""
        missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
        return missing if find_spec("pip") else [*missing, "pip"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and name the wheel: ctypes serves any Python 3, the library one platform."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        if (root / "PKG-INFO").exists():  # an unpacked sdist goes away: so must what it built
            os.environ.setdefault("RUNNER_BUILD_DIR", str(root / "build" / "native"))
        sys.path.insert(0, self.root)
        import build_native

        if build_native.main(shlex.split(os.environ.get("RUNNER_BUILD_OPTIONS", ""))):
            raise RuntimeError("the native library was not built: see above")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"


def platform_tag() -> str:
    """Give this platform's tag; a Python for two Macs still builds a library for one."""
    tag = sysconfig.get_platform().replace("universal2", platform.machine())
    return tag.replace("-", "_").replace(".", "_")
