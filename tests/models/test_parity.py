"""Parity law: an exported model scores what its library scores, for every family, on every row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.families import FAMILIES, INPUTS, as_dict, logit, make_rows

from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import ModelError
from fraudstream.models.members import Member
from fraudstream.models.model import Model

N = 2_000


def scores(model: Model, x, present):
    """Return [M, n] with the columns of INPUTS in the model's own order."""
    order = [INPUTS.index(item) for item in model.inputs]
    wanted = np.ones(len(x), np.uint8)
    return model.probabilities(
        np.ascontiguousarray(x[:, order]), np.ascontiguousarray(present[:, order]), wanted
    )


@pytest.fixture(scope="module")
def made():
    """Learn each family once: name -> (member, oracle)."""
    return {name: make(make_rows(N, 11, drift="adaptive" in name)) for name, make in FAMILIES.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_row_has_the_librarys_own_score(made, name):
    """To 1e-9, on rows that were learned and on others, with missing inputs and values far outside."""
    member, oracle = made[name]
    model = load_model(dump_models([member]))
    for seed in (11, 12):
        x, present, _ = make_rows(400, seed)
        x[:20] *= np.array([1e6, -1e6, 1e-9, 1e12] * 5)[:, None]
        present[20:40] = 0
        ours = scores(model, x, present)[0]
        theirs = np.array([oracle(*row) for row in zip(x, present, strict=True)])
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
        assert len(np.unique(np.round(theirs, 3))) > 3, "the rows must tell scores apart"


def test_trees_were_grown(made):
    """Parity of stumps would prove little; alternate trees and naive Bayes leaves are there too."""
    for name, (member, _) in made.items():
        if member.family in {"forest", "boosted", "space"}:
            assert (member.arrays["nodes"][:, 0] >= 0).sum() >= 3, name
    assert (made["hoeffding tree, naive bayes"][0].arrays["bayes"] >= 0).any()
    assert (made["adaptive random forest"][0].arrays["bayes"] >= 0).any()


def blends(names, **more):
    """Return the three ways to blend models."""
    weights, bias = np.array([0.7, 0.5, -0.2])[: len(names)], np.array([0.1])
    return [
        Member(
            kind,
            "blend",
            (),
            {"weights": weights, "bias": bias},
            blend=kind,
            parts=names,
            role="shadow",
            **more,
        )
        for kind in ("max", "mean_logit", "stacked")
    ]


def test_blends_are_what_they_are_declared_to_be(made):
    """Maximum, mean of logits and a stack of three libraries' own scores, in one table."""
    names = ("logistic regression", "adaptive random forest", "lightgbm")
    parts = [
        Member(**{**_fields(made[name][0]), "id": name, "role": "champion" if not at else "part"})
        for at, name in enumerate(names)
    ]
    model = load_model(dump_models([*parts, *blends(names)]))
    x, present, _ = make_rows(200, 13)
    ours = scores(model, x, present)
    for row in range(len(x)):
        p = [made[name][1](x[row], present[row]) for name in names]
        z = [logit(one) for one in p]
        stacked = 0.7 * z[0] + 0.5 * z[1] - 0.2 * z[2] + 0.1
        wanted = [*p, max(p), 1 / (1 + math.exp(-sum(z) / 3)), 1 / (1 + math.exp(-stacked))]
        assert ours[:, row] == pytest.approx(wanted, abs=1e-9)


def test_calibration_bends_the_score_on_the_logit_scale(made):
    """P' = sigmoid(a logit(p) + b)."""
    member, oracle = made["gaussian naive bayes"]
    model = load_model(dump_models([Member(**{**_fields(member), "calibration": (0.5, -2.0)})]))
    x, present, _ = make_rows(300, 14)
    ours = scores(model, x, present)[0]
    for row in range(len(x)):
        p = 1 / (1 + math.exp(-(0.5 * logit(oracle(x[row], present[row])) - 2.0)))
        assert ours[row] == pytest.approx(p, abs=1e-9)


def test_what_has_no_export_is_refused_by_name():
    """A model that could only be scored by its library is no model of a file."""
    from river import linear_model

    from fraudstream.models.export_river import export

    model = linear_model.PAClassifier()
    model.learn_one(as_dict(*(row[0] for row in make_rows(1, 1)[:2])), True)
    with pytest.raises(ModelError, match="PAClassifier has no export"):
        export(model, INPUTS)


def _fields(member: Member):
    return {name: getattr(member, name) for name in Member.__dataclass_fields__}
