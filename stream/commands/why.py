"""`fraudstream why`: why a record was decided as it was, and what would have let it pass."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import Compiled, archive_files, compile_sources
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.build import BATCH, fingerprint_of
from fraudstream.stream.backtest.candidate import Candidate, load_candidate
from fraudstream.stream.backtest.counterfactual import Counterfactuals
from fraudstream.stream.backtest.explainer import WORDS, Explained, Explainer, RuleSeen, Setting, score_parts
from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.backtest.row import Row, row_of_log, row_of_result
from fraudstream.stream.commands.backtest import add_log_arguments, source_of, store_of
from fraudstream.stream.commands.replay import Fixed, Journaled
from fraudstream.stream.envelope import Record
from fraudstream.stream.errors import BadUse, Exit, NothingToCheck
from fraudstream.stream.outcome import FLAG_NAMES, Flag
from fraudstream.stream.progress import Progress
from fraudstream.stream.recorded import RecordedLog, refuse_partial_counts
from fraudstream.stream.replay import PartitionReplay
from fraudstream.stream.shipped import default_rules

SUMMARY = "why a record was decided as it was: terms with values, parts of the score, what would have passed"

_SRC = re.compile(r"(?:.*-)?(\d{1,9})[:-](\d{1,18})")


@dataclass(frozen=True, slots=True)
class _Found:
    """A record with the versions that decided it."""

    row: Row | None
    compiled: Compiled
    model: Model | None
    how: str
    rejection: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("src", metavar="SRC", help="`src` of the decision: partition:offset")
    add_log_arguments(parser)
    parser.add_argument("--rules", type=Path, metavar="DIR", help="rules directory (default: rules/)")
    parser.add_argument("--journal", type=Path, metavar="F", help="exported journal: versions come from it")
    parser.add_argument("--control", type=Path, metavar="F", help="exported control topic: their content")
    parser.add_argument("--rule", action="append", default=[], metavar="ID", help="this rule too")
    parser.add_argument("--features", action="store_true", help="every feature that is not missing")
    parser.epilog = (
        "examples:\n"
        "  fraudstream rules why 0:18231 --input input.jsonl --format envelope --journal journal.jsonl "
        "--control control.jsonl\n"
        "  fraudstream why 0:61031 --input log.jsonl --rules rules/"
    )


def run(args: argparse.Namespace) -> int:
    """Explain one record."""
    place = _SRC.fullmatch(args.src)
    if place is None:
        raise BadUse(f"`{args.src}` is no `src` of a decision; it is partition:offset, as in 0:18231")
    if (args.journal is None) != (args.control is None):
        raise BadUse("`--journal` and `--control` go together: versions and their content")
    if args.journal is not None and (args.rules is not None or args.model is not None):
        raise BadUse("`--rules` and `--model` cannot be given with `--journal`, which names the versions")
    partition, offset = int(place[1]), int(place[2])
    found = _find(args, partition, offset)
    if found is None:
        return Exit.FINDINGS
    print("\n".join(_lines(args, f"{partition}:{offset}", found)))
    return Exit.OK


def _find(args: argparse.Namespace, partition: int, offset: int) -> _Found | None:
    """Return the record, from a feature log if there is one, else by replay; None: rules with errors."""
    if args.journal is not None:
        return _replayed(args, Journaled(args.journal, args.control), partition, offset)
    candidate = load_candidate(args.rules or default_rules(), args.model)
    if candidate is None:
        return None
    directory = store_of(args) / fingerprint_of(source_of(args), candidate)[:16]
    if (directory / at.MANIFEST).is_file():
        return _stored(directory, candidate, partition, offset)
    bundle = candidate.compiled.bundle
    assert bundle is not None
    fixed = Fixed(bundle, candidate.model, candidate.tables)
    return _replayed(args, fixed, partition, offset)


def _stored(directory: Path, candidate: Candidate, partition: int, offset: int) -> _Found:
    log = FeatureLog(directory)
    number = log.runs.row_of(partition, offset)
    if number is None:
        raise NothingToCheck(f"the log has no record {partition}:{offset}")
    row = row_of_log(log, candidate.bundle, number)
    return _Found(row, candidate.compiled, candidate.model, f"from the feature log {directory}")


def _replayed(args: argparse.Namespace, versions: Fixed | Journaled, partition: int, offset: int) -> _Found:
    """Replay the record's partition up to it."""
    with RecordedLog.open(str(args.input), args.format, keep=True) as log:
        replay = PartitionReplay(partition, versions.journal(partition), versions, log.of_partition)
        seen: set[int] = set()
        with Progress(f"replay to {partition}:{offset}", log.bytes, "bytes", 2.0) as progress:
            records = _until(log.records(), partition, offset, seen)
            while batch := list(islice(records, BATCH)):
                for result in replay.run(batch):
                    assert replay.pipeline is not None
                    refuse_partial_counts(len(seen), replay.pipeline.bundle)
                    if int(result.slice.offset[-1]) == offset:
                        pipeline = replay.pipeline
                        row = row_of_result(result, offset, pipeline.hash_key)
                        last = len(result.slice) - 1
                        odd = [item for item in result.batch.rejected if item.row == last]
                        text = f"{odd[0].code} {odd[0].field}".rstrip() if odd else ""
                        compiled = _compiled(pipeline.bundle)
                        return _Found(row, compiled, pipeline.model, "replayed", text)
                progress.at(log.position)
    raise NothingToCheck(f"the log has no record {partition}:{offset}")


def _until(records: Iterator[Record], partition: int, offset: int, seen: set[int]) -> Iterator[Record]:
    for record in records:
        seen.add(record.partition)
        if record.partition == partition:
            if record.offset > offset:
                return
            yield record
            if record.offset == offset:
                return


def _compiled(bundle: Bundle) -> Compiled:
    """Return the declarations of a bundle."""
    return compile_sources(archive_files(bundle.archive))


def _lines(args: argparse.Namespace, src: str, found: _Found) -> Iterator[str]:
    row = found.row
    if row is None:
        yield f"{src}: could not be read ({found.rejection or 'see its decision'}); decided as alert"
        return
    explainer = Explainer(found.compiled)
    known = {rule.id for rule in explainer.bundle.rules}
    for name in args.rule:
        if name not in known:
            raise BadUse(f"no rule `{name}` is evaluated in these rules")
    explained = explainer.explain(row)
    yield from _head(src, row, explained, explainer, found.how)
    yield from _score(found.model, explainer, row)
    for seen in explained.rules:
        if seen.outcome == "true" or seen.rule.id in args.rule:
            yield from _rule(seen)
    if args.features:
        yield ""
        yield "Features:"
        shown = explainer.features(row)
        width = max((len(name) for name, _ in shown), default=0)
        yield from (f"  {name:<{width}}  {text}" for name, text in shown)
    yield ""
    yield from _change(explained, explainer, row)


def _head(src: str, row: Row, explained: Explained, explainer: Explainer, how: str) -> Iterator[str]:
    schema = explainer.bundle.schema
    name = row.batch.text(schema.field(schema.event_id).column, 0)
    flags = [flag for bit, flag in enumerate(FLAG_NAMES) if row.flags >> bit & 1]
    tail = f", flags {', '.join(flags)}" if flags else ""
    when = explainer.show(explainer.bundle.slots[schema.event_time], row)
    yield f"{src} {name}, {when}: {explained.decision}, score {explained.score}{tail} ({how})"
    yield f"rules {explainer.bundle.hash}"
    if row.flags & int(Flag.DUPLICATE):
        partition, _, _ = src.partition(":")
        yield f"It repeats {partition}:{row.duplicate_of}, whose decision was given again; see that one."
    elif row.decision >= 0 and WORDS[row.decision] != explained.decision:
        yield f"It was decided as {WORDS[row.decision]}: a limit of a rule or shadow mode was in force."
    if explained.reasons:
        yield "Reasons:"
        yield from (f"  {code}: {text}" for code, text in explained.reasons)


def _score(model: Model | None, explainer: Explainer, row: Row) -> Iterator[str]:
    if model is None or row.micro < 0:
        return
    parts = score_parts(model, explainer.bundle, row)
    yield f"Model score {row.micro / 1e6:.6f}; what adds most to its log-odds, of {len(parts)} inputs:"
    yield from (f"  {value:+8.3f}  {name}" for name, value in parts[:8])


def _rule(seen: RuleSeen) -> Iterator[str]:
    rule = seen.rule
    points = f", {rule.score} points" if rule.score else ""
    gate = "" if seen.applies else " (its event types or effective interval do not apply)"
    yield ""
    kind = f"{rule.mode.value}, {rule.action.name.lower()}{points}"
    yield f"{rule.id}: {seen.outcome}{gate} ({kind}): {rule.title}"
    width = max((len(term.text) for term in seen.terms), default=0)
    for term in seen.terms:
        values = ", ".join(f"{name} = {text}" for name, text in term.values)
        yield f"  {term.outcome:<7}  {term.text:<{width}}  {values}".rstrip()


def _change(explained: Explained, explainer: Explainer, row: Row) -> Iterator[str]:
    if explained.decision == "pass":
        yield "It passed."
        return
    settings = Counterfactuals(explainer).find(row)
    if settings is None:
        yield "No change of what the rules read would have let it pass."
        return
    yield (
        "It would have passed with " + " and ".join(_setting(item, explainer, row) for item in settings) + "."
    )


def _setting(item: Setting, explainer: Explainer, row: Row) -> str:
    old = explainer.show(item.slot, row)
    return f"{item.slot.name} {explainer.show_setting(item)} instead of {old}"
