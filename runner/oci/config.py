"""The config document of a model, Docker's v0.1 form: what lists show without reading weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

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
    context_size: int | None = None  # tokens; what whoever packaged the model asks for
    created: str | None = None  # RFC 3339
    diff_ids: tuple[Digest, ...] = ()  # of the layers, in their order

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse a config document; raise RunnerError(INVALID_MODEL).

        ModelPack's ``paramSize`` is read as ``parameters``. Diff ids are not kept: layers are
        plain files, so their digests in the manifest say the same.
        """
        value = parse_object(raw, limit_bytes=MAX_CONFIG_BYTES, what=_WHAT)
        config = member(value, "config", dict, what=_WHAT) or {}
        descriptor = member(value, "descriptor", dict, what=_WHAT) or {}

        def text(key: str) -> str:
            return member(config, key, str, what=_WHAT) or ""

        return cls(
            format=text("format").lower(),
            quantization=text("quantization"),
            parameters=text("parameters") or text("paramSize"),
            architecture=text("architecture"),
            size=text("size"),
            gguf=strings(config, "gguf", what=_WHAT),
            context_size=member(config, "context_size", int, what=_WHAT),
            created=member(descriptor, "created", str, what=_WHAT)
            or member(descriptor, "createdAt", str, what=_WHAT),
        )

    def render(self) -> bytes:
        """Render the canonical bytes. What is not stated is left out."""
        descriptor = {} if self.created is None else {"created": self.created}
        return render_object(
            {
                "config": self.shown(),
                "descriptor": descriptor,
                "rootfs": {"type": "rootfs", "diff_ids": [str(digest) for digest in self.diff_ids]},
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
