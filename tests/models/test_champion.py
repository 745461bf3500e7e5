"""The shipped champion: it fits the shipped rules, equals River on real rows, and can be trained again."""

from __future__ import annotations

import numpy as np
import pytest
from river import linear_model, preprocessing
from river.utils.vectordict import VectorDict
from support.logs import KEY, shipped_bundle

from fraudstream.bench import train_champion
from fraudstream.bench.traffic.generate import generate
from fraudstream.models.file import load_model
from fraudstream.models.inputs import Columns
from fraudstream.models.model import Model
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.scoring import bind_model, undeclared_inputs
from fraudstream.stream.shipped import shipped_model
from fraudstream.stream.wire.types import Slice


@pytest.fixture(scope="module")
def champion() -> Model:
    """The file that comes with the package."""
    data = shipped_model()
    assert data is not None
    return load_model(data)


def river_twin(model: Model):
    """Return River's own pipeline with the model's parameters."""
    keys = [item.key for item in model.inputs]
    of = model.members[0].arrays
    scaler = preprocessing.StandardScaler._from_state(
        counts=dict.fromkeys(keys, 1),
        means=dict(zip(keys, of["mean"].tolist(), strict=True)),
        vars=dict(zip(keys, of["var"].tolist(), strict=True)),
    )
    regression = linear_model.LogisticRegression(intercept_init=float(of["bias"][0]))
    regression._weights = VectorDict(dict(zip(keys, of["weights"].tolist(), strict=True)))
    return scaler | regression


def test_it_fits_the_shipped_rules_and_says_where_it_comes_from(champion):
    """Every input is declared; the file names its data, its metrics and its library."""
    assert undeclared_inputs(champion, shipped_bundle()) == ()
    assert {"data", "window", "metrics", "settings", "river"} <= set(champion.training)
    assert champion.training["metrics"]["average_precision"] > 0.3
    assert champion.on == train_champion.ON
    assert champion.inputs == train_champion.INPUTS


def test_on_real_rows_the_score_is_rivers_own(champion):
    """Every attempt of some days of traffic, to 1e-9; and decisions carry that score."""
    bound = bind_model(champion, shipped_bundle())
    assert bound is not None
    twin = river_twin(champion)
    keys = [item.key for item in champion.inputs]
    pipeline = Pipeline(0, KEY, shipped_bundle(), champion)
    scored = 0
    for chunk in generate(6_000, 77, accounts=150):
        offsets = range(chunk.offset, chunk.offset + len(chunk))
        part = Slice.from_records(0, chunk.values, chunk.keys, offsets, chunk.times_ms.tolist())
        result = pipeline.process(part)
        columns = Columns(result.batch.value, result.batch.state, result.matrix.value, result.matrix.state)
        wanted = bound.wanted(columns, np.ones(len(result.batch), bool))
        x, present = champion.transform(bound.binding, columns, wanted)
        ours = champion.probability(x, present, wanted)
        for row in range(len(wanted)):
            micro = int(result.outcome.champion_micro[row])
            if not wanted[row]:
                assert micro == -1
                continue
            there = present[row].astype(bool)
            inputs = {k: float(v) for k, v, ok in zip(keys, x[row], there, strict=True) if ok}
            theirs = twin.predict_proba_one(inputs)[True]
            assert abs(theirs - ours[row]) <= 1e-9
            assert micro == int(np.rint(ours[row] * 1e6))
            scored += 1
    assert scored > 3_000


def test_training_again_gives_the_same_bytes(tmp_path, capsys):
    """Two small trainings with one seed are one file; another seed is another."""
    files = []
    for number, seed in enumerate(("4", "4", "5")):
        output = tmp_path / f"{number}.json"
        args = ["--seeds", seed, "--count", "3000", "--accounts", "60", "--output", str(output)]
        assert train_champion.main(args) == 0
        files.append(output.read_bytes())
    assert files[0] == files[1] != files[2]
    assert "average_precision" in capsys.readouterr().out
    load_model(files[0])
