"""Which blocks of rules with `limits` are alerts: counted over all rows in log order, as a worker does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Effect
from fraudstream.rules.compiler.program import compile_outputs
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.evaluate import ACTS, load_kept, outputs_of, rule_key, save_kept
from fraudstream.stream.backtest.layout import Kind
from fraudstream.stream.backtest.reader import ColumnRunner, FeatureLog, Group, words_of
from fraudstream.stream.brakes import Brakes, limited_rules
from fraudstream.stream.decide import row_mask
from fraudstream.stream.progress import Progress

I64 = NDArray[np.int64]


def limited_rows(log: FeatureLog, bundle: Bundle, rules: Sequence[DeclaredRule]) -> dict[str, I64]:
    """Return the rows whose block by a rule is an alert because of the rule's limit, by rule id.

    Args:
        log: the rows.
        bundle: which rules have limits.
        rules: as declared.
    """
    declared = {rule.id: rule for rule in rules}
    found: dict[str, I64] = {}
    wanted: dict[str, str] = {}
    for rule in limited_rules(bundle):
        text = f"{rule_key(declared[rule.id])} {rule.limit}"
        name = f"limit-{hashlib.sha256(text.encode()).hexdigest()}.npz"
        known = load_kept(log.directory / at.MATCHES / name, 1)
        if known is None:
            wanted[rule.id] = name
        else:
            found[rule.id] = known[0]
    if wanted:
        for rule_id, rows in _judged(log, bundle, {name: declared[name] for name in wanted}).items():
            save_kept(log.directory / at.MATCHES / wanted[rule_id], [rows], (0, 0))
            found[rule_id] = rows
    return found


def _judged(log: FeatureLog, bundle: Bundle, rules: Mapping[str, DeclaredRule]) -> dict[str, I64]:
    """Count events and blocks of rules over all rows, each partition by itself."""
    outputs = [output for rule in rules.values() for output in outputs_of(rule)]
    numbered, begin = [], 0
    for rule in bundle.rules:
        if rule.id not in rules:
            continue
        begin = sum(len(outputs_of(rules[name])) for name in list(rules)[: list(rules).index(rule.id)])
        split = tuple(Effect(begin + ACTS + number, part.score) for number, part in enumerate(rule.split))
        numbered.append(replace(rule, index=begin, gate=begin + 1, split=split))
    small = replace(bundle, rules=tuple(numbered))
    brakes: dict[int, Brakes] = {}
    runner = ColumnRunner(log, compile_outputs(outputs))
    found: dict[str, list[I64]] = {rule.id: [] for rule in numbered}
    with Progress("judge limits", log.rows, "rows", 2.0) as progress:
        for group, table in log.tables([*runner.names, at.AS_OF], log.groups):
            true, _ = runner.evaluate(table, group.rows)
            kind, _ = words_of(table.column(at.KIND), group.rows)
            as_of, _ = words_of(table.column(at.AS_OF), group.rows)
            for partition, inside in _pieces(log, group):
                if partition not in brakes:
                    brakes[partition] = Brakes(small)
                counted = row_mask((kind == Kind.DECIDED) & inside)
                limited = brakes[partition].judge(true, counted, np.ascontiguousarray(as_of))
                for number, rule in enumerate(numbered):
                    bits = np.unpackbits(limited[number].view(np.uint8), bitorder="little")[: group.rows]
                    found[rule.id].append(np.flatnonzero(bits) + group.first)
            progress.at(group.first + group.rows)
    return {name: np.sort(np.concatenate([np.zeros(0, np.int64), *rows])) for name, rows in found.items()}


def _pieces(log: FeatureLog, group: Group) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return the partitions of a row group with their rows, bool [rows]."""
    rows = np.arange(group.first, group.first + group.rows)
    partition, _ = log.runs.sources_of(rows)
    return [(int(one), partition == one) for one in np.unique(partition).tolist()]
