"""Checked models to the one table that the kernel reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fraudstream.models.inputs import Input
from fraudstream.models.kernel_score import MEMBER_WIDTH, Table
from fraudstream.models.members import BLENDS, FAMILIES, Array, Member

_SHAPES: Mapping[str, tuple[type, tuple[int, ...]]] = {
    "inputs": (np.int32, ()),
    "reals": (np.float64, ()),
    "roots": (np.int32, ()),
    "nodes": (np.int32, (4,)),
    "threshold": (np.float64, ()),
    "mass": (np.float64, ()),
    "votes": (np.float64, (2,)),
    "bayes": (np.int32, ()),
    "prior": (np.float64, (2,)),
    "begin": (np.int32, ()),
    "rows": (np.int32, (2,)),
    "gauss": (np.float64, (3,)),
    "terms": (np.int32, (4,)),
    "edges": (np.int32, ()),
    "parts": (np.int32, ()),
}


class _Pools:
    """Grow pool by pool; ``add`` returns where the part begins."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {
            name: [np.zeros((0, *tail), kind)] for name, (kind, tail) in _SHAPES.items()
        }
        self._size = dict.fromkeys(_SHAPES, 0)

    def size(self, pool: str) -> int:
        return self._size[pool]

    def add(self, pool: str, array: Array) -> int:
        begin = self._size[pool]
        self._parts[pool].append(np.asarray(array, _SHAPES[pool][0]))
        self._size[pool] += len(array)
        return begin

    def table(self, members: Array) -> Table:
        pools = {name: np.ascontiguousarray(np.concatenate(parts)) for name, parts in self._parts.items()}
        return Table(members=members, **pools)


def union(members: Sequence[Member]) -> tuple[Input, ...]:
    """Return the inputs of all models, each once, in the order in which they are first read."""
    return tuple(dict.fromkeys(item for member in members for item in member.inputs))


def build_table(members: Sequence[Member], inputs: Sequence[Input]) -> Table:
    """Return the table of models that :func:`check_member` accepted.

    Args:
        members: the models; parts of a blend before it.
        inputs: :func:`union` of them.
    """
    column = {item: at for at, item in enumerate(inputs)}
    place = {member.id: at for at, member in enumerate(members)}
    heads = np.zeros((len(members), MEMBER_WIDTH), np.int64)
    pools = _Pools()
    pools.add("begin", np.zeros(1))
    for at, member in enumerate(members):
        head = heads[at]
        head[0] = FAMILIES[member.family]
        head[1] = pools.add("inputs", np.array([column[item] for item in member.inputs], np.int32))
        head[2] = len(member.inputs)
        head[8] = -1 if member.calibration is None else pools.add("reals", np.array(member.calibration))
        _ADD[member.family](pools, head, member.arrays)
        if member.family == "blend":
            head[4] = pools.add("parts", np.array([place[part] for part in member.parts], np.int32))
            head[5], head[6] = len(member.parts), BLENDS[member.blend]
    return pools.table(heads)


def _numbers(pools: _Pools, head: Array, *arrays: Array) -> None:
    head[3] = pools.size("reals")
    for array in arrays:
        pools.add("reals", array.reshape(-1))


def _linear(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _numbers(pools, head, a["mean"], np.sqrt(a["var"]), a["weights"], a["bias"])


def _trees(pools: _Pools, head: Array, a: Mapping[str, Array], leaves: int) -> None:
    """Add nodes with absolute places: children, alternates, and leaves from ``leaves`` on."""
    nodes = a["nodes"].copy()
    base = pools.size("nodes")
    branch = nodes[:, 0] >= 0
    nodes[:, 1] += np.where(branch, base, leaves)
    nodes[:, 3] = np.where(branch & (nodes[:, 3] >= 0), nodes[:, 3] + base, -1)
    pools.add("nodes", nodes)
    pools.add("threshold", a["threshold"])
    head[4], head[5] = pools.add("roots", a["roots"] + base), len(a["roots"])


def _forest(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _trees(pools, head, a, pools.size("votes"))
    head[9] = pools.add("reals", a["weights"])
    pools.add("votes", a["votes"])
    blocks = pools.size("prior")
    pools.add("bayes", np.where(a["bayes"] >= 0, a["bayes"] + blocks, -1))
    pools.add("prior", a["prior"])
    pools.add("begin", a["begin"][1:] + pools.size("rows"))
    pools.add("rows", a["rows"])
    pools.add("gauss", a["gauss"])


def _boosted(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _numbers(pools, head, a["factor"])
    _trees(pools, head, a, pools.size("votes"))
    pools.add("votes", np.stack([np.zeros(len(a["values"])), a["values"]], axis=1))
    pools.add("bayes", np.full(len(a["values"]), -1))


def _space(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _numbers(pools, head, a["limits"])
    # Masses stand beside nodes; those of other families before have none.
    pools.add("mass", np.zeros(pools.size("nodes") - pools.size("mass")))
    _trees(pools, head, a, 0)
    pools.add("mass", a["mass"])


def _bayes(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _numbers(pools, head, a["prior"], a["gauss"])


def _bins(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _numbers(pools, head, a["bias"])
    head[7] = pools.add("edges", a["first"] + pools.add("reals", a["edges"]))
    terms = a["terms"].copy()
    terms[:, 2] += pools.add("reals", a["weights"])
    head[4], head[5] = pools.add("terms", terms), len(terms)


def _blend(pools: _Pools, head: Array, a: Mapping[str, Array]) -> None:
    _numbers(pools, head, a["weights"], a["bias"])


_ADD = {
    "linear": _linear,
    "forest": _forest,
    "boosted": _boosted,
    "space": _space,
    "bayes": _bayes,
    "bins": _bins,
    "blend": _blend,
}
