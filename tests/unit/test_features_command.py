"""`fraudstream features`: what an operator learns about features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.sample_rules import sample_files

from fraudstream.models.inputs import Input
from fraudstream.models.linear import dump_model
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.compiler.lineage import features_read
from fraudstream.stream.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample directory."""
    for name, content in sample_files().items():
        path = tmp_path / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "rules"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that reads one feature of a family and a field."""
    inputs = [Input("txn.amount"), Input("account.velocity_max_atm_24h")]
    file = tmp_path / "model.json"
    file.write_bytes(dump_model(["payment"], inputs, [0, 0], [1, 1], [0, 0], 0.0, {}))
    return file


def features(*args: object) -> int:
    """Call the command without a model."""
    extra = [] if "--model" in args else ["--model", "none"]
    return main(["features", *map(str, args), *extra])


def listed(capsys: pytest.CaptureFixture[str], *args: object) -> dict[str, dict[str, Any]]:
    """Return the catalogue by name."""
    assert features("list", *args, "--json") == 0
    return {item["name"]: item for item in json.loads(capsys.readouterr().out)}


def test_the_list_says_who_reads_a_feature_and_through_what(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A named condition, `when` and the reason are told apart."""
    found = listed(capsys, folder)
    assert len(found) == 20
    assert found["card.small_auths_10m"]["rules"] == [
        {"id": "card.testing.small_auths", "mode": "live", "through": ["burst", "reason"]}
    ]
    assert found["card.declines_10m"]["rules"][0]["through"] == ["when", "reason"]
    one = found["card.small_auths_10m"]
    assert (one["aggregate"], one["key"], one["window"]) == ("count", ["card.id"], "10m")
    assert one["where"] == 'event.type == "card_auth" and txn.amount < 2'
    assert one["meaning"].startswith("number of events with the same card.id in the last 10m, where")


def test_a_model_keeps_a_feature_alive(folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What only the champion reads is dead without it."""
    name = "account.velocity_max_atm_24h"
    without, with_model = listed(capsys, folder)[name], listed(capsys, folder, "--model", model)[name]
    assert (without["models"], without["dead"]) == ([], True)
    assert (with_model["models"], with_model["dead"]) == (["champion"], False)


def test_what_only_a_draft_reads_is_dead(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Drafts are not evaluated; `--dead` lists nothing else."""
    found = listed(capsys, folder)
    assert found["device.customers_24h"]["rules"] == [
        {"id": "pay.draft", "mode": "draft", "through": ["when"]}
    ]
    dead = listed(capsys, folder, "--dead")
    assert "device.customers_24h" in dead
    assert set(dead) == {name for name, item in found.items() if item["dead"]}


def test_features_share_a_history_when_key_filter_and_field_are_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows and aggregates do not matter, filters do."""
    found = listed(capsys, folder)
    shared = found["account.velocity_sum_out_10m"]["shares_history_with"]
    assert set(shared) == {
        "account.velocity_sum_out_24h",
        "account.velocity_max_out_10m",
        "account.velocity_max_out_24h",
    }
    assert found["account.points_1h"]["shares_history_with"] == []


def test_an_output_leads_to_its_feature(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`last` of three fields is read as three names."""
    assert features("show", "account.last_pos.geo", folder) == 0
    out = capsys.readouterr().out
    assert out.startswith("account.last_pos: event.time, txn.geo, txn.country of the last event")
    assert "account.last_pos.country (country)" in out
    assert "no window" in out


def test_a_wrong_name_gets_a_suggestion(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: bad use."""
    assert features("show", "account.idel", folder) == 2
    assert "did you mean `account.idle`?" in capsys.readouterr().err


def test_rules_that_do_not_compile_are_findings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said about half a directory."""
    (folder / "features.yaml").write_text("features: [")
    assert features("list", folder) == 1
    assert "features.yaml" in capsys.readouterr().err


def test_the_table_ends_with_a_sum(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are named; without `--measure` there are no costs."""
    assert features("list", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "FEATURE", "KEY", "WINDOW", "RESOLUTION", "RULES", "MODELS", "SHARED", "MEANING",
    ]  # fmt: skip
    assert lines[-1].startswith("20 features over 4 kinds of key; ")


def test_costs_are_measured_on_demand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes are positive and the same for one kind of key; time is never negative."""
    found = listed(capsys, folder, "--measure")
    costs = {name: item["cost"] for name, item in found.items()}
    assert len(costs) == 20
    assert all(cost["microseconds"] >= 0 for cost in costs.values())
    assert all(cost["bytes_per_key"] > 0 and cost["bytes_per_event"] > 0 for cost in costs.values())
    cards = {
        (cost["bytes_per_key"], cost["bytes_per_event"]) for name, cost in costs.items() if "card." in name
    }
    assert len(cards) == 1


def test_what_decisions_can_depend_on() -> None:
    """Evaluated rules and models; a draft's features are not among them."""
    bundle = compile_sources(sample_files()).bundle
    assert bundle is not None
    read = features_read(bundle)
    assert {"card.small_auths_10m", "account.last_pos"} <= read
    assert "device.customers_24h" not in read
    assert features_read(bundle, [["device.customers_24h", "txn.amount"]]) == read | {"device.customers_24h"}
