"""The numbers behind the declared metrics, collected when somebody scrapes.

The worker counts per batch into plain numbers; a scrape reads them, so nothing is paid per
transaction and nothing is held twice. A label value outside its declared set is a defect and raises:
what a transaction contains can never become a label.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from fraudstream.stream.metrics import METRICS, Kind, Label, Metric


class _Histogram:
    """Counts per bucket (the last is infinity) and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = np.array(bounds)
        self.counts: NDArray[np.int64] = np.zeros(len(bounds) + 1, np.int64)
        self.sum = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values; one that equals a bound belongs to it."""
        self.counts += np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts))
        self.sum += float(values.sum())


class Metrics(Collector):
    """The numbers behind the declared metrics, on a registry of their own."""

    def __init__(self) -> None:
        self._values: dict[Metric, dict[tuple[str, ...], float | Callable[[], float]]] = {}
        self._histograms: dict[Metric, dict[tuple[str, ...], _Histogram]] = {}
        self._allowed: dict[str, tuple[str, ...]] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def allow(self, label: Label, values: Iterable[object]) -> None:
        """Set the values of a label that are in force; series of all other values are dropped."""
        if label.values:
            raise ValueError(f"the values of label `{label.name}` are declared")
        allowed = self._allowed[label.name] = tuple(dict.fromkeys(map(str, values)))
        for metric, series in self._values.items():
            if label in metric.labels:
                at = metric.labels.index(label)
                for key in [key for key in series if key[at] not in allowed]:
                    del series[key]

    def add(self, metric: Metric, amount: float, *labels: object) -> None:
        """Count."""
        assert metric.kind is Kind.COUNTER, metric.name
        assert amount >= 0, metric.name
        series = self._values.setdefault(metric, {})
        key = self._key(metric, labels)
        before = series.get(key, 0)
        assert not callable(before)
        series[key] = before + amount

    def set(self, metric: Metric, value: float | Callable[[], float], *labels: object) -> None:
        """Set a gauge to a number, or to what a function returns whenever somebody looks."""
        assert metric.kind is Kind.GAUGE, metric.name
        self._values.setdefault(metric, {})[self._key(metric, labels)] = value

    def observe(self, metric: Metric, seconds: ArrayLike, *labels: object) -> None:
        """Put one or many durations into a histogram."""
        assert metric.kind is Kind.HISTOGRAM, metric.name
        series = self._histograms.setdefault(metric, {})
        key = self._key(metric, labels)
        if key not in series:
            series[key] = _Histogram(metric.buckets)
        series[key].add(np.atleast_1d(np.asarray(seconds, np.float64)))

    def value(self, metric: Metric, *labels: object) -> float:
        """Return what was counted or set, 0 if nothing was."""
        found = self._values.get(metric, {}).get(self._key(metric, labels), 0)
        return found() if callable(found) else found

    def counts(self, metric: Metric, *labels: object) -> NDArray[np.int64]:
        """Return the observations in each bucket of a histogram, the last is infinity; not cumulated."""
        histogram = self._histograms.get(metric, {}).get(self._key(metric, labels))
        return (_Histogram(metric.buckets) if histogram is None else histogram).counts

    def quantile(self, metric: Metric, share: float, *labels: object) -> float:
        """Return the upper bound of the bucket in which a quantile lies, NaN without observations."""
        histogram = self._histograms.get(metric, {}).get(self._key(metric, labels))
        if histogram is None or not histogram.counts.any():
            return float("nan")
        cumulated = np.cumsum(histogram.counts)
        bucket = int(np.searchsorted(cumulated, share * cumulated[-1]))
        return float(histogram.bounds[bucket]) if bucket < len(histogram.bounds) else float("inf")

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Family]:
        """Yield every declared metric with its series, as Prometheus' client asks for them."""
        for metric in METRICS:
            names = [label.name for label in metric.labels]
            text = f"{metric.meaning} Unit: {metric.unit}."
            if metric.kind is Kind.HISTOGRAM:
                yield self._histogram_family(metric, text, names)
                continue
            family: CounterMetricFamily | GaugeMetricFamily
            if metric.kind is Kind.COUNTER:
                family = CounterMetricFamily(metric.full_name, text, labels=names)
            else:
                family = GaugeMetricFamily(metric.full_name, text, labels=names)
            for key, value in self._series(metric).items():
                family.add_metric(key, value() if callable(value) else value)
            yield family

    def _histogram_family(self, metric: Metric, text: str, names: list[str]) -> Family:
        family = HistogramMetricFamily(metric.full_name, text, labels=names)
        series = self._histograms.get(metric, {})
        empty = _Histogram(metric.buckets)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for key in self._keys(metric) | dict.fromkeys(series):
            histogram = series.get(key, empty)
            cumulated = np.cumsum(histogram.counts).tolist()
            family.add_metric(key, list(zip(bounds, cumulated, strict=True)), histogram.sum)
        return family

    def _series(self, metric: Metric) -> Mapping[tuple[str, ...], float | Callable[[], float]]:
        found = dict(self._values.get(metric, {}))
        if metric.kind is Kind.GAUGE or metric.sparse:
            return found
        return dict.fromkeys(self._keys(metric), 0) | found

    def _keys(self, metric: Metric) -> dict[tuple[str, ...], None]:
        """Return every combination of label values that is possible now."""
        return dict.fromkeys(itertools.product(*(self._domain(label) for label in metric.labels)))

    def _domain(self, label: Label) -> tuple[str, ...]:
        return label.values or self._allowed.get(label.name, ())

    def _key(self, metric: Metric, labels: tuple[object, ...]) -> tuple[str, ...]:
        """Return the label values as text.

        Raises:
            ValueError: A value is not in the label's closed set.
        """
        key = tuple(map(str, labels))
        for label, value in zip(metric.labels, key, strict=True):
            if value not in self._domain(label):
                raise ValueError(f"`{value}` is no value of label `{label.name}` of `{metric.full_name}`")
        return key
