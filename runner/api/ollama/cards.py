"""Models as Ollama's lists tell of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.api.ollama.names import shown_name
from runner.api.ollama.render import render_moment
from runner.durations import LONGEST_S
from runner.oci import Artifact, Role
from runner.service import RunningModel, StoredModel

TEMPLATE_KEY = "tokenizer.chat_template"

Card = dict[str, Any]


def details(model: StoredModel) -> Card:
    """Render what kind of model it is."""
    config = model.config
    return {
        "parent_model": "",
        "format": config.format,
        "family": config.architecture,
        "families": [config.architecture] if config.architecture else [],
        "parameter_size": config.parameters,
        "quantization_level": config.quantization,
    }


def tags(models: Iterable[StoredModel]) -> Card:
    """Render ``/api/tags``: every name of every model; without a name its id stands for it."""
    return {
        "models": [
            {
                "name": name,
                "model": name,
                "modified_at": render_moment(model.created_s * 10**9),
                "size": model.size_bytes,
                "digest": model.id.hex,
                "details": details(model),
            }
            for model in models
            for name in _names(model)
        ]
    }


def running(models: Sequence[RunningModel], stored: Iterable[StoredModel], *, now_s: float) -> Card:
    """Render ``/api/ps``; ``stored`` tells of what kind they are, ``now_s`` is Unix time."""
    known = {str(model.id): model for model in stored}
    return {"models": [_running(model, known.get(model.id), now_s=now_s) for model in models]}


def _running(model: RunningModel, stored: StoredModel | None, *, now_s: float) -> Card:
    """Render one; the memory of a worker counts as a graphics card's if its layers are there."""
    name = shown_name(model.tags[0]) if model.tags else model.name
    size = model.size_bytes if model.beat is None else model.beat.resident_bytes
    settings = model.settings
    in_s = model.keep_alive_s if model.expires_in_s is None else model.expires_in_s
    expires_s = now_s + min(in_s, LONGEST_S)  # Ollama's clients show far times as "Forever"
    return {
        "name": name,
        "model": name,
        "size": size,
        "digest": model.id.removeprefix("sha256:"),
        "details": {} if stored is None else details(stored),
        "expires_at": render_moment(round(expires_s * 1e9)),
        "size_vram": _on_card_bytes(model, size),
        "context_length": 0 if settings is None else settings.context_size,
    }


def _on_card_bytes(model: RunningModel, size: int) -> int:
    """Count what of ``size`` is a graphics card's: all of it where all layers are there."""
    if model.ready is None or model.ready.settings.gpu_layers == 0:
        return 0
    is_whole = model.ready.settings.gpu_layers < 0
    return size if is_whole else min(size, model.ready.device_bytes)


def _names(model: StoredModel) -> list[str]:
    return [shown_name(tag) for tag in model.tags] or [str(model.id)]


# ---- show ------------------------------------------------------------------------------------


def show(model: StoredModel, *, template: str | None, licenses: Sequence[str]) -> Card:
    """Render ``/api/show``. ``template`` is one that lies beside the weights; it rules."""
    name = _names(model)[0]
    gguf = model.config.gguf
    template = template or gguf.get(TEMPLATE_KEY, "")
    context_size = model.config.context_size
    parameters = "" if context_size is None else f"{'num_ctx':<31}{context_size}"
    modelfile = [f"FROM {name}"]
    if context_size is not None:
        modelfile.append(f"PARAMETER num_ctx {context_size}")
    return {
        "license": "\n\n".join(licenses),
        "modelfile": "\n".join(modelfile) + "\n",
        "parameters": parameters,
        "template": template,
        "details": details(model),
        "model_info": {key: _typed(key, value) for key, value in gguf.items()},
        "capabilities": capabilities(model, template),
        "modified_at": render_moment(model.created_s * 10**9),
    }


def capabilities(model: StoredModel, template: str) -> list[str]:
    """Tell what a model can do, by its file and its template, in Ollama's words."""
    gguf = model.config.gguf
    pooling = gguf.get(f"{model.config.architecture}.pooling_type", "0")
    if pooling != "0":
        return ["embedding"]
    return ["completion", *_abilities(gguf, template, Artifact.of(model.manifest))]


def _abilities(gguf: Mapping[str, str], template: str, artifact: Artifact) -> Iterator[str]:
    if artifact.having(Role.MMPROJ):
        yield "vision"
    if _TOOLS.search(template):
        yield "tools"
    if any(key in gguf for key in _FILLING_KEYS):
        yield "insert"
    if _THINKING.search(template):
        yield "thinking"


_TOOLS = re.compile(r"\btools\b")
_THINKING = re.compile(r"\benable_thinking\b|</think>|\breasoning_content\b|\bthinking\b")
_FILLING_KEYS = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}\.[0-9]{6}")
# ``general.name`` may look like a number; of the general keys these alone are.
_GENERAL_NUMBERS = {
    f"general.{name}"
    for name in ("alignment", "file_type", "parameter_count", "quantization_version")
}


def _typed(key: str, value: str) -> bool | int | float | str:
    """Return a field of the file's header with the type it has there: lists keep text alone."""
    if key.startswith("general.") and key not in _GENERAL_NUMBERS:
        return value
    if value in ("true", "false"):
        return value == "true"
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) else value
