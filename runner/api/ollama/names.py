"""Models by name: how requests give it, and how answers do. Pure."""

from __future__ import annotations

from runner.api.fields import Fields, text
from runner.errors import Kind, RunnerError
from runner.oci import Reference

MAX_NAME_CHARACTERS = 512

MODEL = text("model", "the model's name", max_characters=MAX_NAME_CHARACTERS)
NAME = text(
    "name", "what model was called before; it counts when both are sent", max_characters=512
)


def take_model(fields: Fields) -> str:
    """Take the name of the model; raise INVALID_REQUEST when there is none."""
    older, name = fields.take(NAME), fields.take(MODEL)
    found = older or name
    if not found or not found.strip():
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "model is required",
            hint="GET /api/tags lists the models of this server",
            param="model",
        )
    return found


def shown_name(tag: str) -> str:
    """Write a full name as Ollama does, short and with its tag: ``smollm2:latest``."""
    reference = Reference.parse(tag)
    short = reference.familiar
    if reference.digest is None and reference.tag is not None:
        return f"{short.removesuffix(f':{reference.tag}')}:{reference.tag}"
    return short
