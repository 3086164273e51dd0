"""The lines that tell how a transfer goes, as Docker Model Runner writes them. Pure.

One JSON object a line, its members in Go's order: ``type``, ``message``, ``total`` (bytes of all
layers), ``layer`` (``id``, ``size``, ``current``), ``mode``. Clients tell layers apart by ``id``
and add up ``current``. Ours alone, and only where they tell something: ``layer.resumed`` (bytes
from an earlier attempt), ``layer.present`` (was there before), on success ``models`` (``id``,
``tags``), and on an error ``code``.
Source: dmr-contract.md 1.4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from runner.errors import RunnerError
from runner.oci import Digest
from runner.service import LayerProgress, Note, Planned, TransferEvent

Mode = Literal["pull", "push", "package", "load"]  # the last two are ours

_NO_LAYER = {"size": 0, "current": 0}
_VERBS: dict[Mode, str] = {
    "pull": "Downloaded",
    "push": "Uploaded",
    "package": "Added",
    "load": "Loaded",
}
_MIB = 1024 * 1024

# As Go's html.EscapeString writes them: the stock CLI undoes these in every line.
_ENTITIES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"},
)


class Lines:
    """Renders one answer; remembers the sizes whose total every line repeats."""

    def __init__(self, mode: Mode, *, is_escaped: bool) -> None:
        """``is_escaped``: as HTML, for a client that did not ask for JSON by name."""
        self._mode = mode
        self._is_escaped = is_escaped
        self._sizes_bytes: dict[Digest, int] = {}  # of layers; one may turn out to cost more
        self._total_bytes = 0

    def events(self, events: Iterable[TransferEvent]) -> bytes:
        """Render news of a transfer; empty when there is nothing to tell."""
        return b"".join(self._events(events))

    def _events(self, events: Iterable[TransferEvent]) -> Iterator[bytes]:
        for event in events:
            match event:
                case Note():
                    kind = "warning" if event.is_warning else "progress"
                    yield self._line(kind, event.message, total=self._total_bytes)
                case Planned():
                    self._sizes_bytes = {layer.digest: layer.size_bytes for layer in event.layers}
                    self._total_bytes = event.total_bytes
                case LayerProgress():
                    yield self._layer(event)

    def success(self, message: str, **more: Any) -> bytes:
        """Render the last line of what worked."""
        return self._line("success", message, **more)

    def error(self, error: RunnerError) -> bytes:
        """Render the last line of what failed after its first line was sent."""
        return self._line("error", f"Error: {error}", code=error.kind.value)

    def _layer(self, layer: LayerProgress) -> bytes:
        planned_bytes = self._sizes_bytes.get(layer.digest, layer.size_bytes)
        self._total_bytes += layer.size_bytes - planned_bytes
        self._sizes_bytes[layer.digest] = layer.size_bytes
        shown: dict[str, Any] = {
            "id": str(layer.digest),
            "size": layer.size_bytes,
            "current": layer.done_bytes,
        }
        if layer.resumed_bytes:
            shown["resumed"] = layer.resumed_bytes
        if layer.is_present:
            shown["present"] = True
        message = f"{_VERBS[self._mode]}: {layer.done_bytes / _MIB:.2f} MB"
        return self._line("progress", message, total=self._total_bytes, layer=shown)

    def _line(
        self,
        kind: str,
        message: str,
        *,
        total: int = 0,
        layer: dict[str, Any] | None = None,
        **more: Any,
    ) -> bytes:
        line = {
            "type": kind,
            "message": message,
            "total": total,
            "layer": layer or _NO_LAYER,
            "mode": self._mode,
        }
        text = json.dumps(line | more, ensure_ascii=False, separators=(",", ":"))
        return (text.translate(_ENTITIES) if self._is_escaped else text).encode() + b"\n"
