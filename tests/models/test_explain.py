"""What an analyst is told about a score is what the score is made of."""

from __future__ import annotations

import numpy as np
import pytest
from support.families import INPUTS, logit, make_rows

from fraudstream.models.explain import contributions
from fraudstream.models.file import dump_models, load_model
from fraudstream.models.members import Member


def test_parts_of_a_linear_score_are_its_terms_and_add_up():
    """Bias plus terms are the log-odds."""
    mean, var, weights = (
        np.array(one)
        for one in ([3.0, 1, 200, 0.5, 0, 7], [4.0, 1, 9e3, 0.1, 1, 0], [0.4, -0.3, 0.2, 0.1, 0.5, 9.0])
    )
    arrays = {"mean": mean, "var": var, "weights": weights, "bias": np.array([-0.7])}
    model = load_model(dump_models([Member("champion", "linear", INPUTS, arrays)]))
    x, present, _ = make_rows(50, 5)
    x[:, 0] = np.minimum(x[:, 0], 20)
    for row in range(len(x)):
        parts = contributions(model, x[row], present[row])
        terms = {
            item: weights[at] * (x[row, at] - mean[at]) / np.sqrt(var[at])
            for at, item in enumerate(INPUTS[:5])
            if present[row, at] and x[row, at] != mean[at]
        }
        assert dict(parts) == pytest.approx(terms, abs=1e-7)
        assert [abs(part) for _, part in parts] == sorted((abs(part) for _, part in parts), reverse=True)
        p = model.probability(x[row : row + 1], present[row : row + 1], np.ones(1, np.uint8))[0]
        assert sum(part for _, part in parts) - 0.7 == pytest.approx(logit(p), abs=1e-7)


def test_the_input_that_a_tree_splits_on_is_named_and_no_other():
    """A tree of one split, whose missing input goes left."""
    arrays = {
        "nodes": np.array([[1, 1, 0, -1], [-1, 0, 0, -1], [-1, 1, 0, -1]], np.int32),
        "threshold": np.array([10.0, 0, 0]),
        "values": np.array([-2.0, 1.5]),
        "roots": np.zeros(1, np.int32),
        "factor": np.ones(1),
    }
    model = load_model(dump_models([Member("champion", "boosted", INPUTS, arrays)]))
    x, present = np.array([1.0, 11.0, 3, 4, 5, 6]), np.ones(6, np.uint8)
    ((item, part),) = contributions(model, x, present)
    assert item == INPUTS[1]
    assert part == pytest.approx(3.5, abs=1e-9)
