"""`fraudstream features`: the catalogue of features, who reads them and what they cost."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fraudstream.rules.bundle import Mode
from fraudstream.rules.compiler.compile import Compiled, compile_sources
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.lineage import Entry, catalogue
from fraudstream.rules.compiler.shape import duration_text
from fraudstream.rules.compiler.source import render_all
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.stream.commands import worker
from fraudstream.stream.envelope import EnvelopeError, read_envelopes
from fraudstream.stream.errors import BadUse, Exit
from fraudstream.stream.feature_log import write_feature_log
from fraudstream.stream.progress import Progress
from fraudstream.stream.shipped import default_rules, named_model, read_rules

SUMMARY = "list features: what they mean, who reads them, what they cost"
CHAMPION = "champion"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="one line for each feature")
    listing.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    listing.add_argument("--dead", action="store_true", help="only those that nothing in force reads")
    listing.set_defaults(does=_list)
    show = actions.add_parser("show", help="one feature: meaning, readers, shared history")
    show.add_argument("name", metavar="NAME")
    show.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    show.set_defaults(does=_show)
    fill = actions.add_parser(
        "backfill", help="run the worker so that features that are warming are filled from the input"
    )
    fill.add_argument("--shadow", action="store_true", help="see `fraudstream worker`")
    fill.add_argument("--accept-short-history", action="store_true", help="see `fraudstream worker`")
    fill.set_defaults(does=_backfill)
    log = actions.add_parser("log", help="write an exported features topic as Parquet, one folder a day")
    log.add_argument("--input", default="-", metavar="F", help="of `export`; `-` is standard input (default)")
    log.add_argument("--output", type=Path, required=True, metavar="DIR", help="an empty or new directory")
    log.set_defaults(does=_log)
    for action in (listing, show):
        action.add_argument("--model", metavar="F", help="model file, or none (default: the shipped model)")
        action.add_argument("--json", action="store_true", help="as JSON")
        action.add_argument(
            "--measure", action="store_true", help="measure time and memory on made-up events first"
        )
    parser.epilog = (
        "examples:\n"
        "  fraudstream features list rules/ --dead\n"
        "  fraudstream features list rules/ --measure --json\n"
        "  fraudstream features show account.sent_count_1h\n"
        "  fraudstream features backfill      (instead of `fraudstream worker`, once)\n"
        "  fraudstream export --topic features | fraudstream features log --output feature-log/"
    )


def run(args: argparse.Namespace) -> int:
    """Do one action."""
    does: Callable[[argparse.Namespace], int] = args.does
    return does(args)


def _backfill(args: argparse.Namespace) -> int:
    """Run the worker: it builds the state anew from the oldest input record, then goes on deciding."""
    return worker.run(
        argparse.Namespace(shadow=args.shadow, accept_short_history=args.accept_short_history, backfill=True)
    )


def _log(args: argparse.Namespace) -> int:
    """Write the feature log and say how much it was."""
    with contextlib.ExitStack() as stack:
        lines = sys.stdin.buffer if args.input == "-" else stack.enter_context(Path(args.input).open("rb"))
        try:
            written, again = write_feature_log(read_envelopes(lines, args.input), args.output)
        except EnvelopeError as problem:
            raise BadUse(str(problem)) from None
    print(json.dumps({"rows": written, "came_again": again}))
    return Exit.OK


class _Catalogue:
    """A directory's features."""

    def __init__(self, declared: Declared, compiled: Compiled, model: str | None, *, measured: bool) -> None:
        loaded = named_model(model)
        inputs = {} if loaded is None else {CHAMPION: list(loaded.reads)}
        self.entries = catalogue(declared, inputs)
        self.costs: dict[str, Any] = {}
        if measured:
            # Windows and their kernels are loaded by whoever measures, not by whoever looks.
            from fraudstream.stream import feature_costs  # noqa: PLC0415

            assert compiled.bundle is not None
            done = 0

            def advance() -> None:
                nonlocal done
                done += 1
                progress.at(done)

            with Progress("measure", feature_costs.steps(compiled.bundle.features), "stores") as progress:
                self.costs = dict(feature_costs.measure(compiled.bundle, advance))

    def as_json(self, entry: Entry) -> dict[str, Any]:
        """Return an entry as a JSON object."""
        feature = entry.feature
        found: dict[str, Any] = {
            "name": feature.name,
            "meaning": entry.words,
            "aggregate": feature.agg.value,
            "key": list(feature.key),
            "of": list(feature.of),
            "window": _window(entry),
            "resolution": _resolution(entry),
            "where": entry.where or None,
            "outputs": [{"name": slot.name, "type": slot.type.value} for slot in feature.outputs],
            "family": entry.family,
            "rules": [
                {"id": use.rule, "mode": use.mode.value, "through": list(use.through)} for use in entry.uses
            ],
            "models": list(entry.models),
            "dead": not entry.alive,
            "shares_history_with": list(entry.shares),
        }
        cost = self.costs.get(feature.name)
        if cost is not None:
            found["cost"] = {
                "microseconds": round(cost.microseconds, 4),
                "bytes_per_key": round(cost.bytes_per_key, 1),
                "bytes_per_event": round(cost.bytes_per_event, 1),
            }
        return found


def _open(args: argparse.Namespace) -> _Catalogue | None:
    directory = args.directory or default_rules()
    files = read_rules(directory)
    compiled = compile_sources(files)
    if compiled.errors or compiled.declared is None:
        print(render_all(compiled.errors, files, f"{directory}/"), file=sys.stderr)
        return None
    return _Catalogue(compiled.declared, compiled, args.model, measured=args.measure)


def _list(args: argparse.Namespace) -> int:
    found = _open(args)
    if found is None:
        return Exit.FINDINGS
    chosen = [entry for entry in found.entries if not args.dead or not entry.alive]
    if args.json:
        print(json.dumps([found.as_json(entry) for entry in chosen], ensure_ascii=False, indent=1))
        return Exit.OK
    head = ["FEATURE", "KEY", "WINDOW", "RESOLUTION", "RULES", "MODELS", "SHARED"]
    if args.measure:
        head += ["US", "B/KEY", "B/EVENT"]
    rows = [[*head, "MEANING"]]
    for entry in chosen:
        row = [
            entry.feature.name,
            "+".join(entry.feature.key),
            _window(entry) or "-",
            _resolution(entry) or "-",
            str(sum(_runs(use.mode) for use in entry.uses)),
            str(len(entry.models)),
            str(len(entry.shares)),
        ]
        if args.measure:
            cost = found.costs[entry.feature.name]
            row += [f"{cost.microseconds:.3f}", f"{cost.bytes_per_key:.0f}", f"{cost.bytes_per_event:.0f}"]
        rows.append([*row, entry.words])
    for line in _aligned(rows):
        print(line)
    dead = sum(not entry.alive for entry in found.entries)
    kinds = len({entry.feature.key for entry in found.entries})
    print(
        f"\n{len(found.entries):,} features over {kinds} kinds of key; {dead:,} that nothing in force reads"
    )
    return Exit.OK


def _show(args: argparse.Namespace) -> int:
    found = _open(args)
    if found is None:
        return Exit.FINDINGS
    names = {entry.feature.name: entry for entry in found.entries}
    names |= {slot.name: entry for entry in found.entries for slot in entry.feature.outputs}
    if args.name not in names:
        hint = suggest(args.name, names)
        raise BadUse(f"no feature `{args.name}`" + (f"; {hint}" if hint else ""))
    entry = names[args.name]
    if args.json:
        print(json.dumps(found.as_json(entry), ensure_ascii=False, indent=1))
    else:
        print("\n".join(_lines(found, entry)))
    return Exit.OK


def _lines(found: _Catalogue, entry: Entry) -> Iterator[str]:
    feature = entry.feature
    yield f"{feature.name}: {entry.words}"
    window = _window(entry)
    yield (
        f"Key {' and '.join(feature.key)}; "
        + (f"window {window}, resolution {_resolution(entry)}" if window else "no window")
        + ("; from a family" if entry.family else "")
    )
    if entry.where:
        yield f"Filter: {entry.where}"
    yield f"Outputs: {', '.join(f'{slot.name} ({slot.type.value})' for slot in feature.outputs)}"
    yield ""
    if entry.uses:
        yield "Read by rules"
        width = max(len(use.rule) for use in entry.uses)
        for use in entry.uses:
            yield f"  {use.rule:<{width}}  {use.mode.value}, through {', '.join(use.through)}"
    else:
        yield "No rule reads it"
    yield f"Read by models: {', '.join(entry.models)}" if entry.models else "No model reads it"
    if not entry.alive:
        yield "Nothing in force reads it: it can go"
    if entry.shares:
        yield "Shares its history with " + ", ".join(entry.shares)
    cost = found.costs.get(feature.name)
    if cost is not None:
        yield (
            f"Measured: {cost.microseconds:.3f} us an event, as its share of its history; all features of "
            f"its key need {cost.bytes_per_key:.0f} bytes a key and {cost.bytes_per_event:.0f} an event more"
        )


def _runs(mode: Mode) -> bool:
    return mode in (Mode.LIVE, Mode.CANARY, Mode.SHADOW)


def _window(entry: Entry) -> str | None:
    window = entry.feature.window_ms
    return None if window is None else duration_text(window)


def _resolution(entry: Entry) -> str | None:
    feature = entry.feature
    if feature.window_ms is None:
        return None
    return duration_text(feature.resolution_ms) if feature.resolution_ms else "exact"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows with columns side by side; numbers stand right, the last column runs free."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if cell.replace(".", "").isdigit() else cell.ljust(width)
            for cell, width in zip(row[:-1], widths, strict=False)
        ]
        yield "  ".join([*cells, row[-1]]).rstrip()
