"""What a transfer looks like at a moment: one bar a layer, with speed and time to go. Pure.

Fed with the daemon's events (dmr-contract.md 1.4); times come in as seconds of any one clock.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from runner.cli.output import decimal_size, printable

WINDOW_S = 5.0  # over which speed is measured
LEAST_S = 0.3  # before which it would be a guess
LEAST_BAR, MOST_BAR = 10, 40  # characters
STATUS_WIDTH = 14

# What is being done, is done, and was done to so many bytes.
_WORDS = {
    "pull": ("Downloading", "Pull complete", "Downloaded"),
    "push": ("Uploading", "Push complete", "Uploaded"),
    "package": ("Adding", "Added", "Added"),
    "save": ("Saving", "Saved", "Saved"),
    "load": ("Loading", "Loaded", "Loaded"),
}


class Rate:
    """Bytes a second over the last few seconds; it falls while nothing comes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, done_bytes: int) -> None:
        """Note how far it is."""
        if self._samples and done_bytes < self._samples[-1][1]:
            self._samples.clear()  # bytes turned out wrong, and come again
        self._samples.append((now_s, done_bytes))

    def per_s(self, now_s: float) -> float:
        """Return the rate; 0 when nothing came, or it is too early to tell."""
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()
        if not self._samples or now_s - self._samples[0][0] < LEAST_S:
            return 0.0
        (began_s, began), (_, done) = self._samples[0], self._samples[-1]
        return (done - began) / (now_s - began_s)


class Layer:
    """One layer's numbers."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.size = 0
        self.done = 0
        self.resumed = 0
        self.is_present = False
        self.rate = Rate()

    @property
    def is_done(self) -> bool:
        """Whether all of it is there. Of no size and not empty: nobody knows how much comes."""
        return self.done == self.size


class Board:
    """All layers of a transfer."""

    def __init__(self, what: str, *, began_s: float) -> None:
        """``what`` is told while nothing else can be: ``Looking for ai/smollm2``."""
        self._what = what
        self._began_s = began_s
        self._mode = "pull"
        self._total_bytes = 0
        self._layers: dict[str, Layer] = {}
        self._rate = Rate()

    def take(self, event: dict[str, Any], now_s: float) -> None:
        """Take in an event; one that tells of no layer changes nothing."""
        told = event.get("layer") or {}
        if not told.get("id"):
            return
        self._mode = event.get("mode") or self._mode
        self._total_bytes = event.get("total") or self._total_bytes
        layer = self._layers.setdefault(told["id"], Layer(told["id"]))
        layer.size = told.get("size") or 0
        layer.done = told.get("current") or 0
        layer.resumed = told.get("resumed") or 0
        layer.is_present = told.get("present") or False
        layer.rate.add(now_s, layer.done)
        self._rate.add(now_s, self.done_bytes)

    @property
    def done_bytes(self) -> int:
        """Bytes of all layers that are there."""
        return sum(layer.done for layer in self._layers.values())

    @property
    def total_bytes(self) -> int:
        """Bytes of all layers; 0 while nobody knows."""
        return self._total_bytes

    @property
    def _words(self) -> tuple[str, str, str]:
        return _WORDS.get(self._mode, _WORDS["pull"])

    def line(self) -> str:
        """Tell all in a short line, as Docker's plugin does; empty while nothing is moved."""
        if not self._total_bytes or all(layer.is_present for layer in self._layers.values()):
            return ""
        return (
            f"{self._words[2]} {decimal_size(self.done_bytes)} of {decimal_size(self._total_bytes)}"
        )

    def render(self, now_s: float, *, columns: int, rows: int) -> list[str]:
        """Lay out lines of at most ``columns``, at most ``rows`` of them."""
        if not self._layers:
            return [f"{printable(self._what)} … {now_s - self._began_s:.0f} s"[:columns]]
        layers = list(self._layers.values())
        if len(layers) >= rows:  # those that move are worth seeing
            layers.sort(key=lambda layer: layer.is_done)
            layers = layers[: rows - 1]
        tails = [_tail(layer, now_s) for layer in layers]
        width = min(columns - max(map(len, tails)) - 12 - STATUS_WIDTH - 8, MOST_BAR)
        lines = [
            self._layer_line(layer, tail, width) for layer, tail in zip(layers, tails, strict=True)
        ]
        if sum(not layer.is_present for layer in self._layers.values()) > 1:
            lines.append(self._total_line(now_s))
        return [line[:columns] for line in lines]

    def _layer_line(self, layer: Layer, tail: str, width: int) -> str:
        digest = layer.id.partition(":")[2] or layer.id
        head = f"{printable(digest[:12]):<12}  {self._status(layer):<{STATUS_WIDTH}}"
        has_bar = width >= LEAST_BAR and layer.size > 0 and not layer.is_done
        bar = f"  {_bar(layer.done / layer.size, width)}" if has_bar else ""
        return f"{head}{bar}  {tail}"

    def _status(self, layer: Layer) -> str:
        if layer.is_present:
            return "Already exists"
        if layer.is_done:
            return self._words[1]
        return self._words[0] if layer.done else "Waiting"

    def _total_line(self, now_s: float) -> str:
        done, total = self.done_bytes, max(self._total_bytes, 1)
        resumed = sum(layer.resumed for layer in self._layers.values())
        amount = _amount(done, total, resumed, self._rate.per_s(now_s))
        return f"{'Total':<14}{f'{done * 100 // total}%':<{STATUS_WIDTH}}  {amount}"


def _tail(layer: Layer, now_s: float) -> str:
    if layer.is_done:
        return decimal_size(layer.size)
    return _amount(layer.done, layer.size, layer.resumed, layer.rate.per_s(now_s))


def _amount(done: int, size: int, resumed: int, per_s: float) -> str:
    parts = [f"{decimal_size(done)}/{decimal_size(size)}" if size else decimal_size(done)]
    if done != size and per_s > 0:
        parts.append(f"{decimal_size(int(per_s))}/s")
    if done < size and per_s > 0:
        parts.append(render_span((size - done) / per_s))
    if resumed:
        parts.append(f"({decimal_size(resumed)} from before)")
    return "  ".join(parts)


def _bar(fraction: float, width: int) -> str:
    filled = int(fraction * width)
    return f"[{('=' * filled + '>')[:width]:<{width}}]"


def render_span(seconds: float) -> str:
    """Render a time to wait: ``6s``, ``2m05s``, ``3h10m``."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"
