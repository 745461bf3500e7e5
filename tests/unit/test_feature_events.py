"""What the features topic says of a transaction is what rules and models of the worker read, and no more."""

from __future__ import annotations

import numpy as np
import orjson

from fraudstream.bench.traffic.generate import START_MS, generate
from fraudstream.models.file import blank_model
from fraudstream.models.inputs import TRANSFORMS, Columns, Input
from fraudstream.models.vectors import read_values
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.feature_events import FeatureEvents
from fraudstream.stream.pipeline import Pipeline, Result
from fraudstream.stream.scoring import bind_model
from fraudstream.stream.shipped import shipped_rules
from fraudstream.stream.wire.types import Slice

INPUTS = (
    Input("txn.amount"),
    Input("txn.amount", "log1p"),
    Input("txn.balance_before", "log1p"),
    Input("txn.amount", "ratio", "txn.balance_before"),
    Input("txn.channel", "flag", "mobile"),
    Input("txn.country", "flag", "CN"),
    Input("txn.country", "present"),
    Input("device.id", "present"),
    Input("event.time", "hour_sin", "480"),
    Input("event.time", "hour_cos", "-60"),
)


def process(values: list[bytes], keys: list[bytes], times: list[int]) -> tuple[Pipeline, Result]:
    """Decide records with the shipped rules."""
    compiled = compile_sources(read_directory(shipped_rules()))
    assert compiled.bundle is not None
    pipeline = Pipeline(0, bytes(16), compiled.bundle, None)
    offsets = list(range(len(values)))
    return pipeline, pipeline.process(Slice.from_records(0, values, keys, offsets, times))


def test_what_is_learned_is_what_is_scored() -> None:
    """For every transform, inputs made of records equal those that the worker makes of its columns."""
    chunk = next(iter(generate(600, 3, START_MS, 40)))
    times = chunk.times_ms.tolist()
    pipeline, result = process(chunk.values, chunk.keys, times)
    records = [orjson.loads(one.value or b"") for one in FeatureEvents(pipeline.bundle).records(result, 0)]
    assert [one["src"] for one in records] == [f"0:{offset}" for offset in result.batch.offset.tolist()]
    assert [one["at"] for one in records] == times
    numbers = tuple(
        Input(slot.name)
        for feature in pipeline.bundle.features.features
        for slot in feature.outputs
        if not slot.type.is_text and str(slot.type) in ("number", "integer", "money", "duration", "bool")
    )
    inputs = INPUTS + numbers
    assert {item.transform for item in inputs} == set(TRANSFORMS)
    model = blank_model(("payment",), inputs)
    bound = bind_model(model, pipeline.bundle)
    assert bound is not None
    columns = Columns(result.batch.value, result.batch.state, result.matrix.value, result.matrix.state)
    x, present = model.transform(bound.binding, columns, np.ones(len(records), np.uint8))
    order = [inputs.index(item) for item in model.inputs]
    was_x, was_present = read_values([one["values"] for one in records], inputs)
    np.testing.assert_array_equal(was_present[:, order], present)
    np.testing.assert_array_equal(was_x[:, order] * present, x * present)
    assert (present.mean(axis=0) > 0).sum() > len(inputs) / 2


def test_no_personal_value_and_no_id_leaves_the_worker() -> None:
    """Accounts, devices, places: the record says that they are there; duplicates have no record."""
    event = {
        "transaction_id": "T1",
        "event_time": START_MS,
        "account_id": "secret-account",
        "device_id": "secret-device",
        "amount": "12.50",
        "currency": "CNY",
        "lat": 30.57,
        "lon": 104.06,
        "birth_date": "1980-01-02",
    }
    value = orjson.dumps(event)
    pipeline, result = process([value, value, b"{"], [b"k"] * 3, [START_MS] * 3)
    (record,) = FeatureEvents(pipeline.bundle).records(result, 0)
    assert record.key == b"k"
    said = orjson.loads(record.value or b"")
    for name in ("account.id", "device.id", "txn.geo", "customer.birth_date"):
        assert said["values"][name] is True
    assert said["values"]["txn.amount"] == 1250
    assert b"secret" not in (record.value or b"")
    assert b"1980" not in (record.value or b"")
    assert FeatureEvents(pipeline.bundle).records(result, 1) == []


def test_a_label_event_carries_what_it_says() -> None:
    """Its members are read from the record: the schema of a bank need not map them."""
    event = {
        "transaction_id": "label:0-1",
        "event_type": "label",
        "event_time": START_MS,
        "account_id": "a",
        "original_id": "T1",
        "original_src": "0:0",
        "label": "fraud",
        "source": "analyst",
        "labelled_at": "2026-12-01T09:00:00Z",
        "by": "u123",
    }
    pipeline, result = process([orjson.dumps(event)], [b"a"], [START_MS])
    (record,) = FeatureEvents(pipeline.bundle).records(result, 0)
    said = orjson.loads(record.value or b"")
    names = ("original_id", "original_src", "label", "source", "labelled_at")
    assert said["label"] == {name: event[name] for name in names}
