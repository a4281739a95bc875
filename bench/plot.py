"""Plots as SVG, written by hand: bars with whiskers for a row, lines over a logarithmic axis for how cost grows.

A plot reads in light and dark: text and axes take the colour `currentColor`, ours stands out from the peers.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from bench.figures import summary, values
from bench.places import PLOTS
from bench.row import OURS, Figure, Outcome
from bench.table import number

OURS_COLOUR, PEER_COLOUR = "#d9480f", "#748ca3"
CURVE_COLOURS = (OURS_COLOUR, "#1c6ea4", "#5c8a2c", "#8a5ca8")
STYLE = "font-family='sans-serif' font-size='13'"
WIDTH, LABELS, BAR, GAP = 760, 210, 18, 10
LEFT, TOP, INSIDE_WIDTH, INSIDE_HEIGHT = 80, 40, 500, 260


def write_bars(outcome: Outcome, folder: Path = PLOTS) -> list[Path]:
    """A plot for each figure of the row."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place, figure in enumerate(outcome.row.figures):
        path = folder / file_name(outcome.row.name, figure, is_first=not place)
        path.write_text(bars(outcome, figure))
        written.append(path)
    return written


def file_name(row: str, figure: Figure, *, is_first: bool) -> str:
    """Return the name of the plot of a figure."""
    return f"{row}.svg" if is_first else f"{row}-{figure.key}.svg"


def bars(outcome: Outcome, figure: Figure) -> str:
    """Horizontal bars at the median, a whisker from the least to the greatest."""
    names = [name for name in outcome.row.contenders if values(outcome, name, figure.key)]
    seen = {name: summary(values(outcome, name, figure.key)) for name in names}
    scale = (WIDTH - LABELS - 110) / max([each.greatest for each in seen.values() if each.greatest > 0], default=1.0)
    drawn = [_text(0, 16, f"{outcome.row.work} ({figure.unit})", weight="bold")]
    for index, (name, each) in enumerate(seen.items()):
        y = 32 + index * (BAR + GAP)
        middle = y + BAR / 2
        colour = OURS_COLOUR if name == OURS else PEER_COLOUR
        drawn += [
            _text(LABELS - 8, middle + 5, name, anchor="end"),
            f"<rect x='{LABELS}' y='{y}' width='{max(each.median * scale, 1):.1f}' height='{BAR}' fill='{colour}'/>",
            _line((LABELS + each.least * scale, middle), (LABELS + each.greatest * scale, middle)),
            _text(LABELS + max(each.greatest, each.median) * scale + 6, middle + 5, number(each.median)),
        ]
    return _document(WIDTH, 32 + len(seen) * (BAR + GAP), drawn)


def curves(title: str, across: str, unit: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A line for each name through its (x, y); x is logarithmic (0 stands one step before the first), y starts at 0."""
    places = sorted({x for line in lines.values() for x, _ in line})
    highest = max((y for line in lines.values() for _, y in line), default=1.0) or 1.0
    across_at = _logarithmic(places)
    drawn = [_text(0, 16, f"{title} ({unit})", weight="bold")]
    for x in places:
        drawn += [_text(across_at(x), TOP + INSIDE_HEIGHT + 18, _short(x), anchor="middle")]
        drawn += [_line((across_at(x), TOP + INSIDE_HEIGHT), (across_at(x), TOP + INSIDE_HEIGHT + 4))]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = TOP + INSIDE_HEIGHT * (1 - share)
        drawn += [
            _text(LEFT - 8, y + 5, number(highest * share), anchor="end"),
            _line((LEFT, y), (LEFT + INSIDE_WIDTH, y), faint=True),
        ]
    for index, (name, line) in enumerate(lines.items()):
        colour = CURVE_COLOURS[index % len(CURVE_COLOURS)]
        points = [(across_at(x), TOP + INSIDE_HEIGHT * (1 - y / highest)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn += [f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"]
        drawn += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in points]
        drawn += [_text(LEFT + INSIDE_WIDTH + 16, TOP + 14 + index * 20, name, colour=colour)]
    drawn += [_text(LEFT + INSIDE_WIDTH / 2, TOP + INSIDE_HEIGHT + 40, across, anchor="middle")]
    return _document(WIDTH, TOP + INSIDE_HEIGHT + 52, drawn)


def _logarithmic(places: Sequence[float]):
    positive = [x for x in places if x > 0] or [1.0]
    first, last = math.log(positive[0]), math.log(positive[-1])
    step = (last - first) / max(len(positive) - 1, 1) or 1.0
    start = first - step if places and places[0] <= 0 else first
    span = (last - start) or 1.0
    return lambda x: LEFT + INSIDE_WIDTH * ((math.log(x) if x > 0 else start) - start) / span


def _short(x: float) -> str:
    for size, suffix in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if x >= size and x % size == 0:
            return f"{x / size:.0f} {suffix}"
    return f"{x:,.0f}"


def _line(start: tuple[float, float], end: tuple[float, float], *, faint: bool = False) -> str:
    look = "stroke-opacity='0.2'" if faint else "stroke-opacity='0.8'"
    places = f"x1='{start[0]:.1f}' y1='{start[1]:.1f}' x2='{end[0]:.1f}' y2='{end[1]:.1f}'"
    return f"<line {places} stroke='currentColor' {look}/>"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", colour: str = "currentColor"
) -> str:
    look = f"text-anchor='{anchor}' font-weight='{weight}' fill={quoteattr(colour)}"
    return f"<text x='{x:.1f}' y='{y:.1f}' {look}>{escape(text)}</text>"


def _document(width: float, height: float, drawn: Sequence[str]) -> str:
    dark = "<style>svg { color: #222 } @media (prefers-color-scheme: dark) { svg { color: #ddd } }</style>"
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' {STYLE}>"
    )
    return "\n".join([head, dark, *drawn, "</svg>", ""])
