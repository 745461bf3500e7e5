"""The Grafana dashboards as code: `python k8s/monitoring/dashboards.py` writes the JSON of the component.

Needs `grafana-foundation-sdk` (requirements-ops.lock). Metric names come from the declaration in
stream/metrics.py, so a renamed metric cannot leave an empty panel; tests compare the committed files and
run every query on a Prometheus.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableOption,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from fraudstream.stream import metrics as m

DIRECTORY = Path(__file__).resolve().parents[1] / "components" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
SELECT = 'namespace=~"$namespace", job=~"$job"'
"""In every query: one Prometheus may see several environments."""
RATE = "$__rate_interval"

Query = tuple[str, str]
"""PromQL, legend."""


class Panel(NamedTuple):
    """One panel; ``height`` and ``span`` in Grafana's units, 24 to a row."""

    kind: str
    title: str
    text: str
    unit: str
    queries: Sequence[Query]
    span: int = 8
    height: int = 7
    stacked: bool = False
    steps: Mapping[float, str] = {}
    """Colour from a value on."""


def series(metric: m.Metric, *conditions: str, suffix: str = "") -> str:
    """Return a selector of a declared metric, limited to the dashboard's namespace and job."""
    return f"{metric.full_name}{suffix}{{{', '.join([SELECT, *conditions])}}}"


def rate(metric: m.Metric, *conditions: str, over: str = RATE, suffix: str = "") -> str:
    """Return its rate per second."""
    return f"rate({series(metric, *conditions, suffix=suffix)}[{over}])"


def increase(metric: m.Metric, *conditions: str, over: str) -> str:
    """Return how much it grew."""
    return f"increase({series(metric, *conditions)}[{over}])"


def quantile(share: float, metric: m.Metric) -> str:
    """Return a quantile of a histogram over all workers."""
    return f"histogram_quantile({share}, sum by (le) ({rate(metric, suffix='_bucket')}))"


IN_TIME = 'le="0.05"'
"""The bucket that equals the default deadline."""
TRUE = 'outcome="true"'
LACKED = 'outcome="unknown"'
STALE = 'outcome="stale"'
CHOSEN = 'rule=~"$rule"'
BLOCKED = 'decision="block"'
ALERTED = 'decision="alert"'
NOT_PASSED = 'decision=~"block|alert"'
REFUSED = 'result=~"invalid|needs_restart|failed"'

LATE = (
    f"1 - sum({rate(m.DECISION_LATENCY, IN_TIME, suffix='_bucket')}) / "
    f"sum({rate(m.DECISION_LATENCY, suffix='_count')})"
)
MATCHED = f"sum by (rule) ({rate(m.RULE_OUTCOMES, TRUE, CHOSEN)})"
UNKNOWN = f"sum by (rule) ({rate(m.RULE_OUTCOMES, LACKED, CHOSEN)})"
EVALUATED = f"sum by (rule) ({rate(m.RULE_EVALUATIONS, CHOSEN)})"
SHARES = (
    f"sum by (decision) ({increase(m.DECISIONS, NOT_PASSED, over='1h')}) / ignoring(decision) group_left "
    f"sum({increase(m.DECISIONS, over='1h')})"
)
MONEY = "10 ^ $minor_digits"

# fmt: off
OVERVIEW = (
    Panel("stat", "Decisions per second", "Published decisions of all workers.", "ops",
          [(f"sum({rate(m.DECISIONS)})", "")], 4, 4),
    Panel("stat", "Late", "Share of decisions that took more than 50 ms.", "percentunit",
          [(LATE, "")], 4, 4, steps={0.001: "orange", 0.01: "red"}),
    Panel("stat", "Undecided records", "On the input, of all partitions.", "short",
          [(f"sum({series(m.INPUT_LAG)})", "")], 4, 4, steps={1_000: "orange", 10_000: "red"}),
    Panel("stat", "Unreadable records", "Dead letters of the last hour.", "short",
          [(f"sum({increase(m.DEAD_LETTERS, over='1h')})", "")], 4, 4, steps={1: "orange"}),
    Panel("stat", "Refused changes", "Changes of the rules that were refused in the last hour.", "short",
          [(f"sum({increase(m.RELOADS, REFUSED, over='1h')})", "")], 4, 4, steps={1: "orange"}),
    Panel("stat", "Oldest snapshot", "What a restart would replay, in time.", "s",
          [(f"max({series(m.SNAPSHOT_AGE)})", "")], 4, 4, steps={600: "orange", 900: "red"}),
    Panel("timeseries", "Rate", "Decisions per second by kind.", "ops",
          [(f"sum by (decision) ({rate(m.DECISIONS)})", "{{decision}}")], stacked=True),
    Panel("timeseries", "Errors", "Unreadable records and flagged decisions per second.", "ops",
          [(f"sum by (code) ({rate(m.DEAD_LETTERS)}) > 0", "{{code}}"),
           (f"sum by (flag) ({rate(m.FLAGS)})", "flag {{flag}}")]),
    Panel("timeseries", "Duration", "From the record's timestamp to the acknowledged decision.", "s",
          [(quantile(0.5, m.DECISION_LATENCY), "half"),
           (quantile(0.99, m.DECISION_LATENCY), "99 of 100"),
           (quantile(0.999, m.DECISION_LATENCY), "999 of 1000")]),
    Panel("timeseries", "Backlog", "Undecided records by partition.", "short",
          [(f"max by (partition) ({series(m.INPUT_LAG)})", "partition {{partition}}")]),
    Panel("timeseries", "Where the time goes", "Seconds of work per second by step; one core has 1.", "short",
          [(f"sum by (step) ({rate(m.STEP_SECONDS, suffix='_sum')})", "{{step}}")], stacked=True),
    Panel("timeseries", "Snapshot age", "By partition.", "s",
          [(f"max by (partition) ({series(m.SNAPSHOT_AGE)})", "partition {{partition}}")]),
    Panel("timeseries", "State", "Memory of windows and duplicate entries.", "bytes",
          [(f"sum by (instance) ({series(m.STATE_BYTES)})", "{{instance}}")]),
    Panel("timeseries", "Keys with history", "By kind of key.", "short",
          [(f"sum by (kind) ({series(m.STATE_KEYS)})", "{{kind}}")]),
    Panel("timeseries", "History", "Event time that the windows cover, by partition.", "s",
          [(f"min by (partition) ({series(m.HISTORY)})", "partition {{partition}}")]),
    Panel("timeseries", "Slow ways", "Records read by the exact lane; batches left to the client library.",
          "ops",
          [(f"sum by (reason) ({rate(m.EXACT_LANE)})", "read exactly: {{reason}}"),
           (f"sum by (part, reason) ({rate(m.WIRE_FALLBACKS)})", "{{part}} one by one: {{reason}}")]),
)
RULES = (
    Panel("table", "Rules in force", "In the last hour, in number of transactions.", "short",
          [(f"sum by (rule) ({increase(m.RULE_OUTCOMES, TRUE, CHOSEN, over='1h')})", "matched"),
           (f"sum by (rule) ({increase(m.RULE_OUTCOMES, LACKED, CHOSEN, over='1h')})", "unknown"),
           (f"sum by (rule) ({increase(m.RULE_EVALUATIONS, CHOSEN, over='1h')})", "evaluated")], 24, 9),
    Panel("timeseries", "Matches per second", "By rule.", "ops", [(MATCHED, "{{rule}}")], 12, 8),
    Panel("timeseries", "Match rate", "Share of a rule's transactions that it matches.", "percentunit",
          [(f"{MATCHED} / {EVALUATED}", "{{rule}}")], 12, 8),
    Panel("timeseries", "Unknown", "Share of a rule's transactions for which it lacks values.", "percentunit",
          [(f"{UNKNOWN} / {EVALUATED}", "{{rule}}")], 12, 8),
    Panel("timeseries", "Changes of the rules", "What became of them.", "short",
          [(f"sum by (result) ({increase(m.RELOADS, over='5m')})", "{{result}}")], 6, 8),
    Panel("timeseries", "Bundle in force", "Workers by bundle; two lines for long are a fault.", "short",
          [(f"count by (bundle) ({series(m.BUNDLE_INFO)})", "{{bundle}}")], 6, 8),
    Panel("timeseries", "Values that count as missing", "Bad points, undeclared enum values.", "ops",
          [(f"sum by (field, cause) ({rate(m.FIELDS_MISSING)})", "{{field}} {{cause}}")], 12, 8),
    Panel("bargauge", "Most matches", "In the last hour.", "short",
          [(f"topk(10, sum by (rule) ({increase(m.RULE_OUTCOMES, TRUE, over='1h')}))", "{{rule}}")], 12, 8),
)
BUSINESS = (
    Panel("stat", "Blocked today", "Transactions of the last 24 hours.", "short",
          [(f"sum({increase(m.DECISIONS, BLOCKED, over='1d')})", "")], 4, 4),
    Panel("stat", "Blocked money", "Last 24 hours, in the base currency.", "short",
          [(f"sum({increase(m.AMOUNT, BLOCKED, over='1d')}) / {MONEY}", "")], 4, 4),
    Panel("stat", "Alerts today", "Work for analysts in the last 24 hours.", "short",
          [(f"sum({increase(m.DECISIONS, ALERTED, over='1d')})", "")], 4, 4),
    Panel("stat", "Alert budget used", "Alerts of 24 hours over what the team can look at.", "percentunit",
          [(f"sum({increase(m.DECISIONS, ALERTED, over='1d')}) / $alert_budget", "")], 4, 4,
          steps={0.8: "orange", 1: "red"}),
    Panel("stat", "Share blocked", "In number, last 24 hours.", "percentunit",
          [(f"sum({increase(m.DECISIONS, BLOCKED, over='1d')}) / sum({increase(m.DECISIONS, over='1d')})",
            "")], 4, 4),
    Panel("stat", "Share of money blocked", "Last 24 hours.", "percentunit",
          [(f"sum({increase(m.AMOUNT, BLOCKED, over='1d')}) / sum({increase(m.AMOUNT, over='1d')})", "")],
          4, 4),
    Panel("timeseries", "Decisions by kind", "Per hour.", "short",
          [(f"sum by (decision) ({increase(m.DECISIONS, over='1h')})", "{{decision}}")], 12, 8, stacked=True),
    Panel("timeseries", "Money by decision", "Per hour, in the base currency.", "short",
          [(f"sum by (decision) ({increase(m.AMOUNT, over='1h')}) / {MONEY}", "{{decision}}")],
          12, 8, stacked=True),
    Panel("timeseries", "Alerts against the budget", "Per hour; the day's budget is spread evenly.", "short",
          [(f"sum({increase(m.DECISIONS, ALERTED, over='1h')})", "alerts"),
           ("vector($alert_budget / 24)", "budget")], 12, 8),
    Panel("timeseries", "Share blocked and alerted", "In number, over an hour.", "percentunit",
          [(SHARES, "{{decision}}")], 12, 8),
)
REFERENCE = (
    Panel("stat", "Oldest table", "Age of the oldest content.", "s",
          [(f"max({series(m.REFERENCE_AGE)})", "")], 6, 4),
    Panel("stat", "Refused deliveries", "Files and readings of topics of the last 24 hours.", "short",
          [(f"sum({increase(m.REFERENCE_REFUSED, over='1d')})", "")], 6, 4, steps={1: "orange"}),
    Panel("stat", "Keys that saw stale content", "Last hour.", "short",
          [(f"sum({increase(m.REFERENCE_JOINS, STALE, over='1h')}) or vector(0)", "")], 6, 4,
          steps={1: "orange"}),
    Panel("stat", "Records passed over", "Of topics, last 24 hours.", "short",
          [(f"sum({increase(m.REFERENCE_BAD_RECORDS, over='1d')}) or vector(0)", "")], 6, 4,
          steps={1: "orange"}),
    Panel("timeseries", "Age", "Of the content in force, by table.", "s",
          [(f"max by (table) ({series(m.REFERENCE_AGE)})", "{{table}}")], 12, 8),
    Panel("timeseries", "Keys looked up", "Per second: with a row, without one, stale.", "ops",
          [(f"sum by (table, outcome) ({rate(m.REFERENCE_JOINS)})", "{{table}} {{outcome}}")], 12, 8),
    Panel("timeseries", "Rows", "Of the content in force.", "short",
          [(f"max by (table) ({series(m.REFERENCE_ROWS)})", "{{table}}")]),
    Panel("timeseries", "Memory", "Bound for the joins, by worker.", "bytes",
          [(f"sum by (instance) ({series(m.REFERENCE_BYTES)})", "{{instance}}")]),
    Panel("timeseries", "Versions in force", "Workers by content; two lines of a table for long are a fault.",
          "short", [(f"count by (table, version) ({series(m.REFERENCE_INFO)})", "{{table}} {{version}}")]),
)
# fmt: on
BOARDS = {
    "overview": ("Overview", "Is it working: rate, errors, duration.", "now-1h", OVERVIEW),
    "rules": ("Rules", "What the rules do.", "now-6h", RULES),
    "reference": ("Reference tables", "Are they there, fresh and found.", "now-6h", REFERENCE),
    "business": ("Business", "What it means for the bank.", "now-7d", BUSINESS),
}


def build(name: str) -> str:
    """Return a dashboard as JSON."""
    title, text, since, panels = BOARDS[name]
    board = (
        dashboard.Dashboard(f"fraudstream / {title}")
        .uid(f"fraudstream-{name}")
        .description(text)
        .tags(["fraudstream"])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
    )
    for variable in _variables(name):
        board.with_variable(variable)
    for panel in panels:
        board.with_panel(_panel(panel))
    content = json.loads(JSONEncoder().encode(board.build()))
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def write(directory: Path = DIRECTORY) -> None:
    """Write all dashboards."""
    directory.mkdir(exist_ok=True)
    for name in BOARDS:
        (directory / f"{name}.json").write_text(build(name), "utf-8")


def _variables(
    name: str,
) -> list[dashboard.DatasourceVariable | dashboard.QueryVariable | dashboard.ConstantVariable]:
    found: list[dashboard.DatasourceVariable | dashboard.QueryVariable | dashboard.ConstantVariable] = [
        dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        _label_values("namespace", m.STATE_BYTES.full_name),
        _label_values("job", m.STATE_BYTES.full_name),
    ]
    if name == "rules":
        found.append(_label_values("rule", m.RULE_EVALUATIONS.full_name))
    if name == "business":
        found.append(
            dashboard.ConstantVariable("minor_digits").label("Decimals of the base currency").value("2")
        )
        found.append(dashboard.ConstantVariable("alert_budget").label("Alerts a day").value("1070"))
    return found


def _label_values(label: str, metric: str) -> dashboard.QueryVariable:
    everything = VariableOption(text="All", value="$__all", selected=True)
    return (
        dashboard.QueryVariable(label)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {label})")
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(everything)
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel | table.Panel | bargauge.Panel:
    made: timeseries.Panel | stat.Panel | table.Panel | bargauge.Panel
    if panel.kind == "timeseries":
        made = timeseries.Panel().fill_opacity(25 if panel.stacked else 5)
        if panel.stacked:
            made.stacking(StackingConfig().mode(StackingMode.NORMAL))
    elif panel.kind == "stat":
        made = stat.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    elif panel.kind == "bargauge":
        made = bargauge.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    else:
        made = table.Panel()
        names = {f"Value #{_letter(at)}": legend for at, (_, legend) in enumerate(panel.queries)}
        organised = {"excludeByName": {"Time": True}, "renameByName": names}
        made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
        made.with_transformation(DataTransformerConfig(id_val="organize", options=organised))
    made.title(panel.title).description(panel.text).unit(panel.unit).datasource(SOURCE)
    made.span(panel.span).height(panel.height)
    colours = {None: "green", **panel.steps}
    made.thresholds(
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in colours.items()])
    )
    for at, (expr, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend or "value").ref_id(_letter(at))
        if panel.kind in {"table", "bargauge"}:
            query.instant()
        if panel.kind == "table":
            query.format(PromQueryFormat.TABLE)
        made.with_target(query)
    return made


def _letter(at: int) -> str:
    return chr(ord("A") + at)


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
