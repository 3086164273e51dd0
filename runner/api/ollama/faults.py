"""Errors as Ollama's clients read them. Pure."""

from __future__ import annotations

import json

from runner.errors import RunnerError


def render(error: RunnerError) -> bytes:
    """Render ``{"error": "..."}``, on one line.

    What the engine calls by the names of chat completions is called by Ollama's.
    """
    message = str(error)
    if error.param == "response_format":
        message = message.replace(error.param, "format", 1)
    return json.dumps({"error": message}).encode()


def render_line(error: RunnerError) -> bytes:
    """Render the last line of a stream that fails after its head was sent."""
    return render(error) + b"\n"
