"""Errors as Ollama's clients read them. Pure."""

from __future__ import annotations

import json

from runner.errors import RunnerError


def render(error: RunnerError) -> bytes:
    """Render ``{"error": "..."}``, on one line."""
    return json.dumps({"error": str(error)}).encode()


def render_line(error: RunnerError) -> bytes:
    """Render the last line of a stream that fails after its head was sent."""
    return render(error) + b"\n"
