"""Expert models in YAML: points for ranges of values, added up; no data, no library.

A scorecard::

    kind: Scorecard
    id: atm_cash_out
    owner: card risk
    events: [payment]                               # and `where: {txn.channel: [atm]}`
    score: {points: 600, odds: 0.01, double: 50}    # 600 points: odds of 1:100, 50 more double them
    base: 400
    characteristics:
      - input: account.sent_count_1h
        bins: [{below: 2, points: 0}, {below: 6, points: 60}, {points: 140}]
        missing: 20
      - input: {name: txn.channel, transform: flag, argument: atm}
        bins: [{below: 1, points: 0}, {points: 35}]

Probability = odds / (1 + odds), odds = ``odds`` * 2 ** ((points - ``score.points``) / ``double``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from fraudstream.models.checks import as_inputs, as_number, as_texts, check_members
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import Member

MAX_BYTES = 256_000
_TOP = ("kind", "id", "owner", "score", "characteristics")
_OPTIONAL: Mapping[str, Any] = {"events": [], "where": {}, "base": 0, "role": "champion", "purpose": ""}


def read_scorecard(data: bytes) -> Member:
    """Compile a scorecard to a model of the family ``bins``.

    Raises:
        ModelError: what is wrong with it.
    """
    content = _load(data)
    check_members(content, "a scorecard", (*_TOP, *_OPTIONAL))
    score = content["score"]
    check_members(score, "`score`", ("points", "odds", "double"))
    points, odds, double = (as_number(score[name], f"score.{name}") for name in ("points", "odds", "double"))
    if odds <= 0 or double == 0:
        raise ModelError("`score.odds` was not above 0, or `score.double` was 0")
    step = math.log(2.0) / double
    rows = content["characteristics"]
    if not isinstance(rows, list) or not rows:
        raise ModelError("`characteristics` was not a list of at least one")
    inputs, edges, weights = [], [], []
    for row in rows:
        check_members({"missing": 0, **row} if isinstance(row, dict) else row, "a characteristic", _ROW)
        inputs.append(_input(row["input"]))
        cuts, found = _bins(row["bins"], inputs[-1].name)
        edges.append(cuts)
        weights.append([as_number(row.get("missing", 0), "missing"), *found])
    sizes = [len(one) for one in weights]
    starts = np.cumsum([0, *sizes[:-1]])
    if not isinstance(content["where"], dict):
        raise ModelError("`where` was not an object")
    for name in ("id", "owner", "role", "purpose"):
        if not isinstance(content[name], str) or len(content[name]) > 128:
            raise ModelError(f"`{name}` was not a short text")
    return Member(
        id=content["id"],
        family="bins",
        inputs=as_inputs([list(item) for item in inputs]),
        arrays={
            "edges": np.array([cut for one in edges for cut in one], np.float64),
            "first": np.cumsum([0, *map(len, edges)]).astype(np.int32),
            "terms": np.array([(at, -1, int(start), 0) for at, start in enumerate(starts)], np.int32),
            "weights": np.array([step * point for one in weights for point in one], np.float64),
            "bias": np.array([math.log(odds) + step * (as_number(content["base"], "base") - points)]),
        },
        on=as_texts(content["events"], "events", at_least=0),
        where={name: as_texts(values, f"where.{name}") for name, values in content["where"].items()},
        role=content["role"],
        card={"library": "scorecard", "owner": content["owner"], "purpose": content["purpose"]},
    )


_ROW = ("input", "bins", "missing")


def _load(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise ModelError(f"scorecard has {len(data)} bytes, expected at most {MAX_BYTES}")
    if b"&" in data or b"*" in data or b"!" in data:
        raise ModelError("a scorecard has no anchors, aliases or tags")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise ModelError(f"scorecard is not YAML ({' '.join(str(problem).split())})") from None
    if not isinstance(content, dict) or content.get("kind") != "Scorecard":
        raise ModelError("expected a document with `kind: Scorecard`")
    return {**_OPTIONAL, **content}


def _input(value: object) -> Input:
    if isinstance(value, str):
        return Input(value)
    item = {"transform": "identity", "argument": "", **value} if isinstance(value, dict) else value
    return as_inputs([item])[0]


def _bins(value: object, name: str) -> tuple[list[float], list[float]]:
    """Return edges and points; ``below: b`` holds up to, not with, b, the last bin has no bound."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise ModelError(f"`bins` of `{name}` was not a list of at least one")
    edges = []
    for at, item in enumerate(value):
        last = at == len(value) - 1
        check_members(item, f"a bin of `{name}`", ("points",) if last else ("below", "points"))
        if not last:
            # The table has "at or below".
            edges.append(math.nextafter(as_number(item["below"], "below"), -math.inf))
    if edges != sorted(set(edges)):
        raise ModelError(f"`below` of `{name}` does not rise")
    return edges, [as_number(item["points"], "points") for item in value]
