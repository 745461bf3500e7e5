"""A backtest's report as a list of sections, for the terminal, Markdown and the HTML page alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.backtest.figures import Figures, RuleFigures
from fraudstream.stream.backtest.labels import CLEARED, FRAUD, UNLABELLED
from fraudstream.stream.backtest.run import Change
from fraudstream.stream.backtest.statistics import Share, Tally

SHOWN_RULES = 60
"""In the terminal; Markdown and HTML have all."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; numbers stand right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    key: str = ""
    """Id on the HTML page."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a backtest found."""

    runs: tuple[Figures, ...]
    """The candidate last; before it the base, or the same rules with attempts as in production."""
    changes: tuple[Change, ...]
    """From the first run to the last."""
    currency: str
    input: str
    labels: str
    unmatched_labels: int
    lag: str
    simulated: bool
    seconds: float

    @property
    def candidate(self) -> Figures:
        """Return the run that the report is about."""
        return self.runs[-1]

    def money(self, minor: int) -> str:
        """Return an amount as people read it."""
        digits = DECIMALS[self.currency]
        return f"{minor / 10**digits:,.{min(digits, 2) if abs(minor) < 10**6 else 0}f}"

    def worth(self, tally: Tally) -> str:
        """Return count and amount."""
        return f"{tally.count:,} / {self.money(tally.minor)}"


def percent(share: Share, *, interval: bool = True) -> str:
    """Return a share with its interval: ``93.1 % (81.0 to 97.7)``."""
    if share.value is None:
        return "-"
    text = f"{100 * share.value:.1f} %"
    low, high = share.interval
    return f"{text} ({100 * low:.1f} to {100 * high:.1f})" if interval else text


def caveats(report: Report) -> Iterator[str]:
    """Yield what a reader has to know before he believes the figures."""
    found = report.candidate
    if report.simulated:
        yield (
            f"Simulation: a blocked payment enters no window, and {found.absent:,} records that follow from "
            "one (outcomes, reversals, later legs of its transfer) did not happen. What a customer or a "
            "fraudster would have done instead is not known."
        )
    else:
        yield (
            "Attempts count as in production: a payment that is blocked here still stands in later windows. "
            "`--blocked-do-not-happen` simulates that it does not."
        )
    if found.suppressing:
        yield "Alerts that `suppress` leaves off the alerts topic are counted: they keep their decision."
    if not found.labels.count:
        yield "No labels: nothing is said about precision and recall."
        return
    yield (
        "Precision is the share of fraud among transactions labelled fraud or legitimate; `at least` counts "
        "every other one as legitimate. Intervals are Wilson's, 95 %. Transactions that were blocked when "
        "the log was written mostly have no label: they are counted as unlabelled, never as good."
    )
    if report.lag != "0":
        yield f"Only transactions at least {report.lag} older than the newest are judged by their labels."
    if report.unmatched_labels:
        yield f"{report.unmatched_labels:,} labels are of transactions that are not in the log."


def tables(report: Report) -> Iterator[Table]:
    """Yield the tables in the order of a reader's questions."""
    yield _summary(report)
    if report.changes:
        yield _changes(report)
    yield _rules(report)
    yield _classes(report)
    yield from _overlap(report)
    yield _days(report)
    yield _examples(report)


def _summary(report: Report) -> Table:
    runs = report.runs

    def row(name: str, cells: Sequence[str]) -> tuple[str, ...]:
        return (name, *cells)

    days = max(1, len(report.candidate.days))
    rows = [
        row("events", [f"{run.events:,} on {len(run.days):,} days" for run in runs]),
        row("alerts", [report.worth(run.alerts) for run in runs]),
        row("blocks", [report.worth(run.blocks) for run in runs]),
        row("alerts a day", [f"{run.alerts.count / days:,.1f}" for run in runs]),
        row("blocks a day", [f"{run.blocks.count / days:,.1f}" for run in runs]),
        row("most alerts on one day", [f"{max((d.alerts for d in run.days), default=0):,}" for run in runs]),
    ]
    if any(run.budget is not None for run in runs):
        rows.append(row("against the alert budget", [_against_budget(run) for run in runs]))
    if report.candidate.labels.count:
        rows += [
            row("precision of alerts and blocks", [percent(run.quality.precision) for run in runs]),
            row("precision at least", [percent(run.quality.precision_floor) for run in runs]),
            row("recall of labelled frauds", [percent(run.quality.recall) for run in runs]),
            row(
                "recall of their amount", [percent(run.quality.value_recall, interval=False) for run in runs]
            ),
        ]
    rows += [
        row("stopped without being labelled fraud", [report.worth(run.stopped_good) for run in runs]),
        row(
            "customers without fraud who were stopped",
            [
                f"{run.good_keys:,} ({percent(Share(run.good_keys, run.keys), interval=False)})"
                for run in runs
            ],
        ),
    ]
    if any(run.absent for run in runs):
        rows.append(row("records that did not happen", [f"{run.absent:,}" for run in runs]))
    note = f"Counts with amounts in {report.currency}."
    return Table("Summary", ("", *(run.name for run in runs)), tuple(rows), note, "summary")


def _against_budget(run: Figures) -> str:
    """Return whether analysts can work the alerts off: on how many days there were more than the budget."""
    if run.budget is None:
        return "no budget"
    over = [day.alerts for day in run.days if day.alerts > run.budget]
    if not over:
        return f"within {run.budget:,} on every day"
    return f"above {run.budget:,} on {len(over):,} of {len(run.days):,} days"


def _changes(report: Report) -> Table:
    rows = [
        (
            f"{change.before} -> {change.after}",
            f"{change.tally.count:,}",
            report.money(change.tally.minor),
            f"{change.tally.of(FRAUD):,}",
            f"{change.tally.of(CLEARED):,}",
            f"{change.tally.of(UNLABELLED):,}",
            ", ".join(change.examples[:3]),
        )
        for change in report.changes
    ]
    title = f"Decisions that change from {report.runs[0].name} to {report.candidate.name}"
    columns = ("change", "transactions", "amount", FRAUD, CLEARED, UNLABELLED, "examples")
    return Table(title, columns, tuple(rows), "", "changes")


def _rules(report: Report) -> Table:
    labelled = report.candidate.labels.count > 0
    columns = ["rule", "mode", "action", "matches", "a day", "unknown", "alerts", "blocks"]
    if labelled:
        columns += ["precision", "at least", "recall", "only this one: fraud"]
    columns += ["only this one", "good customers"]
    note = (
        "`only this one`: transactions that would pass without the rule; of a shadow rule those that pass "
        "now and would be stopped if it were live. `unknown`: evaluations with a missing value."
    )
    rows = tuple(_rule_row(report, rule, labelled=labelled) for rule in report.candidate.rules)
    return Table("Rules", tuple(columns), rows, note, "rules")


def _rule_row(report: Report, rule: RuleFigures, *, labelled: bool) -> tuple[str, ...]:
    share = percent(Share(rule.unknown, rule.evaluated), interval=False)
    cells = [rule.id, rule.mode, rule.action, report.worth(rule.matches), f"{rule.per_day:,.1f}", share]
    cells += [f"{rule.alerts.count:,}", report.worth(rule.blocks)]
    if labelled:
        quality, fraud = rule.quality, rule.incremental
        cells += [percent(quality.precision), percent(quality.precision_floor), percent(quality.recall)]
        cells.append(f"{fraud.of(FRAUD):,} / {report.money(fraud.minor_of(FRAUD))}")
    return (*cells, report.worth(rule.incremental), f"{rule.good_keys:,}")


def _classes(report: Report) -> Table:
    found = report.candidate
    classes = sorted({name for rule in found.rules for name in rule.matches.by_class})
    rows = [
        (
            rule.id,
            *(f"{rule.matches.of(name):,} / {report.money(rule.matches.minor_of(name))}" for name in classes),
        )
        for rule in found.rules
        if rule.matches.count
    ]
    note = "Classes are never merged: what is neither fraud nor legitimate is neither."
    return Table("Matches by label", ("rule", *classes), tuple(rows), note, "classes")


def _overlap(report: Report) -> Iterator[Table]:
    """Yield pairs of rules that match the same transactions, the most alike first."""
    overlap = report.candidate.overlap
    pairs = []
    for i, a in enumerate(overlap.ids):
        for j in range(i + 1, len(overlap.ids)):
            both = overlap.shared[i][j]
            if both:
                one, other = overlap.shared[i][i], overlap.shared[j][j]
                pairs.append((both / (one + other - both), a, overlap.ids[j], both, both / one, both / other))
    if not pairs:
        return
    rows = tuple(
        (a, b, f"{both:,}", f"{like:.2f}", f"{100 * first:.0f} %", f"{100 * last:.0f} %")
        for like, a, b, both, first, last in sorted(pairs, reverse=True)[:30]
    )
    columns = ("rule", "and rule", "both match", "Jaccard", "of the first", "of the second")
    yield Table("Overlap", columns, rows, "The thirty pairs that are most alike.", "overlap")


def _days(report: Report) -> Table:
    rows = tuple(
        (d.day, f"{d.events:,}", f"{d.alerts:,}", f"{d.blocks:,}", f"{d.frauds:,}", f"{d.caught:,}")
        for d in report.candidate.days
    )
    columns = ("day", "events", "alerts", "blocks", "labelled frauds", "of them stopped")
    return Table("Days", columns, rows, "", "days")


def _examples(report: Report) -> Table:
    rows = tuple((rule.id, ", ".join(rule.examples)) for rule in report.candidate.rules if rule.examples)
    note = "The newest matches; `fraudstream rules why SRC --input F` explains one."
    return Table("Examples", ("rule", "partition:offset transaction"), rows, note, "examples")


def as_text(report: Report) -> str:
    """Return the report for a terminal; days, classes and examples are left to Markdown and HTML."""
    lines: list[str] = []
    for table in tables(report):
        if table.key in ("days", "classes", "examples"):
            continue
        rows = table.rows[:SHOWN_RULES]
        lines += [table.title, *_aligned([table.columns, *rows])]
        if len(table.rows) > len(rows):
            lines.append(f"... {len(table.rows) - len(rows):,} more in --markdown and --html")
        lines.append("")
    return "\n".join([*lines, *caveats(report)])


def as_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [f"# Backtest of {report.candidate.name}", "", heading(report), ""]
    lines += [f"- {text}" for text in caveats(report)]
    for table in tables(report):
        lines += ["", f"## {table.title}", ""]
        if table.note:
            lines += [table.note, ""]
        lines.append("| " + " | ".join(table.columns) + " |")
        lines.append("|" + "|".join("---" for _ in table.columns) + "|")
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
    return "\n".join([*lines, ""])


def heading(report: Report) -> str:
    """Return what was tested on what."""
    labels = f", labels {report.labels}" if report.labels else ""
    return (
        f"Bundle {report.candidate.bundle} on {report.input}{labels}: {report.candidate.events:,} events, "
        f"{report.seconds:.1f} s."
    )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        yield "  " + "  ".join(cells).rstrip()
