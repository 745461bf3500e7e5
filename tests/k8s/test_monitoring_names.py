"""Alert rules, dashboards and pages name metrics, labels and runbook sections that exist."""

from __future__ import annotations

import re

import pytest
import yaml
from support.promql import ROOT, SELECTOR, Question, alert_rules, dashboards, panel_queries

from fraudstream.stream.metrics import METRICS, Kind, Metric

EXPOSED: dict[str, Metric] = {}
for _metric in METRICS:
    _suffixes = ("_bucket", "_sum", "_count") if _metric.kind is Kind.HISTOGRAM else ("",)
    EXPOSED.update({_metric.full_name + suffix: _metric for suffix in _suffixes})
RECORDED = {rule["record"] for rule in alert_rules() if "record" in rule}
SCRAPED = {"namespace", "job", "instance", "pod"}
"""Labels that Prometheus adds."""
ALERTS = {rule["alert"]: rule for rule in alert_rules() if "alert" in rule}
QUERIES = [*panel_queries(), *(Question(r.get("alert") or r["record"], r["expr"]) for r in alert_rules())]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_every_name_and_label_is_declared(query: Question) -> None:
    """A metric or label that was renamed would leave a panel empty and an alert silent."""
    for selector in SELECTOR.findall(query.expression):
        name, _, rest = selector.partition("{")
        name = re.split(r"[\[\s]", name)[0]
        if name in RECORDED:
            continue
        assert name in EXPOSED, f"{query.where}: `{name}` is not exposed"
        labels = {label.name: label for label in EXPOSED[name].labels}
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', rest.partition("}")[0]):
            if label in SCRAPED or (label == "le" and name.endswith("_bucket")):
                continue
            assert label in labels, f"{query.where}: `{name}` has no label `{label}`"
            if labels[label].values and value != ".*":
                values = value.split("|") if operator == "=~" else [value]
                assert set(values) <= set(labels[label].values), f"{query.where}: {value}"
        if "le=" in rest:
            bounds = {str(bound) for bound in EXPOSED[name].buckets}
            assert set(re.findall(r'le="([^"]*)"', rest)) <= bounds, query.where
    grouped = {
        label.strip() for by in re.findall(r"by \(([^)]*)\)", query.expression) for label in by.split(",")
    }
    known = SCRAPED | {"le"} | {label.name for metric in METRICS for label in metric.labels}
    assert grouped <= known, query.where


def test_recorded_names_are_used_and_used_ones_are_recorded() -> None:
    """A recording rule that nobody reads costs memory; one that is missing makes an alert silent."""
    used = set(re.findall(r"fraudstream:[\w:]+", " ".join(rule["expr"] for rule in alert_rules())))
    assert used <= RECORDED
    assert RECORDED - used <= {"fraudstream:decisions:rate5m"}, "that one is for other people's dashboards"


@pytest.mark.parametrize("name", list(ALERTS))
def test_every_alert_leads_to_its_runbook_section(name: str) -> None:
    """Severity, a summary, a description, and a link that ends at the section of this alert."""
    rule = ALERTS[name]
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning"}  # type: ignore[index]
    assert {"summary", "description", "runbook_url"} == set(notes)
    page, _, anchor = notes["runbook_url"].partition("#")  # type: ignore[attr-defined]
    assert anchor == name.lower()
    assert f"\n## {name}\n" in (ROOT / page).read_text("utf-8")


def test_the_runbook_has_no_section_without_an_alert() -> None:
    """A renamed alert takes its section along."""
    sections = re.findall(
        r"^## (\w+)$", (ROOT / "docs/operations/runbook.md").read_text("utf-8"), re.MULTILINE
    )
    assert sections == list(ALERTS)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    """The file that `promtool test rules` runs covers all alerts both ways."""
    cases = yaml.safe_load((ROOT / "tests/k8s/alerts_test.yaml").read_text())["tests"]
    fires: set[str] = set()
    silent: set[str] = set()
    for case in cases:
        for check in case["alert_rule_test"]:
            (fires if check["exp_alerts"] else silent).add(check["alertname"])
            series = {re.split(r"[{\s]", item["series"])[0] for item in case["input_series"]}
            assert series <= set(EXPOSED)
    assert fires == set(ALERTS)
    # The others are silent on one of two series of the same case: `exp_alerts` lists all that fire.
    assert silent >= set(ALERTS) - {"FraudstreamOverdue"}


def test_metric_names_in_the_documentation_are_exposed() -> None:
    """Pages and the README name what a scrape shows."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        names = set(re.findall(r"\bfraudstream_[a-z_]+\b", page.read_text("utf-8")))
        families = {metric.full_name for metric in METRICS}
        assert names <= set(EXPOSED) | families, page


def test_panels_have_titles_that_tell_them_apart_and_a_description() -> None:
    """A person finds a panel by its title and reads below it what it shows."""
    for name, board in dashboards().items():
        panels = board["panels"]
        titles = [panel["title"] for panel in panels]  # type: ignore[attr-defined]
        assert len(titles) == len(set(titles)), name
        assert all(panel["description"].endswith(".") for panel in panels), name  # type: ignore[attr-defined]
        assert board["uid"] == f"fraudstream-{name.removesuffix('.json')}"
