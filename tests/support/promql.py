"""Queries of dashboards and alert rules, as a person or a Prometheus would run them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "k8s" / "monitoring"
DASHBOARDS = ROOT / "k8s" / "components" / "dashboards"
SELECTOR = re.compile(r"fraudstream[\w:]*(?:\{[^}]*\})?(?:\[[\w:]+\])?(?:\s+offset\s+\w+)?")
"""A metric name with matchers, range and offset."""
VARIABLES = {
    "$__rate_interval": "30s",
    "$namespace": ".*",
    "$job": ".*",
    "$rule": ".*",
    "$minor_digits": "2",
    "$alert_budget": "1070",
}
"""What Grafana puts in for the variables of our dashboards."""


class Question(NamedTuple):
    """A query and where it stands."""

    where: str
    expression: str


def dashboards() -> dict[str, dict[str, object]]:
    """Return the committed dashboards by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panel_queries() -> Iterator[Question]:
    """Yield every query of every panel with its variables put in."""
    for name, board in dashboards().items():
        for panel in board["panels"]:  # type: ignore[attr-defined]
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in VARIABLES.items():
                    expression = expression.replace(variable, value)
                assert "$" not in expression, expression
                yield Question(f"{name} / {panel['title']} / {target['refId']}", expression)


def alert_rules() -> list[dict[str, str]]:
    """Return every rule of the rule file, recording rules included."""
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_selectors() -> Iterator[Question]:
    """Yield every selector of every rule: a condition that does not hold has no result, its parts have."""
    for rule in alert_rules():
        name = rule.get("alert") or rule["record"]
        for selector in SELECTOR.findall(rule["expr"]):
            yield Question(name, selector)
