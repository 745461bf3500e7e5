"""Charts of a backtest as SVG elements; colours are classes of the page's style."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fraudstream.stream.backtest.figures import Day, Overlap, RuleFigures
from fraudstream.stream.backtest.statistics import Share

WIDTH = 960
LEFT = 280
ROW = 22
RULES_MAX = 40
"""In a chart; the table has all."""


def days_chart(days: Sequence[Day]) -> str:
    """Draw alerts and blocks of each day as bars, labelled frauds as a line, those stopped as another."""
    height, low, left = 240, 30, 50
    most = max(1, *(max(day.alerts + day.blocks, day.frauds) for day in days)) if days else 1
    step = (WIDTH - left - 10) / max(1, len(days))
    scale = (height - low - 10) / most

    def y(value: float) -> float:
        return height - low - value * scale

    parts = [_line(left, y(0), WIDTH, y(0), "axis"), _text(left - 6, y(most) + 4, f"{most:,}", "end")]
    parts.append(_text(left - 6, y(0) + 4, "0", "end"))
    every = max(1, len(days) // 12)
    for at, day in enumerate(days):
        x = left + at * step
        tip = f"{day.day}: {day.events:,} events, {day.alerts:,} alerts, {day.blocks:,} blocks"
        tip += f", {day.frauds:,} labelled frauds, {day.caught:,} of them stopped"
        bars = _rect(x + 1, y(day.blocks), step - 2, day.blocks * scale, "block")
        bars += _rect(x + 1, y(day.blocks + day.alerts), step - 2, day.alerts * scale, "alert")
        hit = _rect(x, 10, step, height - low - 10, "hit")
        parts.append(f"<g>{bars}{hit}<title>{escape(tip)}</title></g>")
        if at % every == 0:
            parts.append(_text(x, height - 10, day.day, "start"))
    for name, values in (("fraud", [d.frauds for d in days]), ("caught", [d.caught for d in days])):
        points = " ".join(f"{left + (at + 0.5) * step:.1f},{y(v):.1f}" for at, v in enumerate(values))
        if any(values):
            parts.append(f'<polyline class="{name}" points="{points}"/>')
    return _svg("days", height, "Alerts and blocks a day", parts)


def quality_chart(rules: Sequence[RuleFigures]) -> str:
    """Draw precision and recall of each rule as points with their intervals."""
    chosen = [rule for rule in rules if rule.matches.count][:RULES_MAX]
    height = 30 + ROW * max(1, len(chosen))
    parts = []
    for percent in range(0, 101, 25):
        x = _x(percent / 100)
        parts += [_line(x, 20, x, height, "grid"), _text(x, 14, f"{percent} %", "middle")]
    for at, rule in enumerate(chosen):
        y = 30 + at * ROW + ROW / 2
        parts.append(_text(LEFT - 8, y + 4, rule.id, "end"))
        parts.append(_whisker(rule.quality.precision, y - 4, "precision", "precision"))
        parts.append(_whisker(rule.quality.recall, y + 4, "recall", "recall"))
    return _svg("quality", height, "Precision and recall of each rule", parts)


def matches_chart(rules: Sequence[RuleFigures]) -> str:
    """Draw what each rule matched as bars, what only it stopped in the other colour."""
    chosen = sorted((rule for rule in rules if rule.matches.count), key=lambda rule: -rule.matches.count)
    chosen = chosen[:RULES_MAX]
    most = max((rule.matches.count for rule in chosen), default=1)
    height = 10 + ROW * max(1, len(chosen))
    parts = []
    for at, rule in enumerate(chosen):
        y = 4 + at * ROW
        whole = (WIDTH - LEFT - 90) * rule.matches.count / most
        own = (WIDTH - LEFT - 90) * rule.incremental.count / most
        tip = f"{rule.id}: {rule.matches.count:,} matches, {rule.incremental.count:,} only by this rule"
        bars = _rect(LEFT, y, whole, ROW - 6, "matches") + _rect(LEFT, y, own, ROW - 6, "own")
        parts.append(_text(LEFT - 8, y + 12, rule.id, "end"))
        parts.append(f"<g>{bars}<title>{escape(tip)}</title></g>")
        parts.append(_text(LEFT + whole + 6, y + 12, f"{rule.matches.count:,}", "start"))
    return _svg("matches", height, "Matches of each rule", parts)


def overlap_chart(overlap: Overlap) -> str:
    """Draw which share of a rule's matches (row) another one (column) matches too."""
    count = len(overlap.ids)
    cell = min(22.0, (WIDTH - LEFT) / max(1, count))
    height = 10 + cell * max(1, count)
    parts = []
    for i, one in enumerate(overlap.ids):
        parts.append(_text(LEFT - 8, 5 + i * cell + cell * 0.7, one, "end"))
        for j, other in enumerate(overlap.ids):
            share = overlap.shared[i][j] / max(1, overlap.shared[i][i])
            tip = f"{other} matches {100 * share:.0f} % of the matches of {one} ({overlap.shared[i][j]:,})"
            box = _rect(LEFT + j * cell, 5 + i * cell, cell - 1, cell - 1, "cell")
            box = box.replace("/>", f' fill-opacity="{share:.3f}"/>')
            parts.append(f"<g>{box}<title>{escape(tip)}</title></g>")
    return _svg("overlap", height, "Overlap of rules", parts)


def _whisker(share: Share, y: float, name: str, what: str) -> str:
    if share.value is None:
        return ""
    low, high = share.interval
    tip = f"{what} {100 * share.value:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    tip += f" ({share.count:,} of {share.of:,})"
    line = _line(_x(low), y, _x(high), y, name)
    point = f'<circle class="{name}" cx="{_x(share.value):.1f}" cy="{y:.1f}" r="4"/>'
    return f"<g>{line}{point}<title>{escape(tip)}</title></g>"


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - 20) * share


def _svg(name: str, height: float, label: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg id="chart-{name}" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
    )
    return head + "".join(parts) + "</svg>"


def _rect(x: float, y: float, width: float, height: float, name: str) -> str:
    size = f'width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" {size}/>'


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
