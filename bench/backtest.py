"""Suite `backtest`: features made once and kept, one changed rule run over a month of them.

Events are the traffic generator's for the reference bank, under the shipped rules and champion. A month, 78 M
events, would take the generator hours: its rows are the made ones copied file by file, as they are, so that
reading them costs what a month costs, while event times, matches and customers repeat. Files are copies, no
links, and are written out and dropped from the page cache before runs that are called cold.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from fraudstream.bench.report import Table
from fraudstream.bench.traffic.generate import ACCOUNTS_MAX, generate
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.build import HASH_KEY, empty_pipeline
from fraudstream.stream.backtest.candidate import Candidate, load_candidate
from fraudstream.stream.backtest.labels import Label, read_labels
from fraudstream.stream.backtest.layout import Manifest, Runs
from fraudstream.stream.backtest.page import as_html
from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.backtest.report import Report
from fraudstream.stream.backtest.run import changed_rules, compare, decide_log
from fraudstream.stream.backtest.writer import RowWriter
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.shipped import shipped_rules
from fraudstream.stream.wire.types import Slice

SEED = 20_260_601
BATCH = 1_000
SPARE = 1.3
"""Of the disk that the month is expected to take."""
BYTES_PER_ROW = 160
"""Of a first guess, before anything is made."""
CHANGES = (
    ("card.testing.small_auths", "n: {value: 4,", "n: {value: 3,"),
    ("payee.new.above_habit", "times: {value: 5,", "times: {value: 4,"),
    ("takeover.device_drain", "share: {value: 20%,", "share: {value: 15%,"),
    ("mule.known_account", "in lists.mule_accounts", "in lists.mule_accounts and txn.amount > 1"),
)
"""Rule, what stands in it, what stands there then; the last rule reads the ids of all counterparties."""


@dataclasses.dataclass(frozen=True, slots=True)
class Timed:
    """One run over the month."""

    name: str
    columns: int
    seconds: float
    """Rules over the rows, decisions, figures, comparison and HTML page."""
    rules_seconds: float
    """Of them reading the rule's columns and running it."""
    matches: int
    changed: int
    peak_bytes: int


def run(made: int, rows: int, scratch: Path | None) -> tuple[list[Table], dict[str, Any]]:
    """Measure.

    Args:
        made: events whose features are computed.
        rows: rows of the month.
        scratch: where the feature log goes; None: the system's directory for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="fraudstream-backtest-") as name:
        home = Path(name)
        _refuse_full(home, max(made, rows) * BYTES_PER_ROW)
        base = _candidate(shipped_rules())
        built, labels = _make(home / "made", base, made)
        month = _month(home / "made", home / "month", rows)
        log = FeatureLog(home / "month")
        with _timed() as first:
            decide_log("base", log, base, labels)
        timed: list[Timed] = []
        for rule, old, new in CHANGES:
            changed = _candidate(_changed(home / rule, rule, old, new))
            if list(changed_rules(base, changed)) != [rule]:
                raise FraudstreamError(f"`{old}` -> `{new}` did not change `{rule}` alone")
            timed += [_rerun(log, base, changed, rule, labels, cold=cold) for cold in (True, False)]
        log.close()
    return _tables(built, month, first[0], timed), {
        "made": built,
        "month": month,
        "whole_seconds": first[0],
        "reruns": [dataclasses.asdict(item) for item in timed],
    }


def _refuse_full(home: Path, wanted: float) -> None:
    free = shutil.disk_usage(home).free
    if free < wanted * SPARE:
        raise FraudstreamError(
            f"{home} has {free / 1e9:.1f} GB free, the month takes about {wanted * SPARE / 1e9:.1f} GB; "
            "give `--scratch DIR` or a smaller `--month`"
        )


def _candidate(directory: Path) -> Candidate:
    found = load_candidate(directory, None)
    if found is None:
        raise FraudstreamError(f"{directory} has errors")
    return found


def _make(directory: Path, candidate: Candidate, count: int) -> tuple[dict[str, float], list[Label]]:
    """Compute the features of generated events; return figures and the labels that came with them."""
    directory.mkdir()
    writer = RowWriter(directory, candidate.bundle)
    pipeline = empty_pipeline(0, candidate)
    labels = directory.parent / "labels.jsonl"
    spent = generated = 0.0
    offset = 0
    with Progress() as progress, labels.open("w", encoding="utf-8") as file:
        task = progress.add_task("features", total=count)
        begin = time.perf_counter()
        for chunk in generate(count, SEED, accounts=ACCOUNTS_MAX):
            file.writelines(label.encode().decode() + "\n" for label in chunk.labels)
            for first in range(0, len(chunk.values), BATCH):
                values = chunk.values[first : first + BATCH]
                n = len(values)
                source = Slice.from_records(0, values, [None] * n, range(offset, offset + n), [-1] * n)
                offset += n
                start = time.perf_counter()
                writer.add(pipeline.process(source))
                spent += time.perf_counter() - start
            progress.advance(task, len(chunk))
        start = time.perf_counter()
        writer.close("made", {}, HASH_KEY)
        spent += time.perf_counter() - start
        generated = time.perf_counter() - begin - spent
    size = sum(path.stat().st_size for path in directory.glob("*.parquet"))
    figures = {
        "events": float(offset),
        "seconds": spent,
        "us_per_event": spent / offset * 1e6,
        "generator_seconds": generated,
        "bytes": float(size),
        "bytes_per_row": size / offset,
        "columns": float(len(candidate.bundle.features.features)),
    }
    return figures, read_labels(labels)


def _month(made: Path, directory: Path, rows: int) -> dict[str, float]:
    """Copy a feature log until it has ``rows`` rows."""
    directory.mkdir()
    manifest = Manifest.read(made)
    parts: list[tuple[str, int]] = []
    total = 0
    while total < rows:
        for name, count in manifest.parts:
            if total >= rows:
                break
            copy = f"part-{len(parts):05}.parquet"
            shutil.copyfile(made / name, directory / copy)
            parts.append((copy, count))
            total += count
    times = total / manifest.rows
    days = {day: (round(n * times), round(minor * times)) for day, (n, minor) in manifest.days.items()}
    dataclasses.replace(manifest, fingerprint="month", rows=total, parts=tuple(parts), days=days).write(
        directory
    )
    np.save(directory / at.RUNS, Runs(np.array([[0, 0, 0, total]])).table)
    size = sum(path.stat().st_size for path in directory.glob("*.parquet"))
    return {"rows": float(total), "copies": times, "bytes": float(size)}


def _changed(directory: Path, rule: str, old: str, new: str) -> Path:
    """Return a copy of the shipped rules with one rule changed."""
    shutil.copytree(shipped_rules(), directory, ignore=shutil.ignore_patterns("packs", "*.py", "compiler"))
    for file in (directory / "rulesets").glob("*.yaml"):
        before, mark, after = file.read_text(encoding="utf-8").partition(f"- id: {rule}\n")
        file.write_text(before + mark + after.replace(old, new, 1), encoding="utf-8")
    return directory


def _rerun(
    log: FeatureLog,
    base: Candidate,
    changed: Candidate,
    rule: str,
    labels: Sequence[Label],
    *,
    cold: bool,
) -> Timed:
    """Time what an operator waits for after a change of one rule."""
    kept = set((log.directory / at.MATCHES).iterdir())
    if cold:
        _drop(log.directory)
    with _timed() as whole:
        before = decide_log("base", log, base, labels)
        with _timed() as rules:
            after = decide_log("changed", log, changed, labels)
        changes = compare(before, after)
        runs = (before.figures(lambda item: item.id == rule), after.figures(lambda item: item.id == rule))
        as_html(Report(runs, changes, "CNY", "month", "labels", 0, "0", simulated=False, seconds=0.0))
    for path in set((log.directory / at.MATCHES).iterdir()) - kept:
        path.unlink()
    read = {slot.name for item in changed.bundle.rules if item.id == rule for slot in item.reads}
    return Timed(
        f"{rule}, {'cold' if cold else 'warm'}",
        len(read),
        whole[0],
        rules[0],
        len(after.matched[rule].full),
        sum(change.tally.count for change in changes),
        _peak_bytes(),
    )


def _drop(directory: Path) -> None:
    """Write files out and let the page cache forget them."""
    for path in directory.glob("*.parquet"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


@contextmanager
def _timed() -> Iterator[list[float]]:
    found = [0.0]
    begin = time.perf_counter()
    yield found
    found[0] = time.perf_counter() - begin


def _peak_bytes() -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def _tables(
    built: dict[str, float], month: dict[str, float], whole: float, timed: Sequence[Timed]
) -> list[Table]:
    slowest = max(item.seconds for item in timed)
    made = Table(
        "Features, made once",
        ("events", "seconds", "us an event", "bytes a row", "GB"),
        [
            (
                int(built["events"]),
                built["seconds"],
                built["us_per_event"],
                built["bytes_per_row"],
                built["bytes"] / 1e9,
            )
        ],
        "Decoded, joined, admitted, all declared features computed, scored and written as Parquet by one "
        "process; the generator's own time is left out.",
    )
    first = Table(
        "The month",
        ("rows", "copies of the made rows", "GB", "all rules, seconds"),
        [(int(month["rows"]), month["copies"], month["bytes"] / 1e9, whole)],
        "Rows are copies of the made ones: what they cost to read is a month's, what they say is not. "
        "`All rules` is the first run: every rule, decisions included.",
    )
    again = Table(
        "One changed rule over the month",
        (
            "change",
            "names it reads",
            "seconds",
            "of them the rule",
            "matches",
            "changed decisions",
            "peak GB",
        ),
        [
            (
                item.name,
                item.columns,
                item.seconds,
                item.rules_seconds,
                item.matches,
                item.changed,
                item.peak_bytes / 1e9,
            )
            for item in timed
        ],
        "`seconds` is all that an operator waits for once the rules are compiled: what the base matched is "
        "read, the changed rule runs over its columns, both rule sets are decided and compared, and the page "
        "is written. Cold: the files were dropped from the page cache before. "
        f"The slowest took {slowest:,.1f} s; the goal is 60 s.",
    )
    return [made, first, again]
