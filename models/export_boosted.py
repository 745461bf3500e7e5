"""LightGBM's binary classifiers to members: the text of ``Booster.dump_model()`` through the same tree table.

Only the dump is read, so that LightGBM is needed where a model is fitted and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import Member


def export_lightgbm(
    dump: Mapping[str, Any], inputs: Sequence[Input], member: str = "champion", **more: Any
) -> Member:
    """Return a fitted booster as a member; a missing input is what LightGBM takes NaN for.

    Args:
        dump: ``Booster.dump_model()``.
        inputs: the features in the order of the training matrix.
        member: its name.
        more: further members of :class:`Member`.

    Raises:
        ModelError: it is no binary classifier on numeric features.
    """
    objective = str(dump.get("objective", "")).split()
    factor = next((float(word[8:]) for word in objective if word.startswith("sigmoid:")), 1.0)
    if objective[:1] != ["binary"] or dump.get("average_output"):
        raise ModelError(f"a booster with objective `{' '.join(objective)}` has no export; fit `binary`")
    if dump["max_feature_idx"] + 1 != len(inputs):
        raise ModelError(f"the booster reads {dump['max_feature_idx'] + 1} features, {len(inputs)} are named")
    trees = _Trees()
    roots = [trees.add(one["tree_structure"]) for one in dump["tree_info"]]
    return Member(
        id=member,
        family="boosted",
        inputs=tuple(inputs),
        arrays={
            "nodes": np.array(trees.nodes, np.int32).reshape(-1, 4),
            "threshold": np.array(trees.threshold, np.float64),
            "values": np.array(trees.values, np.float64),
            "roots": np.array(roots, np.int32),
            "factor": np.array([factor]),
        },
        **more,
    )


class _Trees:
    def __init__(self) -> None:
        self.nodes: list[list[int]] = []
        self.threshold: list[float] = []
        self.values: list[float] = []

    def add(self, structure: Mapping[str, Any]) -> int:
        root = self._place(1)
        waiting = [(structure, root)]
        while waiting:
            node, at = waiting.pop(0)
            if "split_feature" not in node:
                self.nodes[at] = [-1, len(self.values), 0, -1]
                self.values.append(float(node["leaf_value"]))
                continue
            left = self._place(2)
            self.nodes[at] = [int(node["split_feature"]), left, _missing(node), -1]
            self.threshold[at] = float(node["threshold"])
            waiting += [(node["left_child"], left), (node["right_child"], left + 1)]
        return root

    def _place(self, count: int) -> int:
        self.nodes += [[-1, 0, 0, -1] for _ in range(count)]
        self.threshold += [0.0] * count
        return len(self.nodes) - count


def _missing(node: Mapping[str, Any]) -> int:
    """Return 1 if NaN goes right: as the node says, or where 0 goes if the tree never saw NaN."""
    if node["decision_type"] != "<=" or not math.isfinite(float(node["threshold"])):
        raise ModelError(f"a split with `{node['decision_type']}` has no export; use numeric features")
    if node["missing_type"] == "NaN":
        return 0 if node["default_left"] else 1
    if node["missing_type"] == "None":
        return int(float(node["threshold"]) < 0.0)
    raise ModelError("fit with `zero_as_missing=false`: zeros that count as missing have no export")
