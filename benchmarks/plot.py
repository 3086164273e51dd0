"""Plots as SVG text, written by hand: bars for a comparison, lines for growth. Pure.

Both return the whole document; whoever calls writes it. Colours are Okabe and Ito's, which people
with any kind of colour vision can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 860, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 64, 76  # of the axes
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = "text{font:13px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}"

Scale = Callable[[float], float]


def bars(
    title: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    y_label: str,
    mark: float | None = None,
) -> str:
    """Groups of bars from zero, one bar a series; NaN leaves its place empty.

    ``mark`` draws a dashed line across at this value: a target, or equality.
    """
    values = [value for heights in series.values() for value in heights if math.isfinite(value)]
    ticks = _ticks(0.0, max([*values, mark or 0.0, 1e-9]))
    y = _linear((0.0, ticks[-1]), (HEIGHT - BOTTOM, TOP))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    width = step * 0.8 / max(1, len(series))
    parts = list(_y_axis(ticks, y, y_label))
    for number, heights in enumerate(series.values()):
        for group, value in enumerate(heights):
            if math.isfinite(value):
                left = LEFT + step * (group + 0.1) + width * number
                parts.append(_bar(left, y(value), width, COLOURS[number % len(COLOURS)]))
                parts.append(_text(left + width / 2, y(value) - 4, _number(value), size=10))
    for group, name in enumerate(groups):
        parts.extend(_wrapped(LEFT + step * (group + 0.5), HEIGHT - BOTTOM + 18, name, step))
    if mark is not None:
        parts.append(_rule(y(mark), 'stroke="#222" stroke-dasharray="6 4"'))
    return _document(title, list(series), parts)


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Lines through points (x, y). A logarithmic axis leaves out what is not above zero."""
    shown = {
        name: [p for p in points if (p[0] > 0 or not log_x) and (p[1] > 0 or not log_y)]
        for name, points in series.items()
    }
    xs = [x for points in shown.values() for x, _ in points] or [0.0, 1.0]
    ys = [y for points in shown.values() for _, y in points] or [0.0, 1.0]
    x_ticks = _log_ticks(min(xs), max(xs)) if log_x else _ticks(min(xs), max(xs))
    y_ticks = _log_ticks(min(ys), max(ys)) if log_y else _ticks(min(0.0, *ys), max(ys))
    x = (_log if log_x else _linear)((x_ticks[0], x_ticks[-1]), (LEFT, WIDTH - RIGHT))
    y = (_log if log_y else _linear)((y_ticks[0], y_ticks[-1]), (HEIGHT - BOTTOM, TOP))
    parts = list(_y_axis(y_ticks, y, y_label))
    for tick in x_ticks:
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 18, _number(tick)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 42, x_label))
    for number, points in enumerate(shown.values()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in points
        ]
    return _document(title, list(shown), parts)


def _document(title: str, names: Sequence[str], parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" role="img"><title>{escape(title)}</title>'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    )
    heading = f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>'
    return "\n".join([head, heading, *_legend(names), *parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> Iterator[str]:
    at = float(LEFT)
    for number, name in enumerate(names):
        yield _bar(at, 36, 12, COLOURS[number % len(COLOURS)], bottom=48)
        yield _text(at + 18, 47, name, anchor="start")
        at += 34 + 7.5 * len(name)


def _y_axis(ticks: Sequence[float], y: Scale, label: str) -> Iterator[str]:
    for tick in ticks:
        yield _rule(y(tick), 'stroke="#ddd"')
        yield _text(LEFT - 8, y(tick) + 4, _number(tick), anchor="end")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text x="20" y="{middle}" text-anchor="middle"'
        f' transform="rotate(-90 20 {middle})">{escape(label)}</text>'
    )


def _wrapped(x: float, y: float, text: str, width: float) -> Iterator[str]:
    """A name below its group, broken at blanks to lines that fit the width."""
    line = ""
    for word in text.split():
        if line and 7 * (len(line) + 1 + len(word)) > width:
            yield _text(x, y, line)
            line, y = "", y + 15
        line = f"{line} {word}".strip()
    yield _text(x, y, line)


def _bar(x: float, top: float, width: float, colour: str, bottom: float = HEIGHT - BOTTOM) -> str:
    return (
        f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}"'
        f' height="{bottom - top:.1f}" fill="{colour}"/>'
    )


def _rule(y: float, style: str) -> str:
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {style}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: int = 13) -> str:
    style = f' style="font-size:{size}px"' if size != 13 else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _linear(values: tuple[float, float], places: tuple[float, float]) -> Scale:
    low, high = values
    return lambda v: places[0] + (v - low) / (high - low or 1) * (places[1] - places[0])


def _log(values: tuple[float, float], places: tuple[float, float]) -> Scale:
    scale = _linear((math.log10(values[0]), math.log10(values[1])), places)
    return lambda v: scale(math.log10(v))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, some five of them, from at most ``low`` to at least ``high``."""
    rough = (high - low or abs(high) or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def _number(value: float) -> str:
    if value and abs(value) < 0.01:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
