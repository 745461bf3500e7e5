"""`fraudstream models` from data to what is in force, and no peeking on the way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.handbook import FIRST_S, make_table, write_table

from fraudstream.models.file import load_model
from fraudstream.models.learners import make_learner
from fraudstream.models.prequential import score_days
from fraudstream.models.protocol import DAY_MS
from fraudstream.models.registry_store import Registry
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.cli import main
from fraudstream.stream.commands.models import shipped_registry
from fraudstream.stream.handbook import collect

DELAY = 7


@pytest.fixture(scope="module")
def table():
    """Fifty days of a small world."""
    return make_table()


@pytest.fixture(scope="module")
def bundle():
    """The shipped features of the handbook."""
    compiled = compile_sources(read_directory(shipped_registry().parent / "rules"))
    assert compiled.bundle is not None
    return compiled.bundle


@pytest.fixture
def registry(tmp_path):
    """The shipped entries, without versions."""
    for name in ("logistic", "boosted"):
        file = shipped_registry() / f"{name}.yaml"
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "logistic.yaml").open("a") as file:
        file.write("gates: {roc_auc: 0.5}\n")
    return tmp_path


def test_from_transactions_to_the_model_in_force_and_back(table, registry, tmp_path, capsys):
    """Train two, promote both in turn, list, roll back; cards say what was learned from what."""
    data = ["--data", str(write_table(table, tmp_path / "data.parquet")), "--until", "2018-07-16"]
    where = ["--registry", str(registry)]
    for name in ("logistic", "boosted"):
        assert main(["models", "train", name, *where, *data]) == 0
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert said["metrics"]["roc_auc"] > 0.6
        assert main(["models", "promote", name, *where, "--why", "first"]) == 0
    capsys.readouterr()
    active = load_model((registry / "active.model").read_bytes())
    assert {m.id: m.role for m in active.members} == {"logistic": "shadow", "boosted": "champion"}
    card = active.members[active.place("logistic")].card
    assert {"owner", "window", "schema", "features", "code", "river", "parent", "metrics"} <= set(card)
    assert main(["models", "list", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["champion", "shadow"]
    assert main(["models", "rollback", *where, "--why", "alarm"]) == 0
    active = load_model((registry / "active.model").read_bytes())
    assert [m.id for m in active.members] == ["logistic"]


def test_a_version_below_its_gate_is_not_promoted(table, registry, tmp_path, capsys):
    """The refusal names the gate; --force is the person's own decision."""
    entry = registry / "logistic.yaml"
    entry.write_text(entry.read_text().replace("roc_auc: 0.5", "roc_auc: 0.9999"))
    data = ["--data", str(write_table(table, tmp_path / "data.parquet")), "--until", "2018-07-16"]
    where = ["--registry", str(registry)]
    assert main(["models", "train", "logistic", *where, *data]) == 0
    assert main(["models", "promote", "logistic", *where, "--why", "hope"]) == 78
    assert "its gate is 0.9999" in capsys.readouterr().err
    assert main(["models", "promote", "logistic", *where, "--why", "hope", "--force"]) == 0


def test_evaluation_prints_systems_and_counts(table, tmp_path, capsys):
    """Figures of each system over the tested rows; with --json for machines."""
    data = str(write_table(table, tmp_path / "data.parquet"))
    out = tmp_path / "figures.json"
    args = ["models", "evaluate", "logistic", "boosted", "--data", data, "--from", "2018-07-10"]
    assert main([*args, "--days", "5", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "5 days from 2018-07-10, labels known after 7 days" in said
    assert "published" not in said
    figures = json.loads(out.read_text())
    assert set(figures) == {"logistic", "boosted"}
    assert figures["boosted"]["roc_auc"] > 0.6


def test_unmatured_labels_and_the_future_change_nothing(table, bundle):
    """Scramble all labels younger than the delay and all later amounts: no input, no score before differs."""
    entries = Registry(shipped_registry()).entries()
    inputs = entries["logistic"].inputs
    now_ms = (FIRST_S + 35 * 86_400) * 1000
    random = np.random.default_rng(9)
    young, later = table.time_ms > now_ms - DELAY * DAY_MS, table.time_ms >= now_ms
    fraud, amount = table.fraud.copy(), table.amount_minor.copy()
    fraud[young] = random.random(young.sum()) < 0.5
    amount[later] = random.integers(1, 90_000, later.sum())
    scrambled = table._replace(fraud=fraud, amount_minor=amount)
    honest, peeking = (collect(one, bundle, inputs, DELAY) for one in (table, scrambled))
    before = table.time_ms < now_ms
    np.testing.assert_array_equal(honest.x[before], peeking.x[before])
    np.testing.assert_array_equal(honest.present[before], peeking.present[before])
    assert (honest.x[~before] != peeking.x[~before]).any(), "the scrambling must be visible later"
    for name in ("logistic", "boosted"):
        first, second = (
            score_days(make_learner(entries[name], entries), one, 0, now_ms - 5 * DAY_MS, 5)[before]
            for one in (honest, peeking)
        )
        np.testing.assert_array_equal(first, second)
        assert len(np.unique(first[~np.isnan(first)])) > 20
    early = collect(table, bundle, inputs, 1)
    assert (early.x[before] != honest.x[before]).any(), "labels known after a day must be visible"
