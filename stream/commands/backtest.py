"""`fraudstream rules backtest`: what rules would have done on a recorded log."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from fraudstream.rules.bundle import Mode, Rule
from fraudstream.rules.compiler.shape import duration_ms
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.backtest.build import Source
from fraudstream.stream.backtest.candidate import Candidate, load_candidate
from fraudstream.stream.backtest.labels import Label, read_labels
from fraudstream.stream.backtest.page import as_html
from fraudstream.stream.backtest.report import Report, as_markdown, as_text
from fraudstream.stream.backtest.run import Run, changed_rules, compare, run_candidate
from fraudstream.stream.errors import BadUse, Exit
from fraudstream.stream.shipped import default_rules

HELP = "what rules would have done on a recorded log, by label, with a comparison"


def add_log_arguments(
    parser: argparse.ArgumentParser, name: str = "--input", *, required: bool = True
) -> None:
    """Declare how a recorded log is named."""
    parser.add_argument(name, dest="input", type=Path, required=required, metavar="F", help="recorded log")
    parser.add_argument(
        "--format",
        choices=("raw", "envelope"),
        default="raw",
        help="raw: one transaction a line (default); envelope: what `export` writes",
    )
    parser.add_argument("--model", metavar="F", help="model file, or none (default: the shipped model)")
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="where feature logs are kept (default: F.features)"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    add_log_arguments(parser)
    parser.add_argument("--labels", type=Path, metavar="F", help="labels, one JSON object a line")
    parser.add_argument("--label-lag", default="0", metavar="D", help="how long labels take, e.g. 45d")
    parser.add_argument("--base", type=Path, metavar="DIR", help="rules to compare with")
    parser.add_argument("--rule", action="append", default=[], metavar="ID", help="report on this rule only")
    parser.add_argument("--changed", action="store_true", help="report on rules that differ from --base")
    parser.add_argument(
        "--blocked-do-not-happen",
        dest="simulated",
        action="store_true",
        help="simulate that a blocked payment, and what follows from it, never happened",
    )
    parser.add_argument("--markdown", type=Path, metavar="F", help="write the report as Markdown")
    parser.add_argument("--html", type=Path, metavar="F", help="write the report as one HTML page")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Backtest."""
    if args.changed and args.base is None:
        raise BadUse("`--changed` needs `--base DIR`: the rules that they are compared with")
    lag_ms = _lag(args.label_lag)
    begin_s = time.monotonic()
    source = source_of(args)
    sides = _candidates(args)
    if sides is None:
        return Exit.FINDINGS
    base, candidate = sides
    chosen = _chosen(args, base, candidate)
    labels = [] if args.labels is None else read_labels(args.labels)
    runs = _runs(args, source, base, candidate, labels, lag_ms)
    report = Report(
        tuple(item.figures(chosen) for item in runs),
        compare(runs[0], runs[-1]) if len(runs) > 1 else (),
        candidate.bundle.schema.base_currency,
        str(args.input),
        "" if args.labels is None else str(args.labels),
        runs[-1].labels.unmatched,
        args.label_lag,
        args.simulated,
        time.monotonic() - begin_s,
    )
    print(as_text(report))
    for path, text in ((args.markdown, as_markdown), (args.html, as_html), (args.json, _as_json)):
        if path is not None:
            path.write_text(text(report), encoding="utf-8")
            print(f"written: {path}", file=sys.stderr)
    return Exit.OK


def behaviour(args: argparse.Namespace) -> int:
    """Print which transactions of a log two rules directories decide otherwise, for `rules diff --on`."""
    before, after = (load_candidate(path, args.model) for path in (args.before, args.after))
    if before is None or after is None:
        return Exit.FINDINGS
    labels = [] if args.labels is None else read_labels(args.labels)
    runs = [
        run_candidate(str(item.path), store_of(args), source_of(args), item, labels)
        for item in (before, after)
    ]
    events = sum(count for count, _ in runs[0].log.manifest.days.values())
    changes = compare(*runs)
    moved = sum(change.tally.count for change in changes)
    print(f"\n{moved:,} of {events:,} decisions of {args.input} change")
    digits = DECIMALS[before.bundle.schema.base_currency]
    for change in changes:
        tally = change.tally
        known = ", ".join(f"{count:,} {name}" for name, (count, _) in tally.by_class.items())
        amount = f"{tally.minor / 10**digits:,.{digits}f} {before.bundle.schema.base_currency}"
        print(f"  {change.before} -> {change.after}: {tally.count:,} ({known}), {amount}")
        for example in change.examples:
            print(f"    {example}")
    return Exit.OK


def source_of(args: argparse.Namespace) -> Source:
    """Return the log that the arguments name."""
    return Source(args.input, args.format)


def store_of(args: argparse.Namespace) -> Path:
    """Return where its feature logs are kept."""
    store: Path | None = args.store
    return Path(f"{args.input}.features") if store is None else store


def _candidates(args: argparse.Namespace) -> tuple[Candidate | None, Candidate] | None:
    """Return (base, candidate); None: one of them does not compile, which was printed."""
    candidate = load_candidate(args.directory or default_rules(), args.model)
    base = None if args.base is None else load_candidate(args.base, args.model)
    if candidate is None or (args.base is not None and base is None):
        return None
    return base, candidate


def _runs(
    args: argparse.Namespace,
    source: Source,
    base: Candidate | None,
    candidate: Candidate,
    labels: Sequence[Label],
    lag_ms: int,
) -> list[Run]:
    """Return the runs to be compared, the candidate last."""
    root = store_of(args)

    def one(name: str, chosen: Candidate, *, simulated: bool) -> Run:
        return run_candidate(name, root, source, chosen, labels, lag_ms, simulated=simulated)

    name = str(candidate.path)
    if base is not None:
        same = base.path == candidate.path
        first = one(f"{base.path} (base)" if same else str(base.path), base, simulated=args.simulated)
        return [first, one(name, candidate, simulated=args.simulated)]
    if args.simulated:
        first = one(f"{name}, attempts", candidate, simulated=False)
        return [first, one(f"{name}, blocked do not happen", candidate, simulated=True)]
    return [one(name, candidate, simulated=False)]


def _chosen(args: argparse.Namespace, base: Candidate | None, candidate: Candidate) -> Callable[[Rule], bool]:
    known = {rule.id: rule for rule in candidate.compiled.rules}
    wanted: Collection[str] | None = args.rule or None
    for name in args.rule:
        if name not in known:
            raise BadUse(f"no rule `{name}` in {candidate.path}")
        if known[name].mode in (Mode.DRAFT, Mode.RETIRED):
            raise BadUse(f"`{name}` is {known[name].mode.value}: put it in shadow, then backtest it")
    if args.changed and base is not None:
        wanted = set(changed_rules(base, candidate)) | set(args.rule)
    return lambda rule: wanted is None or rule.id in wanted


def _lag(text: str) -> int:
    found = 0 if text == "0" else duration_ms(text)
    if found is None:
        raise BadUse(f"`--label-lag {text}` is no duration; write 45d, 36h or 0")
    return found


def _as_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"
