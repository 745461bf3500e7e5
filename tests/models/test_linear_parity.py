"""The compiled champion scores as River does, and its file can not hurt."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.models.file import load_model
from fraudstream.models.inputs import TRANSFORMS, Columns, Input, ModelError
from fraudstream.models.kernel_math import exp_exact, log1p_exact
from fraudstream.models.linear import dump_model
from fraudstream.models.model import Scope
from fraudstream.models.protocol import average_precision
from fraudstream.models.train import Examples, Settings, export_river, learn

INPUTS = [
    Input("txn.amount", "log1p"),
    Input("f.count"),
    Input("f.mean", "log1p"),
    Input("txn.channel", "flag", "atm"),
    Input("f.first", "present"),
    Input("event.time", "hour_sin", "480"),
    Input("event.time", "hour_cos", "480"),
    Input("f.constant"),
]
BINDING = np.array(
    [
        (0, 0, 0, TRANSFORMS["log1p"], 0, 0),
        (1, 0, 0, TRANSFORMS["identity"], 0, 0),
        (1, 1, 1, TRANSFORMS["log1p"], 0, 0),
        (0, 1, 0, TRANSFORMS["flag"], 2, 0),
        (1, 2, 0, TRANSFORMS["present"], 0, 0),
        (0, 2, 0, TRANSFORMS["hour_sin"], 480, 0),
        (0, 2, 0, TRANSFORMS["hour_cos"], 480, 0),
        (1, 3, 0, TRANSFORMS["identity"], 0, 0),
    ],
    np.int64,
)


EVERY_ROW = Scope(np.zeros(2, np.int64), np.zeros((0, 2), np.int64), np.zeros(0, np.uint8))


def make_columns(n: int, seed: int) -> Columns:
    """Return random columns with missing values: amounts, channels, times; count, mean, first, constant."""
    random = np.random.default_rng(seed)
    fields = np.empty((3, n), np.int64)
    fields[0] = np.exp(random.normal(9, 3, n)).astype(np.int64) * random.choice([1, 1, 1, -1], n)
    fields[1] = random.integers(0, 4, n)
    fields[2] = 1_795_488_000_000 + np.sort(random.integers(0, 90 * 86_400_000, n))
    features = np.empty((n, 4), np.int64)
    features[:, 0] = random.poisson(3, n)
    features[:, 1] = np.exp(random.normal(8, 2, n)).view(np.int64)
    features[:, 2] = random.integers(0, 2**40, n)
    features[:, 3] = 7
    field_state = (random.random((3, n)) < 0.9).astype(np.uint8)
    feature_state = (random.random((n, 4)) < 0.8).astype(np.uint8)
    return Columns(fields, field_state, features, feature_state)


def make_examples(n: int, seed: int) -> tuple[Examples, Columns]:
    """Return labelled examples whose fraud depends on amount and count."""
    columns = make_columns(n, seed)
    blank = load_model(dump_model(["payment"], INPUTS, [0.0] * 8, [1.0] * 8, [0.0] * 8, 0.0, {}))
    x, present = blank.transform(BINDING, columns, np.ones(n, np.uint8))
    logit = 0.8 * x[:, 0] * present[:, 0] + 0.5 * x[:, 1] * present[:, 1] - 12
    fraud = np.random.default_rng(seed).random(n) < 1 / (1 + np.exp(-logit))
    times = columns.field_value[2]
    return Examples(x, present, fraud, times, times + 86_400_000), columns


def test_score_equals_rivers_on_random_rows_with_missing_inputs():
    """Probability is `predict_proba_one` of the learned pipeline to 1e-9 on every row."""
    examples, columns = make_examples(3_000, 5)
    model, metrics = learn(INPUTS, examples, Settings(learning_rate=0.1, legitimate_share=0.5))
    loaded = load_model(export_river(model, ["payment"], INPUTS, Settings(), {"metrics": metrics}))
    wanted = np.ones(len(examples.x), np.uint8)
    wanted[::7] = 0
    ours = loaded.probability(*loaded.transform(BINDING, columns, wanted), wanted)
    micro = loaded.score(BINDING, columns, wanted, EVERY_ROW)[0]
    spread = set()
    for row in range(len(wanted)):
        if not wanted[row]:
            assert (ours[row], micro[row]) == (-1.0, -1)
            continue
        keys = [item.key for item in INPUTS]
        there = examples.present[row].astype(bool)
        given_one = {key: float(v) for key, v, ok in zip(keys, examples.x[row], there, strict=True) if ok}
        theirs = model.predict_proba_one(given_one)[True]
        assert abs(ours[row] - theirs) <= 1e-9
        assert micro[row] == int(np.rint(ours[row] * 1e6))
        spread.add(int(micro[row]) // 100_000)
    assert len(spread) > 5, "the rows must exercise the curve, not one end of it"
    assert metrics["average_precision"] > 0.5


def test_learning_is_deterministic_and_labels_wait_until_they_are_known():
    """Two runs give the same file; labels that come too late for any score leave the scores at 0.5."""
    examples, _ = make_examples(400, 9)
    files = {
        export_river(learn(INPUTS, examples, Settings())[0], ["payment"], INPUTS, Settings(), {})
        for _ in range(2)
    }
    assert len(files) == 1
    never = examples._replace(known_ms=np.full(400, 2**60))
    _, metrics = learn(INPUTS, never, Settings(legitimate_share=1.0))
    assert metrics["log_loss"] == pytest.approx(math.log(2), abs=1e-6)


@settings(max_examples=300, deadline=None)
@given(st.floats(-700, 700), st.floats(0, 1e19))
def test_own_exponential_and_logarithm_are_exact_to_2e_15(x, y):
    """They stand in for the C library's, whose last bit differs between hosts."""
    assert exp_exact(x) == pytest.approx(math.exp(x), rel=2e-15)
    assert log1p_exact(y) == pytest.approx(math.log1p(y), rel=2e-15, abs=1e-300)


def test_transforms_read_each_kind_of_column():
    """Signed logarithms, flags by code, presence and the local hour."""
    columns = Columns(
        np.array([[-99, 0], [2, 1], [57_600_000 + 6 * 3_600_000, 0]], np.int64),
        np.array([[1, 0], [1, 1], [1, 1]], np.uint8),
        np.zeros((2, 4), np.int64),
        np.array([[1, 1, 1, 1], [1, 1, 0, 1]], np.uint8),
    )
    model = load_model(dump_model(["payment"], INPUTS, [0.0] * 8, [1.0] * 8, [1.0] * 8, 0.0, {}))
    x, present = model.transform(BINDING, columns, np.ones(2, np.uint8))
    assert x[0].tolist() == pytest.approx([-math.log(100), 0, 0, 1, 1, 1, 0, 0])
    assert present[1].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    assert x[1, 3:5].tolist() == [0, 0]


def test_average_precision_is_that_of_the_definition():
    """Ties stand together; the weight of a sampled row counts."""
    score, fraud = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert average_precision(score, fraud, np.ones(3)) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(score, fraud, np.array([1, 10, 1.0])) == pytest.approx((1 + 2 / 12) / 2)
    assert average_precision(np.zeros(3), fraud, np.ones(3)) == pytest.approx(2 / 3)


GOOD = orjson.loads(dump_model(["payment"], INPUTS[:2], [0.0, 1.0], [1.0, 2.0], [0.5, -0.5], 0.1, {"a": 1}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, family 'linear'; expected format 1"),
        ({"extra": 1}, "unknown member `extra`"),
        ({"inputs": []}, "`inputs` was not a list of 1 to"),
        ({"inputs": [GOOD["inputs"][0]] * 2}, "names one input twice"),
        ({"inputs": [{**GOOD["inputs"][0], "transform": "eval"}]}, "has transform `eval`, expected one of"),
        ({"on": []}, "`on` was not a list of 1 to 100 texts"),
        ({"parameters": {**GOOD["parameters"], "mean": [0.0]}}, "`mean` was not a list of 2 numbers"),
        ({"parameters": {**GOOD["parameters"], "var": [1.0, -1.0]}}, "`var` has a negative number"),
        ({"parameters": {**GOOD["parameters"], "bias": True}}, "`bias` has an item that is not a number"),
        ({"parameters": {**GOOD["parameters"], "bias": 1e301}}, "not finite or beyond"),
        ({"training": 3}, "`training` was not an object"),
    ],
)
def test_a_hostile_file_is_refused_with_what_is_wrong(change, message):
    """Each check names the member."""
    with pytest.raises(ModelError, match=message):
        load_model(orjson.dumps({**GOOD, **change}))


@pytest.mark.parametrize("data", [b"", b"[]", b"\x80\x04N.", b"{" * 100_000, b" " * 8_000_001])
def test_anything_else_is_no_model(data):
    """Pickles, bombs and rubbish are refused before anything is built from them."""
    with pytest.raises(ModelError, match="model file"):
        load_model(data)


def test_a_file_comes_back_bit_for_bit():
    """Its version is the hash of its bytes."""
    values = [0.1, 1e-300, 2 / 3]
    data = dump_model(["payment"], INPUTS[:3], values, values, values, 1 / 3, {})
    loaded = load_model(data)
    assert loaded.members[0].arrays["mean"].tolist() == values
    assert loaded.members[0].arrays["bias"][0] == 1 / 3
    assert loaded.version.startswith("sha256:")
    assert loaded.version != load_model(data + b" ").version
