"""The native library in Python: loading, checked calls, handles with owners, and the step.

The only package that loads it. Knows no engine policy, no wire messages and no files but its own
library; nothing is loaded at import.
"""

from __future__ import annotations

from .embedder import Embedder, EmbedderInfo
from .errors import Code, NativeError
from .handles import Context, ContextInfo, LoadWatch, Model, Parser, Template
from .library import Library, load
from .media import MediaFile, MediaInfo, Parts, Projector
from .step import Flag, MediaRows, Outcome, Prompt, Record, Stepper

__all__ = [
    "Code",
    "Context",
    "ContextInfo",
    "Embedder",
    "EmbedderInfo",
    "Flag",
    "Library",
    "LoadWatch",
    "MediaFile",
    "MediaInfo",
    "MediaRows",
    "Model",
    "NativeError",
    "Outcome",
    "Parser",
    "Parts",
    "Projector",
    "Prompt",
    "Record",
    "Stepper",
    "Template",
    "load",
]
