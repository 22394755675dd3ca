"""A picture of ratios, as SVG: bars from 1 to the left and right on a logarithmic axis, with whiskers for their range."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, MARGIN, LABELS, VALUES = 920, 20, 330, 130
LINE, HALF, HEADING, GAP = 26, 8, 40, 34
FONT = "system-ui, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"
STYLE = f"""
text {{ font-family: {FONT}; font-size: 13px; fill: #1f2328; }}
.title {{ font-size: 18px; font-weight: 600; }} .panel {{ font-weight: 600; }}
.note, .tick {{ font-size: 12px; fill: #59636e; }}
.ground {{ fill: #ffffff; }} .grid {{ stroke: #d1d9e0; }} .one {{ stroke: #59636e; }}
.better {{ fill: #2a7f9e; }} .worse {{ fill: #c4622d; }} .range {{ stroke: #1f2328; stroke-width: 1.5; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }} .note, .tick {{ fill: #9198a1; }} .ground {{ fill: #0d1117; }} .grid {{ stroke: #30363d; }}
.one {{ stroke: #9198a1; }} .better {{ fill: #3f9dbf; }} .worse {{ fill: #d9773f; }} .range {{ stroke: #e6edf3; }}
}}
"""


class Bar(NamedTuple):
    """A ratio and its range; all of them above 0."""

    label: str
    ratio: float
    least: float
    most: float


class Panel(NamedTuple):
    """Bars with an axis of their own."""

    title: str
    bars: Sequence[Bar]


def svg(title: str, notes: Sequence[str], panels: Sequence[Panel]) -> str:
    """The whole file. Fonts and colours are the reader's: those for dark pages where they are dark."""
    parts = [_text(MARGIN, 34, title, "title")]
    top = 34.0
    for note in notes:
        top += 19
        parts.append(_text(MARGIN, top, note, "note"))
    for panel in panels:
        top += GAP
        parts += _panel(panel, top)
        top += HEADING + LINE * len(panel.bars)
    height = top + GAP
    said = "; ".join(f"{bar.label}: {_times(bar.ratio)}" for panel in panels for bar in panel.bars)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        f' role="img">\n<title>{escape(title)}</title>\n<desc>{escape(said)}</desc>\n<style>{STYLE}</style>\n'
        + "\n".join([_rectangle(0, 0, WIDTH, height, "ground"), *parts, "</svg>\n"])
    )


def _panel(panel: Panel, top: float) -> list[str]:
    low = math.floor(math.log2(min(1, *(bar.least for bar in panel.bars))))
    high = max(1, math.ceil(math.log2(max(bar.most for bar in panel.bars))))
    left, right = MARGIN + LABELS, WIDTH - MARGIN - VALUES

    def place(ratio: float) -> float:
        return left + (math.log2(ratio) - low) / (high - low) * (right - left)

    bottom = top + HEADING + LINE * len(panel.bars)
    parts = [_text(MARGIN, top + 4, panel.title, "panel")]
    step = math.ceil((high - low) / 8)
    for power in range(low, high + 1):
        if power % step == 0:
            at = place(2.0**power)
            kind = "grid" if power else "one"
            parts.append(_line(at, top + HEADING - 12, at, bottom, kind))
            name = f"{2**power}" if power >= 0 else f"1/{2**-power}"
            parts.append(_text(at, top + 23, name, "tick", "middle"))
    for number, bar in enumerate(panel.bars):
        middle = top + HEADING + LINE * (number + 0.5) - 6
        ends = sorted((place(1), place(bar.ratio)))
        kind = "better" if bar.ratio >= 1 else "worse"
        parts += [
            _text(left - 12, middle + 4.5, bar.label, "", "end"),
            _rectangle(ends[0], middle - HALF, max(1, ends[1] - ends[0]), 2 * HALF, kind),
            _line(place(bar.least), middle, place(bar.most), middle, "range"),
            *(_line(place(end), middle - 4, place(end), middle + 4, "range") for end in (bar.least, bar.most)),
            _text(WIDTH - MARGIN, middle + 4.5, f"{_times(bar.ratio)} ({_span(bar)})", "", "end"),
        ]
    return parts


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 20 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def _span(bar: Bar) -> str:
    return f"{_times(bar.least)} to {_times(bar.most)}"


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
