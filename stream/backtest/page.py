"""The report as one HTML file: nothing is fetched, and its policy says so to the browser."""

from __future__ import annotations

from html import escape

from fraudstream.stream.backtest.charts import days_chart, matches_chart, overlap_chart, quality_chart
from fraudstream.stream.backtest.report import Report, Table, caveats, heading, tables

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667; --line: #d8dce2; --paper: #fff;
  --alert: #e0a030; --block: #c43c3c; --one: #2f6fb5; --two: #3a9a68; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --dim: #9aa4b0; --line: #3a414a; --paper: #14181d; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1200px; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p, li { max-width: 60rem; } .dim { color: var(--dim); overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } th { cursor: pointer; }
th[aria-sort=ascending]::after { content: " \\25b2"; } th[aria-sort=descending]::after { content: " \\25bc"; }
svg { width: 100%; height: auto; font-size: 11px; } svg text { fill: var(--dim); }
.axis, .grid { stroke: var(--line); } .hit { fill: transparent; } g:hover .hit { fill: var(--line);
  fill-opacity: .5; } .alert { fill: var(--alert); } .block { fill: var(--block); }
polyline { fill: none; stroke-width: 2; } .fraud { stroke: var(--one); } .caught { stroke: var(--two); }
.matches { fill: var(--one); fill-opacity: .45; } .own { fill: var(--block); } .cell { fill: var(--one); }
line.precision { stroke: var(--one); } circle.precision { fill: var(--one); }
line.recall { stroke: var(--two); } circle.recall { fill: var(--two); }
.key span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
"""

SCRIPT = """
for (const head of document.querySelectorAll("th")) head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], at = head.cellIndex;
  const up = head.getAttribute("aria-sort") === "descending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => { const text = row.cells[at].textContent, n = parseFloat(text.replaceAll(",", ""));
    return isNaN(n) ? text : n; };
  const kind = x => typeof x === "number" ? 1 : 0;
  const order = (a, b) => kind(a) - kind(b) || (a < b ? -1 : a > b ? 1 : 0);
  [...body.rows].sort((a, b) => order(value(a), value(b)) * (up ? 1 : -1)).forEach(row => body.append(row));
});
"""


def as_html(report: Report) -> str:
    """Return the report as one HTML file."""
    found = report.candidate
    charts = {
        "days": _key(("block", "blocks"), ("alert", "alerts"), ("one", "labelled frauds"), ("two", "stopped"))
        + days_chart(found.days),
        "rules": _key(("one", "matches"), ("block", "only this rule")) + matches_chart(found.rules),
        "overlap": overlap_chart(found.overlap),
    }
    if found.labels.count:
        charts["rules"] += _key(("one", "precision"), ("two", "recall")) + quality_chart(found.rules)
    sections = [_section(table, charts.get(table.key, "")) for table in tables(report)]
    notes = "".join(f"<li>{_words(text)}</li>" for text in caveats(report))
    title = escape(f"Backtest of {found.name}")
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n"
        f'<p class="dim" id="about">{escape(heading(report))}</p>\n<ul id="caveats">{notes}</ul>\n'
        + "\n".join(sections)
        + f"\n<script>{SCRIPT}</script>\n</html>\n"
    )


def _section(table: Table, chart: str) -> str:
    note = f'<p class="dim">{_words(table.note)}</p>' if table.note else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    title = escape(table.title)
    return f'<section id="{table.key}"><h2>{title}</h2>{note}{chart}<div class="wide">{grid}</div></section>'


def _cell(text: str) -> str:
    kind = ' class="number"' if text[:1].isdigit() and ":" not in text else ""
    return f"<td{kind}>{escape(text)}</td>"


def _words(text: str) -> str:
    """Return a note with what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _key(*items: tuple[str, str]) -> str:
    parts = "".join(f'<span style="background:var(--{name})"></span>{text}' for name, text in items)
    return f'<p class="key dim">{parts}</p>'
