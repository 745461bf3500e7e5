"""Runs rules over a feature log: which rows each of them matched.

What a rule matched is kept beside the rows under the hash of what the rule compiles to, so that a run after a
change of one rule reads the columns of that rule and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.compiler.program import Program, compile_outputs
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.terms import Checked
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.kernel_rows import collect_rows, count_bits
from fraudstream.stream.backtest.layout import Kind
from fraudstream.stream.backtest.reader import ColumnRunner, FeatureLog, words_of
from fraudstream.stream.decide import row_mask
from fraudstream.stream.progress import Progress

I64 = NDArray[np.int64]

OUTPUTS_MAX = 4_000
"""Of one pass: masks of that many outputs over a row group are 128 MiB."""
ACTS = 2
"""Outputs of a rule before those on which it acts: whole condition and gate."""


@dataclass(frozen=True, slots=True)
class RuleRows:
    """What a rule did on a feature log."""

    full: I64
    """Rows where its whole condition held, ascending; rows that repeat an earlier one are left out."""
    acts: tuple[I64, ...]
    """Disjoint rows on which it acts with each of its points: score bands, canaries. Empty: ``full``."""
    evaluated: int
    """Rows on which its event types and effective interval applied."""
    unknown: int


class _Wanted(NamedTuple):
    key: str
    outputs: tuple[Checked, ...]


def outputs_of(rule: DeclaredRule) -> tuple[Checked, ...]:
    """Return what has to be evaluated of a rule: whole condition, gate, parts on which it acts."""
    assert rule.full is not None
    assert rule.gate is not None
    return (rule.full, rule.gate, *(output for output, _ in rule.acts))


def rule_key(rule: DeclaredRule) -> str:
    """Return the hash of what a rule compiles to: equal ones match the same rows of one feature log."""
    return compile_outputs(outputs_of(rule), blocks=False).digest


def score_rows(log: FeatureLog, at_micro: int) -> I64:
    """Return the decided rows with a champion's score of at least ``at_micro``, ascending."""
    place = log.directory / at.MATCHES / f"score-{at_micro}.npz"
    if (known := load_kept(place, 1)) is not None:
        return known[0]
    found: list[I64] = []
    with Progress("read scores", log.rows, "rows", 2.0) as progress:
        for group, table in log.tables([at.SCORE, at.KIND], log.groups):
            score, state = words_of(table.column(at.SCORE), group.rows)
            kind, _ = words_of(table.column(at.KIND), group.rows)
            reached = (state != 0) & (score >= at_micro) & (kind == Kind.DECIDED)
            found.append(np.flatnonzero(reached) + group.first)
            progress.at(group.first + group.rows)
    rows = np.concatenate([np.zeros(0, np.int64), *found])
    save_kept(place, [rows], (0, 0))
    return rows


def evaluate(
    log: FeatureLog, rules: Sequence[DeclaredRule], *, keep: bool = True, text: str = "run rules"
) -> dict[str, RuleRows]:
    """Return what each rule did, by rule id.

    Args:
        log: where the rows are.
        rules: rules without errors; drafts may be among them.
        keep: read and write what is kept of earlier runs.
        text: begins the line of progress.
    """
    found: dict[str, RuleRows] = {}
    wanted: dict[str, _Wanted] = {}
    for rule in rules:
        item = _Wanted(rule_key(rule), outputs_of(rule))
        known = load_kept(log.directory / at.MATCHES / f"{item.key}.npz", len(item.outputs)) if keep else None
        if known is None:
            wanted[rule.id] = item
        else:
            found[rule.id] = _rule_rows(known[:-1], known[-1])
    pending = list(wanted.items())
    while pending:
        taken: list[tuple[str, _Wanted]] = []
        outputs = 0
        while pending and (not taken or outputs + len(pending[0][1].outputs) <= OUTPUTS_MAX):
            taken.append(pending.pop(0))
            outputs += len(taken[-1][1].outputs)
        found |= _pass(log, dict(taken), text, keep=keep)
    return {rule.id: found[rule.id] for rule in rules}


def _pass(log: FeatureLog, wanted: Mapping[str, _Wanted], text: str, *, keep: bool) -> dict[str, RuleRows]:
    """Evaluate rules together, in one pass over the columns that they read."""
    outputs = [output for item in wanted.values() for output in item.outputs]
    begins = np.cumsum([0, *(len(item.outputs) for item in wanted.values())])[:-1]
    gates = begins + 1
    collected = np.setdiff1d(np.arange(len(outputs)), gates)
    program = compile_outputs(outputs, blocks=False)
    pieces: list[list[I64]] = [[] for _ in outputs]
    evaluated, unknown = np.zeros(len(outputs), np.int64), np.zeros(len(outputs), np.int64)

    def take(
        first: int, true: NDArray[np.uint64], maybe: NDArray[np.uint64], active: NDArray[np.uint64]
    ) -> None:
        counts, more = np.empty(len(outputs), np.int64), np.empty(len(outputs), np.int64)
        count_bits(true, active, counts)
        count_bits(maybe, active, more)
        evaluated[:] += counts
        unknown[:] += more
        sizes = counts[collected]
        ends = np.cumsum(sizes)
        rows = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
        collect_rows(true, active, first, collected, ends - sizes, rows)
        for output, begin, end in zip(collected.tolist(), ends - sizes, ends, strict=True):
            if end > begin:
                pieces[output].append(rows[begin:end])

    run_program(log, program, take, text)
    found: dict[str, RuleRows] = {}
    for (rule, item), begin in zip(wanted.items(), begins.tolist(), strict=True):
        parts = [
            np.concatenate([np.zeros(0, np.int64), *pieces[at_]])
            for at_ in range(begin, begin + len(item.outputs))
        ]
        counts = (int(evaluated[begin + 1]), int(unknown[begin]))
        if keep:
            save_kept(log.directory / at.MATCHES / f"{item.key}.npz", parts, counts)
        found[rule] = _rule_rows(parts, np.array(counts))
    return found


Take = Callable[[int, NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]], None]
"""(first row, true [outputs, W], unknown [outputs, W], decided rows [W]) of a row group."""


def run_program(log: FeatureLog, program: Program, take: Take, text: str) -> None:
    """Run a program over all rows, a row group at a time."""
    runner = ColumnRunner(log, program)
    with Progress(text, log.rows, "rows", 2.0) as progress:
        for group, table in log.tables(runner.names, log.groups):
            kind, _ = words_of(table.column(at.KIND), group.rows)
            true, unknown = runner.evaluate(table, group.rows)
            take(group.first, true, unknown, row_mask(kind == Kind.DECIDED))
            progress.at(group.first + group.rows)


def _rule_rows(parts: Sequence[I64], counts: I64) -> RuleRows:
    return RuleRows(parts[0], tuple(parts[ACTS:]), int(counts[0]), int(counts[1]))


def load_kept(path: Path, parts: int) -> list[I64] | None:
    """Return kept arrays and the counts behind them; None: there are none, or not whole."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as file:
            found, counts = [file[f"p{at_}"] for at_ in range(parts)], file["counts"]
            return [*found, counts] if file["digest"].tobytes() == _digest(found, counts) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save_kept(path: Path, parts: Sequence[I64], counts: tuple[int, int]) -> None:
    """Keep arrays and two counts with their digest."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
    numbers = np.array(counts, np.int64)
    digest = np.frombuffer(_digest(parts, numbers), np.uint8)
    with contextlib.suppress(OSError):  # a feature log that can only be read is slower, not wrong
        arrays: dict[str, Any] = {f"p{at_}": item for at_, item in enumerate(parts)}
        np.savez(part, digest=digest, counts=numbers, **arrays)
        part.replace(path)


def _digest(parts: Sequence[I64], counts: I64) -> bytes:
    found = hashlib.sha256(counts.tobytes())
    for item in parts:
        found.update(item.tobytes())
    return found.digest()
