"""Small files that the service keeps: one record each, written whole, read with a bound."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

MAX_FILE_BYTES = 64 * 1024

LOG = logging.getLogger(__name__)


def read_record(path: Path, kind: type[T]) -> T | None:
    """Read a record; None where there is none, or what is there cannot be used, which is logged."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_FILE_BYTES), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        LOG.warning("%s cannot be used: %s", path, error)
        return None
