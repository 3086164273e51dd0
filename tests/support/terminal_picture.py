"""What a program showed on a terminal, as a page that a browser can take a picture of."""

from __future__ import annotations

import html
from itertools import groupby

import pyte
from pyte.screens import Char

COLUMNS, LINES = 96, 36
INK, GROUND = "#d8dae5", "#16161d"
COLOURS = {
    "black": "#16161d",
    "red": "#ff7a85",
    "green": "#7bd88f",
    "brown": "#f2c97d",  # pyte's name of yellow
    "blue": "#8ba4ff",
    "magenta": "#d3a4ff",
    "cyan": "#7fdbe6",
    "white": INK,
    "brightblack": "#8b8da0",
}

PAGE = """\
<!doctype html><meta charset="utf-8"><title>{title}</title><style>
body {{ margin: 0; padding: 20px; background: #2a2a36; display: inline-block; }}
main {{ background: {ground}; color: {ink}; border-radius: 10px; overflow: hidden; }}
header {{ display: flex; gap: 8px; align-items: center; padding: 11px 14px; background: #20202a;
  font: 13px system-ui, "DejaVu Sans", sans-serif; color: #8b8da0; }}
i {{ width: 11px; height: 11px; border-radius: 50%; background: #4a4a59; }}
header span {{ margin-left: 6px; }}
pre {{ margin: 0; padding: 14px 18px 18px; width: {columns}ch;
  font: 14px/1.45 "DejaVu Sans Mono", monospace; }}
</style><main><header><i></i><i></i><i></i><span>{title}</span></header><pre>{rows}</pre></main>
"""


def page(shown: str, title: str) -> str:
    """Render all that came, escape sequences included, as it stands on the screen at the end."""
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.Stream(screen).feed(shown)
    rows = [_row([screen.buffer[y][x] for x in range(COLUMNS)]) for y in range(LINES)]
    while rows and not rows[-1]:
        rows.pop()
    text = "\n".join(rows)
    return PAGE.format(title=title, rows=text, ink=INK, ground=GROUND, columns=COLUMNS)


def _row(cells: list[Char]) -> str:
    while cells and not cells[-1].data.strip() and not cells[-1].reverse:
        cells.pop()
    return "".join(
        _span("".join(cell.data for cell in group), style)
        for style, group in groupby(cells, key=_style)
    )


def _style(cell: Char) -> str:
    ink, ground = _colour(cell.fg, INK), _colour(cell.bg, GROUND)
    if cell.reverse:
        ink, ground = ground, ink
    styles = [f"color:{ink}"] if ink != INK else []
    styles += [f"background:{ground}"] if ground != GROUND else []
    styles += ["font-weight:bold"] if cell.bold else []
    styles += ["font-style:italic"] if cell.italics else []
    return ";".join(styles)


def _colour(name: str, default: str) -> str:
    """Of a name, or of six hexadecimal digits."""
    if name == "default":
        return default
    return COLOURS.get(name) or (f"#{name}" if len(name) == 6 else default)


def _span(text: str, style: str) -> str:
    escaped = html.escape(text)
    return f'<span style="{style}">{escaped}</span>' if style else escaped
