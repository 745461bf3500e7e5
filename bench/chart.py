"""Line charts as SVG, just enough for cost curves: linear or logarithmic axes, spread as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
COLOURS = ("#1f5fa8", "#c8501e", "#2f8f4e", "#7a4fa3", "#8a6d1f", "#444444")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement; ``low`` and ``high`` are the spread."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(slots=True)
class Chart:
    """Lines over common axes; the y axis begins at 0."""

    name: str
    """Of the file, without suffix."""
    title: str
    x_label: str
    y_label: str
    log_x: bool = False
    lines: dict[str, Sequence[Point]] = field(default_factory=dict)

    def svg(self) -> str:
        """Return the picture."""
        points = [point for line in self.lines.values() for point in line]
        left, right = min(p.x for p in points), max(p.x for p in points)
        top = _nice(max(p.high if p.high is not None else p.y for p in points) or 1.0)

        def place(x: float, y: float) -> tuple[float, float]:
            low, high, at = (math.log10(v) if self.log_x else v for v in (left, right, x))
            share = (at - low) / (high - low) if high > low else 0.5
            return (
                LEFT + share * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM),
            )

        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            _text(LEFT, 22, self.title, size=15),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x_label, anchor="middle"),
            f'<g transform="translate(16 {HEIGHT / 2}) rotate(-90)">',
            _text(0, 0, self.y_label, "middle") + "</g>",
        ]
        for step in range(6):
            y = place(left, top * step / 5)[1]
            out.append(
                f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>'
                + _text(LEFT - 6, y + 4, _short(top * step / 5), "end")
            )
        free = 0.0
        for x in sorted({point.x for point in points}):
            at = place(x, 0)[0]
            if at >= free:  # labels do not overlap
                out.append(_text(at, HEIGHT - BOTTOM + 18, _short(x), "middle"))
                free = at + 9 * len(_short(x)) + 10
        for number, (name, line) in enumerate(self.lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(p.x, p.y) for p in line))
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for p in line:
                x, y = place(p.x, p.y)
                out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
                if p.low is not None and p.high is not None:
                    ends = place(p.x, p.low)[1], place(p.x, p.high)[1]
                    out.append(
                        f'<line x1="{x:.1f}" y1="{ends[0]:.1f}" x2="{x:.1f}" y2="{ends[1]:.1f}" '
                        f'stroke="{colour}" opacity="0.5"/>'
                    )
            out.append(_text(WIDTH - RIGHT + 10, TOP + 10 + 18 * number, name, colour=colour))
        return "\n".join([*out, "</svg>", ""])


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 12, colour: str = "#222222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-family="sans-serif" '
        f'font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )


def _nice(value: float) -> float:
    """Return the next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
