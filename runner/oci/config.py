"""The config document of a model: what lists show without reading weights.

Docker's form is the measure; ModelPack's and Ollama's are read into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from runner.oci.descriptor import Descriptor
from runner.oci.digest import Digest
from runner.oci.document import member, parse_object, render_object, strings

MAX_CONFIG_BYTES = 8 * 1024 * 1024

_WHAT = "model config"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model's facts as its artifact states them; empty and None mean not stated.

    ``parameters`` and ``size`` are for display (``134.52M``, ``93.81MiB``).
    """

    format: str = ""
    quantization: str = ""
    parameters: str = ""
    architecture: str = ""
    size: str = ""
    gguf: Mapping[str, str] = field(default_factory=dict)
    safetensors: Mapping[str, str] = field(default_factory=dict)
    diffusers: Mapping[str, str] = field(default_factory=dict)
    context_size: int | None = None  # tokens; what whoever packaged the model asks for
    created: str | None = None  # RFC 3339
    diff_ids: tuple[Digest, ...] = ()  # of the layers, in their order

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse a config document of any format; raise RunnerError(INVALID_MODEL).

        Diff ids are not kept: layers are plain files, so their digests in the manifest say the
        same.
        """
        value = parse_object(raw, limit_bytes=MAX_CONFIG_BYTES, what=_WHAT)
        if "model_format" in value:
            return cls._of_ollama(value)
        config = member(value, "config", dict, what=_WHAT) or {}
        descriptor = member(value, "descriptor", dict, what=_WHAT) or {}
        return cls(
            format=_text(config, "format").lower(),
            quantization=_text(config, "quantization"),
            parameters=_text(config, "parameters") or _text(config, "paramSize"),
            architecture=_text(config, "architecture") or _text(descriptor, "family"),
            size=_text(config, "size"),
            gguf=strings(config, "gguf", what=_WHAT),
            safetensors=strings(config, "safetensors", what=_WHAT),
            diffusers=strings(config, "diffusers", what=_WHAT),
            context_size=member(config, "context_size", int, what=_WHAT),
            created=_text(descriptor, "created") or _text(descriptor, "createdAt") or None,
        )

    @classmethod
    def _of_ollama(cls, value: Mapping[str, Any]) -> Self:
        """Read Ollama's form, whose ``architecture`` is a processor's, not the model's."""
        return cls(
            format=_text(value, "model_format").lower(),
            quantization=_text(value, "file_type"),
            parameters=_text(value, "model_type"),
            architecture=_text(value, "model_family"),
        )

    def with_layers(self, layers: Iterable[Descriptor]) -> Self:
        """Return the config of a model that has these layers."""
        return replace(self, diff_ids=tuple(layer.digest for layer in layers))

    def render(self) -> bytes:
        """Render Docker's form in canonical bytes. What is not stated is left out."""
        descriptor = {} if self.created is None else {"created": self.created}
        return render_object(
            {
                "config": self.shown(),
                "descriptor": descriptor,
                "rootfs": {"type": "rootfs", "diff_ids": [str(digest) for digest in self.diff_ids]},
            }
        )

    def render_modelpack(self) -> bytes:
        """Render ModelPack's form, which has no place for size, context and GGUF fields."""
        config = {
            "architecture": self.architecture,
            "format": self.format,
            "paramSize": self.parameters,
            "quantization": self.quantization,
        }
        descriptor = {"createdAt": self.created, "family": self.architecture}
        diff_ids = [str(digest) for digest in self.diff_ids]
        return render_object(
            {
                "config": {key: fact for key, fact in config.items() if fact},
                "descriptor": {key: fact for key, fact in descriptor.items() if fact},
                "modelfs": {"type": "layers", "diffIds": diff_ids},
            }
        )

    def shown(self) -> dict[str, Any]:
        """Return the ``config`` object as the API shows it: empty members left out."""
        value = {
            "format": self.format,
            "quantization": self.quantization,
            "parameters": self.parameters,
            "architecture": self.architecture,
            "size": self.size,
            "gguf": dict(self.gguf),
            "safetensors": dict(self.safetensors),
            "diffusers": dict(self.diffusers),
            "context_size": self.context_size,
        }
        return {key: fact for key, fact in value.items() if fact}

    @property
    def created_s(self) -> int | None:
        """``created`` in seconds since 1970; None when it is not stated or not a time."""
        if self.created is None:
            return None
        try:
            moment = datetime.fromisoformat(self.created)
            return int(moment.timestamp()) if moment.tzinfo else None
        except (ValueError, OverflowError):
            return None


def _text(value: Mapping[str, Any], key: str) -> str:
    return member(value, key, str, what=_WHAT) or ""
