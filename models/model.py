"""A loaded model file: one champion, and whatever else is scored beside it, as one table.

Parity law: :meth:`Model.probabilities` equals the library's own score to 1e-9 for every family. An input that
is missing is treated as the library treats an absent key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fraudstream.models import kernel_score
from fraudstream.models.checks import MAX_INPUTS
from fraudstream.models.inputs import F64, I64, U8, Columns, Input, ModelError, names_read
from fraudstream.models.kernel_inputs import transform_inputs
from fraudstream.models.kernel_score import Table
from fraudstream.models.members import ROLES, Member, check_member
from fraudstream.models.table import build_table, union

MAX_MEMBERS = 2_000


@dataclass(frozen=True)
class Scope:
    """For which rows models score; layout in :func:`fraudstream.models.kernel_score.score_members`."""

    begin: I64
    conditions: I64
    allowed: U8


@dataclass(frozen=True)
class Model:
    """The models of a file; ``version`` is the hash of its bytes."""

    version: str
    members: tuple[Member, ...]
    inputs: tuple[Input, ...]
    table: Table
    champion: int
    """Place of the model whose score decides."""
    data: bytes
    """The file."""

    @property
    def on(self) -> tuple[str, ...]:
        """Event types that the champion scores; none: all."""
        return self.members[self.champion].on

    @property
    def training(self) -> Mapping[str, Any]:
        """How the champion was trained."""
        return self.members[self.champion].card

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Fields and features that the models read."""
        return names_read(self.inputs)

    def place(self, member: str) -> int:
        """Return where a model stands in the file.

        Raises:
            ModelError: it is not there.
        """
        for at, item in enumerate(self.members):
            if item.id == member:
                return at
        raise ModelError(f"no model `{member}` in the file; it has {', '.join(m.id for m in self.members)}")

    def transform(self, binding: I64, columns: Columns, wanted: U8) -> tuple[F64, U8]:
        """Return the transformed inputs [n, k] and which are present."""
        x = np.zeros((len(wanted), len(self.inputs)))
        present = np.empty((len(wanted), len(self.inputs)), np.uint8)
        transform_inputs(binding, columns, wanted, x, present)
        return x, present

    def probabilities(self, x: F64, present: U8, wanted: U8) -> F64:
        """Return the scores [M, n] of the wanted rows, -1 for others and where a model has none."""
        result = np.empty((len(self.members), len(wanted)))
        kernel_score.score_matrix(self.table, len(self.members) - 1, x, present, wanted, result)
        return result

    def probability(self, x: F64, present: U8, wanted: U8) -> F64:
        """Return the champion's fraud probability [n] of the wanted rows, -1 for others."""
        result: F64 = self.probabilities(x, present, wanted)[self.champion]
        return result

    def score(self, binding: I64, columns: Columns, wanted: U8, scope: Scope) -> I64:
        """Return scores [M, n] in millionths of the rows that each model wants, -1 (missing) for others."""
        n = len(wanted)
        result = np.empty((len(self.members), n))
        kernel_score.score_members(
            self.table,
            binding,
            columns,
            wanted,
            scope.begin,
            scope.conditions,
            scope.allowed,
            result,
        )
        micro = np.empty((len(self.members), n), np.int64)
        kernel_score.to_micro(result, micro)
        return micro


def make_model(members: Sequence[Member], data: bytes) -> Model:
    """Return the model of members that may be hostile.

    Raises:
        ModelError: a member can not be scored, or they do not fit together.
    """
    if not 0 < len(members) <= MAX_MEMBERS:
        raise ModelError(f"a file has 1 to {MAX_MEMBERS} models, this one {len(members)}")
    seen: set[str] = set()
    for member in members:
        check_member(member)
        if member.id in seen:
            raise ModelError(f"two models with the name `{member.id}`")
        if missing := [part for part in member.parts if part not in seen]:
            raise ModelError(f"blend `{member.id}`: part `{missing[0]:.64}` does not stand before it")
        if member.role not in ROLES:
            raise ModelError(f"model `{member.id}` has a role that is not one of {', '.join(ROLES)}")
        seen.add(member.id)
    champions = [at for at, member in enumerate(members) if member.role == "champion"]
    if len(champions) != 1:
        raise ModelError(f"a file has one champion, this one {len(champions)}")
    inputs = union(members)
    if len(inputs) > MAX_INPUTS:
        raise ModelError(f"the models read {len(inputs)} inputs, expected at most {MAX_INPUTS}")
    version = "sha256:" + hashlib.sha256(data).hexdigest()
    return Model(version, tuple(members), inputs, build_table(members, inputs), champions[0], data)
