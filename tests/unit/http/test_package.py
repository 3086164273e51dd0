"""The CLI starts with this package, so it must be cheap to import."""

from __future__ import annotations

import subprocess
import sys

COSTLY = ["asyncio", "dataclasses", "inspect", "socket", "logging", "ipaddress", "urllib.parse"]


def test_nothing_costly_is_imported() -> None:
    script = f"import runner.http, sys; print([m for m in {COSTLY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert result.stdout == "[]\n"
