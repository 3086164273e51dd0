"""Loads our code without Python's traceback when Ctrl-C comes meanwhile: that takes 0.1 s."""

from __future__ import annotations

import importlib
import signal
from types import ModuleType


def load(name: str) -> ModuleType:
    """Import a module; a Ctrl-C before it is there ends the process as the system does, silently.

    Where SIGINT is ignored or taken by somebody else, that stays as it is.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return importlib.import_module(name)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
