"""Metrics are declared once, counted exactly, and their labels cannot grow."""

from __future__ import annotations

import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fraudstream.stream import metrics as declared
from fraudstream.stream.collector import Metrics
from fraudstream.stream.metrics import METRICS, Kind

NAMES_OF_THE_CONTRACT = {
    "labels_total": ("outcome",),
    "label_delay_seconds": (),
    "trainer_records_total": ("outcome",),
    "trainer_labels_total": ("outcome",),
    "trainer_quarantined_sources": (),
    "trainer_vectors": (),
    "trainer_learned_until_seconds": (),
    "trainer_average_precision": ("model",),
    "trainer_versions_total": ("model",),
    "decisions_total": ("decision",),
    "decision_latency_seconds": (),
    "step_seconds": ("step",),
    "input_lag_records": ("partition",),
    "dead_letters_total": ("code",),
    "rule_outcomes_total": ("rule", "outcome"),
    "alert_budget": (),
    "bundle_info": ("bundle",),
    "reload_total": ("result",),
    "snapshot_age_seconds": ("partition",),
    "state_bytes": (),
    "keys": ("kind",),
    "state_limit_ratio": ("partition",),
    "state_evicted_keys_total": (),
    "features_warming": (),
    "flags_total": ("flag",),
    "fields_missing_total": ("field", "cause"),
    "history_seconds": ("partition",),
    "rule_evaluations_total": ("rule",),
    "rule_limited": ("rule",),
    "amount_minor_total": ("decision",),
    "reference_info": ("table", "version"),
    "reference_rows": ("table",),
    "reference_age_seconds": ("table",),
    "reference_bytes": ("table",),
    "reference_joins_total": ("table", "outcome"),
    "reference_bad_records_total": ("table",),
    "reference_refused_total": ("table",),
    "exact_lane_records_total": ("reason",),
    "wire_fallbacks_total": ("part", "reason"),
}


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what a scrape shows: (name, labels) -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_the_declared_metrics_are_those_of_the_contract() -> None:
    """Dashboards and alert rules rely on these names and labels."""
    assert {m.name: tuple(label.name for label in m.labels) for m in METRICS} == NAMES_OF_THE_CONTRACT


def test_every_metric_says_what_it_means_and_what_to_do() -> None:
    """Texts are sentences, counters end in `_total`, units stand in names where Prometheus wants them."""
    for metric in METRICS:
        assert metric.meaning.endswith("."), metric.name
        assert metric.action.endswith("."), metric.name
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert (metric.unit == "seconds") == metric.name.endswith("_seconds"), metric.name
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM), metric.name
        assert all(label.values or label.source for label in metric.labels), metric.name


def test_no_metric_is_declared_and_left_out() -> None:
    """Each constant of the module is in the list that docs and scrapes go through."""
    constants = {value for value in vars(declared).values() if isinstance(value, declared.Metric)}
    assert constants == set(METRICS)


def test_counts_are_exact_and_known_series_start_at_zero() -> None:
    """A counter that was never touched is 0, not absent: `rate` needs the first step."""
    metrics = Metrics()
    metrics.add(declared.DECISIONS, 3, "block")
    metrics.add(declared.DECISIONS, 4, "block")
    shown = samples(metrics)
    assert shown["fraudstream_decisions_total", (("decision", "block"),)] == 7
    assert shown["fraudstream_decisions_total", (("decision", "pass"),)] == 0
    assert metrics.value(declared.DECISIONS, "block") == 7


def test_large_money_stays_exact() -> None:
    """Sums of minor units are counted as integers, beyond the precision of a float."""
    metrics = Metrics()
    metrics.add(declared.AMOUNT, 2**60, "pass")
    metrics.add(declared.AMOUNT, 1, "pass")
    assert metrics.value(declared.AMOUNT, "pass") == 2**60 + 1


def test_histograms_put_a_value_on_a_bound_into_its_bucket() -> None:
    """`le` means less or equal, and many values at once count as one by one."""
    together, single = Metrics(), Metrics()
    values = [0.05, 0.0500001, 0.0, 1000.0, 0.001]
    together.observe(declared.DECISION_LATENCY, values)
    for value in values:
        single.observe(declared.DECISION_LATENCY, value)
    shown = samples(together)
    name = "fraudstream_decision_latency_seconds"
    assert shown[f"{name}_bucket", (("le", "0.001"),)] == 2
    assert shown[f"{name}_bucket", (("le", "0.05"),)] == 3
    assert shown[f"{name}_bucket", (("le", "300.0"),)] == 4
    assert shown[f"{name}_bucket", (("le", "+Inf"),)] == 5
    assert shown[f"{name}_count", ()] == 5
    assert math.isclose(shown[f"{name}_sum", ()], sum(values))
    assert {k: v for k, v in samples(single).items() if "_sum" not in k[0]} == {
        k: v for k, v in shown.items() if "_sum" not in k[0]
    }


def test_quantiles_are_bucket_bounds() -> None:
    """The quantile is the upper bound of its bucket, infinity beyond the last, NaN without values."""
    metrics = Metrics()
    assert math.isnan(metrics.quantile(declared.DECISION_LATENCY, 0.5))
    metrics.observe(declared.DECISION_LATENCY, [0.0015] * 99 + [400.0])
    assert metrics.quantile(declared.DECISION_LATENCY, 0.5) == 0.002
    assert metrics.quantile(declared.DECISION_LATENCY, 0.99) == 0.002
    assert metrics.quantile(declared.DECISION_LATENCY, 1.0) == math.inf


def test_a_value_outside_its_closed_set_is_a_defect() -> None:
    """Nothing that a transaction contains can become a label."""
    metrics = Metrics()
    for wrong in ("maybe", ""):
        with pytest.raises(
            ValueError, match=r"no value of label `decision` of `fraudstream_decisions_total`"
        ):
            metrics.add(declared.DECISIONS, 1, wrong)
    with pytest.raises(ValueError, match="no value of label `rule`"):
        metrics.add(declared.RULE_EVALUATIONS, 1, "card.testing")


def test_rules_of_the_bundle_in_force_are_the_only_rules_shown() -> None:
    """A new bundle drops the series of rules that it lacks and keeps the counts of the others."""
    metrics = Metrics()
    metrics.allow(declared.RULE, ["a", "b"])
    metrics.add(declared.RULE_OUTCOMES, 5, "a", "true")
    metrics.add(declared.RULE_OUTCOMES, 6, "b", "unknown")
    metrics.allow(declared.RULE, ["b", "c"])
    shown = {key[1]: v for key, v in samples(metrics).items() if key[0] == "fraudstream_rule_outcomes_total"}
    assert shown == {
        (("outcome", "excepted"), ("rule", "b")): 0,
        (("outcome", "limited"), ("rule", "b")): 0,
        (("outcome", "limited"), ("rule", "c")): 0,
        (("outcome", "true"), ("rule", "b")): 0,
        (("outcome", "unknown"), ("rule", "b")): 6,
        (("outcome", "excepted"), ("rule", "c")): 0,
        (("outcome", "true"), ("rule", "c")): 0,
        (("outcome", "unknown"), ("rule", "c")): 0,
    }


def test_a_gauge_may_be_a_function_and_goes_with_its_partition() -> None:
    """Ages are computed when somebody looks; a partition that was lost is not shown."""
    metrics = Metrics()
    metrics.allow(declared.PARTITION, [0, 1])
    age = 5.0
    metrics.set(declared.SNAPSHOT_AGE, lambda: age, 0)
    metrics.set(declared.INPUT_LAG, 7, 1)
    age = 6.0
    assert samples(metrics)["fraudstream_snapshot_age_seconds", (("partition", "0"),)] == 6
    metrics.allow(declared.PARTITION, [])
    assert not [key for key in samples(metrics) if key[0] == "fraudstream_snapshot_age_seconds"]
    assert not [key for key in samples(metrics) if key[0] == "fraudstream_input_lag_records"]


def test_the_text_is_well_formed_from_the_start() -> None:
    """Before anything was counted every metric is described once."""
    text = Metrics().text().decode()
    assert re.findall(r"^# TYPE (\S+)", text, re.MULTILINE) == [metric.full_name for metric in METRICS]
