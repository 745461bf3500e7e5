"""`fraudstream models`: the registry from the command line."""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

import fraudstream.models
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.learners import make_learner
from fraudstream.models.prequential import learn_until, score_days
from fraudstream.models.protocol import (
    DAY_MS,
    PUBLISHED,
    SUSPECT_AP,
    SUSPECT_CP,
    Quality,
    held_out,
    measure,
)
from fraudstream.models.registry_store import Entry, Registry
from fraudstream.models.train import Examples
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.compiler.source import render_all
from fraudstream.stream.errors import BadUse, Exit, Refusal
from fraudstream.stream.handbook import Table, collect, read_table
from fraudstream.stream.shipped import read_rules

SUMMARY = "the registry: list, train, evaluate, promote, roll back models"
EXAMPLE = """\
example:
  fraudstream models evaluate --data handbook.parquet
  fraudstream models train forest --registry models/ --data handbook.parquet --until 2018-08-08
  fraudstream models promote forest --registry models/ --why "AP 0.75 on the week of 2018-08-08"
  fraudstream models rollback --registry models/ --why "alarm: mean score doubled"

Workers whose FRAUDSTREAM_MODEL_PATH is the registry's active.model journal each change at an offset.
"""
TEST_WEEK = date(2018, 8, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLE
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    texts = {
        "list": "print models, versions, roles and metrics",
        "train": "learn a model of the registry from labelled transactions and keep the version",
        "evaluate": "the Fraud Detection Handbook's protocol, beside its published figures",
        "promote": "put a version in force",
        "rollback": "put back in force what was before",
    }
    made = {
        name: actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in texts.items()
    }
    for name in ("list", "train", "promote", "rollback"):
        made[name].add_argument("--registry", type=Path, required=True, metavar="DIR")
    for name in ("train", "promote"):
        made[name].add_argument("model", metavar="MODEL")
    for name in ("train", "evaluate"):
        made[name].add_argument(
            "--data",
            type=Path,
            required=True,
            metavar="F",
            help="Parquet file of the handbook's transactions",
        )
        made[name].add_argument(
            "--rules", type=Path, metavar="DIR", help="schema and features (default: shipped)"
        )
        made[name].add_argument("--delay", type=int, default=7, metavar="DAYS", help="of labels (default: 7)")
        made[name].add_argument("--learn-days", type=int, default=68, metavar="DAYS", help="default: 68")
    made["train"].add_argument("--until", type=date.fromisoformat, required=True, metavar="DATE")
    _add_evaluate(made["evaluate"])
    made["promote"].add_argument(
        "--version", metavar="HASH", help="its beginning will do (default: the newest)"
    )
    made["promote"].add_argument(
        "--role", choices=("champion", "challenger", "shadow"), default="champion", help="default: champion"
    )
    made["promote"].add_argument("--force", action="store_true", help="although a gate is not reached")
    for name in ("promote", "rollback"):
        made[name].add_argument("--why", required=True, metavar="TEXT", help="goes to the history")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all of the registry")
    parser.add_argument("--registry", type=Path, metavar="DIR", help="default: the shipped handbook models")
    parser.add_argument("--from", dest="begin", type=date.fromisoformat, default=TEST_WEEK, metavar="DATE")
    parser.add_argument("--days", type=int, default=7, metavar="N", help="default: 7")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures there, too")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    actions = {
        "list": _list,
        "train": _train,
        "evaluate": _evaluate,
        "promote": _promote,
        "rollback": _rollback,
    }
    try:
        return actions[args.action](args)
    except ModelError as problem:
        raise BadUse(str(problem)) from None


def _list(args: argparse.Namespace) -> int:
    registry = Registry(args.registry)
    versions, history = registry.versions(), registry.history()
    roles = history[-1].roles if history else {}
    rows = [("model", "family", "role", "version", "AP", "owner")]
    for name, entry in registry.entries().items():
        for version in versions.get(name, ["-"]):
            role = roles[name][0] if name in roles and roles[name][1] == version else "-"
            card = {} if version == "-" else registry.version(version).training
            ap = card.get("metrics", {}).get("average_precision")
            shown = "-" if ap is None else f"{ap:.3f}"
            rows.append((name, entry.family, role, version[:19], shown, entry.owner))
    _print_rows(rows)
    return Exit.OK


def _train(args: argparse.Namespace) -> int:
    registry = Registry(args.registry)
    entries = registry.entries()
    entry = registry.entry(args.model)
    if entry.scorecard is not None:
        print(json.dumps({"model": entry.id, "version": registry.add([entry.scorecard])}))
        return Exit.OK
    bundle = _bundle(args.rules)
    inputs = _inputs([entry], entries)
    table = read_table(args.data)
    examples = _examples(table, bundle, inputs, args.delay)
    end_ms = _midnight_ms(args.until)
    begin_ms = end_ms - 7 * DAY_MS
    learn_ms = end_ms - args.learn_days * DAY_MS
    learner = make_learner(entry, entries, inputs)
    score = score_days(learner, examples, learn_ms, begin_ms, 7)
    quality = measure(table.transactions(), score, held_out(table.transactions(), begin_ms, 7))
    learn_until(learner, examples, learn_ms, end_ms - DAY_MS, end_ms)
    past = registry.versions().get(entry.id, [])
    card = {
        "owner": entry.owner,
        "purpose": entry.purpose,
        "family": entry.family,
        "settings": dict(entry.settings),
        "data": {"rows": len(table.tx_id), "first_ms": int(table.time_ms[0])},
        "window": [learn_ms, end_ms],
        "label_delay_days": args.delay,
        "schema": bundle.schema.hash,
        "features": bundle.features.hash,
        "code": installed("fraudstream"),
        "river": installed("river"),
        "parent": past[-1] if past else None,
        "metrics": _metrics(quality),
    }
    members = learner.version(entry.id, card)
    if not members:
        raise Refusal(f"no label was known before {args.until}; nothing was learned")
    print(json.dumps({"model": entry.id, "version": registry.add(members), "metrics": card["metrics"]}))
    return Exit.OK


def _metrics(quality: Quality) -> dict[str, Any]:
    return {
        "roc_auc": round(quality.auc, 6),
        "average_precision": round(quality.ap, 6),
        "card_precision_100": round(quality.cp100, 6),
        "rows": quality.rows,
        "frauds": quality.frauds,
    }


def _evaluate(args: argparse.Namespace) -> int:
    registry = Registry(args.registry or shipped_registry())
    entries = registry.entries()
    names = args.models or list(entries)
    chosen = [registry.entry(name) for name in names]
    inputs = _inputs(chosen, entries)
    table = read_table(args.data)
    examples = _examples(table, _bundle(args.rules), inputs, args.delay)
    begin_ms = _midnight_ms(args.begin)
    data = table.transactions()
    rows = held_out(data, begin_ms, args.days)
    if not data.fraud[rows].any():
        raise BadUse(f"`{args.data}` has no fraud from {args.begin} on for {args.days} days")
    found: dict[str, Quality] = {}
    for entry in chosen:
        learner = make_learner(entry, entries, inputs)
        learn_ms = begin_ms - args.learn_days * DAY_MS
        found[entry.id] = measure(data, score_days(learner, examples, learn_ms, begin_ms, args.days), rows)
    _report(args, found, entries)
    if args.json is not None:
        figures = {name: _metrics(quality) for name, quality in found.items()}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return Exit.OK


def _report(args: argparse.Namespace, found: Mapping[str, Quality], entries: Mapping[str, Entry]) -> None:
    first = next(iter(found.values()))
    print(
        f"{args.days} days from {args.begin}, labels known after {args.delay} days: {first.rows:,} "
        f"transactions, {first.frauds} frauds; cards known to be compromised are left out\n"
    )
    rows: list[tuple[str, ...]] = [("system", "family", "AUC ROC", "AP", "CP@100")]
    for name, quality in found.items():
        figures = (f"{quality.auc:.3f}", f"{quality.ap:.3f}", f"{quality.cp100:.3f}")
        rows.append((name, entries[name].family, *figures))
    if args.begin == TEST_WEEK and args.days == args.delay == 7:
        for name, published in PUBLISHED.items():
            rows.append((f"{name} (published)", "-", *(f"{value:.3f}" for value in published)))
    _print_rows(rows)
    if args.delay >= 7:
        for name, quality in found.items():
            if quality.ap > SUSPECT_AP or quality.cp100 > SUSPECT_CP:
                print(f"\n{name}: above what an oracle limited by the delay reaches: look for a leak")


def _promote(args: argparse.Namespace) -> int:
    registry = Registry(args.registry)
    entry = registry.entry(args.model)
    version = registry.resolve(args.model, args.version)
    metrics = registry.version(version).training.get("metrics", {})
    if args.role == "champion" and not args.force:
        for name, least in entry.gates.items():
            if not metrics.get(name, -1.0) >= least:
                text = f"`{args.model}` has {name} {metrics.get(name)}, its gate is {least}"
                raise Refusal(f"{text}; train a better version, or say --force with a reason")
    done = registry.promote(args.model, version, args.role, at=_now(), by=getpass.getuser(), why=args.why)
    print(json.dumps(asdict(done)))
    return Exit.OK


def _rollback(args: argparse.Namespace) -> int:
    done = Registry(args.registry).rollback(at=_now(), by=getpass.getuser(), why=args.why)
    print(json.dumps(asdict(done)))
    return Exit.OK


def shipped_registry() -> Path:
    """Return the models that `evaluate` evaluates by default."""
    return Path(fraudstream.models.__path__[0]) / "handbook" / "registry"


def _bundle(directory: Path | None) -> Bundle:
    directory = directory or shipped_registry().parent / "rules"
    files = read_rules(directory)
    compiled = compile_sources(files)
    if compiled.bundle is None:
        raise BadUse(render_all(compiled.errors, files, f"{directory}/"))
    return compiled.bundle


def _inputs(chosen: Sequence[Entry], entries: Mapping[str, Entry]) -> tuple[Input, ...]:
    """Return the inputs of models and of the parts of blends, each once."""
    wanted: dict[Input, None] = {}
    for entry in chosen:
        for one in (entry, *(entries[part] for part in entry.parts if part in entries)):
            wanted.update(dict.fromkeys(one.inputs))
    return tuple(wanted)


def _examples(table: Table, bundle: Bundle, inputs: Sequence[Input], delay_days: int) -> Examples:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("events", total=1.0)
        return collect(table, bundle, inputs, delay_days, lambda done: progress.update(task, completed=done))


def _midnight_ms(day: date) -> int:
    return int(np.datetime64(day, "ms").astype(np.int64))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
