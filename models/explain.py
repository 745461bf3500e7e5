"""Why a score is what it is: what each input adds to the log-odds, against a row in which it is missing.

For linear models that is the input's own term, exactly. For trees, bins and blends it is what the score would
lose without the input; such parts need not add up. Costs one score for each input: not for the fast path.
"""

from __future__ import annotations

import numpy as np

from fraudstream.models.inputs import F64, U8, Input
from fraudstream.models.kernel_math import logit
from fraudstream.models.model import Model


def contributions(model: Model, x: F64, present: U8) -> list[tuple[Input, float]]:
    """Return the inputs that matter to the champion's score of one row, strongest first.

    Args:
        model: the models.
        x: [k] transformed inputs.
        present: [k] which are there.
    """
    asked = np.flatnonzero(present)
    rows = np.repeat(x.reshape(1, -1), len(asked) + 1, axis=0)
    there = np.repeat(present.reshape(1, -1), len(asked) + 1, axis=0)
    there[np.arange(1, len(asked) + 1), asked] = 0
    p = model.probability(np.ascontiguousarray(rows), there, np.ones(len(rows), np.uint8))
    if p[0] < 0.0:
        return []
    whole = logit(p[0])
    parts = [
        (model.inputs[at], whole - logit(without))
        for at, without in zip(asked.tolist(), p[1:].tolist(), strict=True)
        if without >= 0.0
    ]
    return sorted((part for part in parts if part[1] != 0.0), key=lambda part: -abs(part[1]))
