"""Alerts show what an analyst needs and hide what is personal; model inputs are bound to the right words."""

from __future__ import annotations

import orjson
import pytest
from support.logs import KEY, shipped_bundle

from fraudstream.models.file import blank_model
from fraudstream.models.inputs import Input
from fraudstream.stream.evidence import mask, personal_names
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.scoring import bind_model, undeclared_inputs
from fraudstream.stream.wire.types import Slice


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("6222020200112233", "****2233"),
        ("12345", "****2345"),
        ("1234", "****"),
        ("", "****"),
        (6222020200112233, "****2233"),
        (None, None),
        (30.57, "****"),
        (True, "****"),
        ([30.5, 104.1], "****"),
    ],
)
def test_personal_values_keep_four_characters_at_most(value, shown):
    """Nothing else of them is shown, not even the length."""
    assert mask(value) == shown


def test_features_that_repeat_personal_fields_are_personal():
    """`last` of a place tells where a person was; a count does not."""
    names = personal_names(shipped_bundle())
    assert {"account.id", "txn.geo", "account.last_login.geo"} <= names
    assert not {"txn.amount", "account.last_login.time", "account.sent_count_1h"} & names


def make_alert(**changes: object) -> dict[str, object]:
    """Decide a burst of small authorisations with declines; returns the last one's alert."""
    base = {
        "event_type": "card_auth",
        "account_id": "A1",
        "card_id": "4000123412341234",
        "channel": "web",
        "kind": "purchase",
        "direction": "out",
        "amount": 1.10,
        "currency": "CNY",
        "city": "Chengdu",
        "lat": 30.57,
        "lon": 104.06,
        "secret_note": "not in the schema",
    }
    events = [base | {"amount": "1.00"} for _ in range(6)]
    events += [base | {"event_type": "outcome", "status": "declined"} for _ in range(3)]
    events += [base | changes]
    values = [
        orjson.dumps({"transaction_id": f"t{n}", "event_time": 1_768_478_400_000 + 1000 * n} | event)
        for n, event in enumerate(events)
    ]
    times = [1_768_478_400_000 + 1000 * n for n in range(len(values))]
    part = Slice.from_records(0, values, [None] * len(values), range(len(values)), times)
    result = Pipeline(0, KEY, shipped_bundle(), None).process(part)
    return orjson.loads(dict(result.alerts)[len(values) - 1])


def test_an_alert_holds_decision_transaction_and_evidence():
    """Members of the schema as sent, digit for digit; what rules read by name."""
    whole = make_alert(lat=30, lon=104)["transaction"]
    assert (whole["lat"], whole["lon"]) == ("****", "****")
    alert = make_alert()
    assert alert["decision"] == "block"
    assert alert["src"] == "0:9"
    transaction = alert["transaction"]
    assert transaction["amount"] == "1.1"
    assert transaction["city"] == "Chengdu"
    assert transaction["card_id"] == "****1234"
    assert (transaction["lat"], transaction["lon"]) == ("****", "****")
    assert "secret_note" not in transaction
    evidence = alert["evidence"]
    assert evidence["card.small_auths_10m"] == 7
    assert evidence["card.declines_10m"] == 3
    assert evidence["txn.channel"] == "web"
    assert list(evidence) == sorted(evidence)


def test_inputs_are_bound_to_the_words_of_their_names():
    """Source, column, content, transform and argument; what does not fit is told and not bound."""
    bundle = shipped_bundle()
    good = [
        Input("txn.channel", "flag", "atm"),
        Input("account.sent_mean_30d", "log1p"),
        Input("event.time", "hour_sin", "-480"),
        Input("txn.geo", "present"),
    ]
    bound = bind_model(blank_model(["payment", "no_such_type"], good), bundle)
    assert bound is not None
    slots = [bundle.slots[item.name] for item in good]
    assert bound.binding[:, 1].tolist() == [slot.column for slot in slots]
    assert bound.binding[:, 0].tolist() == [0, 1, 0, 0]
    assert bound.binding[:3, 2].tolist() == [0, 1, 0]
    assert bound.binding[:, 4].tolist() == [slots[0].values.index("atm"), 0, -480, 0]
    kind = bundle.slots["event.type"]
    assert bound.scope.conditions.tolist() == [[kind.column, 0]]
    assert bound.scope.allowed.tolist() == [int(name == "payment") for name in kind.values]
    for bad in (
        Input("no.such"),
        Input("model.score"),
        Input("txn.channel", "log1p"),
        Input("txn.channel", "flag", "pigeon"),
        Input("txn.amount", "hour_sin", "0"),
        Input("event.time", "hour_cos", "noon"),
    ):
        model = blank_model(["payment"], [*good, bad])
        assert bind_model(model, bundle) is None
        (problem,) = undeclared_inputs(model, bundle)
        assert f"`{bad.name}`" in problem
    assert undeclared_inputs(blank_model(["no_such_type"], good), bundle)
