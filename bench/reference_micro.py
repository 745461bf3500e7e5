"""Reference tables alone: microseconds per join, cost of loading, memory per row, pause at a switch.

Joins are measured on made-up batches whose keys are there; loading on a Parquet file of customers with ten
columns. Run ``python -m fraudstream.bench.reference_micro --help``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.bench.report import Table, write
from fraudstream.bench.traffic.generate import START_MS
from fraudstream.bench.traffic.reference import TABLES, write_reference
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.siphash import hash_spans, key_words
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.changes import successor
from fraudstream.stream.enrichment.content import Column, Content, Texts, read_content, write_content
from fraudstream.stream.enrichment.directory import TableFiles, version_from
from fraudstream.stream.enrichment.files import read_file
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.wire.types import Batch

KEY = bytes(range(16))
COLUMNS = 10
SCHEMA = """\
apiVersion: fraudstream/v1
kind: Schema
base_currency: CNY
partition_key: account.id
fields:
  event.id: {path: transaction_id, type: id, required: true}
  event.type: {path: event_type, type: enum, values: [payment], default: payment}
  event.time: {path: event_time, type: time, required: true}
  account.id: {path: account_id, type: id, required: true}
  customer.id: {path: customer_id, type: id}
  card.id: {path: card_id, type: id}
  device.id: {path: device_id, type: id}
  merchant.id: {path: merchant_id, type: id}
  merchant.mcc: {path: mcc, type: category}
  counterparty.id: {path: counterparty_id, type: id}
  txn.ip: {path: ip, type: id}
  txn.country: {path: country, type: country}
"""
_KINDS = ("integer", "integer", "money", "money", "date", "date", "bool", "bool", "integer", "integer")


def made_bundle(tables: int, columns: int) -> Bundle:
    """Compile a directory with ``tables`` tables by customer, ``columns`` of each read by a rule."""
    declared = "\n".join(
        f"  t{t}:\n    key: customer.id\n    source: {{file: t{t}.parquet}}\n"
        "    stale_after: 7d\n    columns:\n"
        + "\n".join(f"      c{c}: {{type: {_KINDS[c]}}}" for c in range(COLUMNS))
        for t in range(tables)
    )
    names = [f"t{t}.c{c}" for t in range(tables) for c in range(columns)]
    return _compiled(f"apiVersion: fraudstream/v1\nkind: Reference\ntables:\n{declared}\n", names)


def _compiled(reference: str, names: list[str]) -> Bundle:
    """Compile a directory whose rules read these columns."""
    head = (
        "apiVersion: fraudstream/v1\nkind: RuleSet\ndefaults: {owner: bench, timezone: UTC}\nrules:\n"
        "- {id: r$, title: t, severity: low, on: payment, score: 1, mode: {state: shadow}, when: '"
    )
    sets = {
        f"rulesets/r{i}.yaml": (
            head.replace("$", str(i))
            + " or ".join(f"{name} is missing" for name in names[i : i + 100])
            + "'}\n"
        ).encode()
        for i in range(0, len(names), 100)
    }
    files = {"schema.yaml": SCHEMA.encode(), "reference.yaml": reference.encode(), **sets}
    compiled = compile_sources(files)
    if compiled.bundle is None:
        raise SystemExit("\n".join(item.text for item in compiled.errors[:5]))
    return compiled.bundle


def customers(rows: int) -> list[str]:
    """Return customer ids."""
    return [f"C{n:08d}" for n in range(rows)]


def write_customers(path: Path, names: list[str], seed: int) -> None:
    """Write a Parquet file of ten columns."""
    rng, n = np.random.default_rng(seed), len(names)
    columns: dict[str, Any] = {"id": pa.array(names)}
    for c, kind in enumerate(_KINDS):
        if kind == "integer":
            columns[f"c{c}"] = pa.array(rng.integers(0, 1000, n))
        elif kind == "money":
            columns[f"c{c}"] = pa.array(rng.integers(0, 10**7, n)).cast(pa.decimal128(20, 0))
        elif kind == "date":
            columns[f"c{c}"] = pa.array(rng.integers(9000, 20000, n).astype(np.int32)).cast(pa.date32())
        else:
            columns[f"c{c}"] = pa.array(rng.random(n) < 0.5)
    pq.write_table(pa.table(columns), path)


def batches(bundle: Bundle, names: dict[str, list[str]], size: int, count: int, seed: int) -> list[Batch]:
    """Return decoded batches whose keys are drawn from ``names``, by field."""
    rng, schema = np.random.default_rng(seed), bundle.schema
    pools = {
        field.name: _hashed(names[field.name])
        for field in schema.fields
        if field.name in names and field.type.width == 2
    }
    out = []
    for _ in range(count):
        value, state = np.zeros((schema.words, size), np.int64), np.ones((schema.words, size), np.uint8)
        value[schema.field("event.time").column] = START_MS
        for name, pool in pools.items():
            at = schema.field(name).column
            value[at : at + 2] = pool[:, rng.integers(0, pool.shape[1], size)]
        spans = np.zeros((schema.words, size), np.int32)
        row = np.arange(size, dtype=np.int32)
        none = np.zeros((2, size), np.int64)
        offsets = row.astype(np.int64)
        out.append(
            Batch(schema, row, offsets, offsets, value, state, spans, spans, np.zeros(32, np.uint8), none)
        )
    return out


def _hashed(names: list[str]) -> NDArray[np.int64]:
    """Return the key words of texts, [2, n]."""
    texts = Texts.of(name.encode() for name in names)
    words = np.zeros((2, len(names)), np.int64)
    k0, k1 = key_words(KEY)
    present = np.ones(len(names), np.uint8)
    hash_spans(
        texts.data.copy(), texts.starts, texts.ends - texts.starts, present, k0, k1, words[0], words[1]
    )
    return words


def per_event(enrichment: Enrichment, source: list[Batch], rounds: int) -> float:
    """Return microseconds of this thread's processor time per event, median of rounds."""
    size = sum(len(batch) for batch in source)
    seen = []
    for _ in range(rounds):
        begin = time.thread_time_ns()
        for batch in source:
            enrichment.join(batch)
        seen.append((time.thread_time_ns() - begin) / size / 1e3)
    return statistics.median(seen)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return (seconds, result)."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def beside_a_loop(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Run work in a thread beside an event loop; return (seconds, longest pause of the loop, result)."""

    async def watch() -> tuple[float, float, Any]:
        begin = last = time.perf_counter()
        longest = 0.0
        task = asyncio.create_task(asyncio.to_thread(work))
        while not task.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        return time.perf_counter() - begin, longest, task.result()

    return asyncio.run(watch())


def joins(rows: int, sizes: tuple[int, ...], rounds: int) -> Table:
    """Measure one table to many, in cache and far beyond."""
    table = Table(
        "Joins",
        ["rows a table", "tables", "columns a table", *(f"batch {size}: us a join" for size in sizes)],
        note="Every event has a key, and the key a row. A join is one table's lookup for one event with all "
        "its columns; the cost of copying the batch's own columns is in it.",
    )
    for count, tables, columns in (
        (2_000, 1, 1),
        (2_000, 20, 1),
        (2_000, 20, 10),
        (rows, 1, 10),
        (rows // 10, 20, 4),
    ):
        bundle = made_bundle(tables, columns)
        names = customers(count)
        with tempfile.TemporaryDirectory() as home:
            write_customers(Path(home) / "t0.parquet", names, 1)
            content = read_file(bundle.reference.tables[0], Path(home), 2)
        versions = {f"t{t}": TableVersion(f"v{t}", content) for t in range(tables)}
        enrichment = Enrichment(bundle, None, KEY, versions)
        cells = []
        for size in sizes:
            source = batches(
                bundle, {"customer.id": names}, size, max(1, 200_000 // size // max(1, tables // 4)), 3
            )
            cells.append(per_event(enrichment, source, rounds) / tables)
        table.rows.append([count, tables, columns, *cells])
    return table


def bank(accounts: int, sizes: tuple[int, ...], rounds: int) -> Table:
    """Measure the 72 tables of a generated bank, four columns of each read."""
    table = Table(
        f"72 tables of a bank with {accounts:,} accounts",
        ["columns read", "rows", "load s", "bound MB", *(f"batch {size}: us an event" for size in sizes)],
        note="Keys of events are drawn uniformly over the bank, which is harder on caches than traffic.",
    )
    with tempfile.TemporaryDirectory() as home:
        write_reference(Path(home), accounts, 7)
        declared = (Path(home) / "reference.yaml").read_text()
        for columns in (1, 4):
            names = [f"{t.name}.{name}" for t in TABLES for name, _ in t.fields[:columns]]
            bundle = _compiled(declared, names)
            load_s, loaded = timed(partial(TableFiles(Path(home)).load, bundle, None))
            if loaded.problems:
                raise SystemExit("\n".join(loaded.problems.values()))
            versions = {name: TableVersion(name, content) for name, content in loaded.contents.items()}
            bind_s, enrichment = timed(partial(Enrichment, bundle, None, KEY, versions))
            keys: dict[str, list[str]] = {}
            for item in TABLES:
                known = keys.setdefault(item.key, [])
                if len(known) < 100_000:
                    known += [text.decode() for text in loaded.contents[item.name].keys.all()[:100_000]]
            cells = [
                per_event(enrichment, batches(bundle, keys, size, max(1, 20_000 // size), 3), rounds)
                for size in sizes
            ]
            rows = sum(item.rows for item in enrichment.bound.values())
            table.rows.append([len(names), rows, load_s + bind_s, enrichment.nbytes / 1e6, *cells])
    return table


def loading(rows: int) -> Table:
    """Measure a large table from file to switch."""
    bundle = made_bundle(1, COLUMNS)
    declared = bundle.reference.tables[0]
    table = Table(f"A table of {rows:,} rows with {COLUMNS} columns", ["what", "value"])
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "t0.parquet"
        write_customers(path, customers(rows), 1)
        table.rows.append(["Parquet file, MB", path.stat().st_size / 1e6])
        seconds, content = timed(lambda: read_file(declared, Path(home), 2))
    table.rows += [
        ["read and check the file, s", seconds],
        ["content in memory, bytes a row", content.size / rows],
    ]
    seconds, data = timed(lambda: write_content(content))
    table.rows += [["write content (compress), s", seconds], ["content published, MB", len(data) / 1e6]]
    seconds, _ = timed(lambda: read_content(data))
    table.rows.append(["read content back, s", seconds])
    first = TableVersion("first", content)
    seconds, enrichment = timed(lambda: Enrichment(bundle, None, KEY, {"t0": first}))
    table.rows += [["bind to a partition, s", seconds], ["bound, bytes a row", enrichment.nbytes / rows]]
    version = first
    for changed in (100, 1_000, 10_000):
        delta = changed_rows(content, changed, version.version)
        version = TableVersion(f"d{changed}", delta, version)
        seconds, enrichment = timed(partial(enrichment.switched, bundle, None, {"t0": version}))
        table.rows.append([f"switch to a delta of {changed:,} rows, ms", seconds * 1e3])
    other = replace(content, as_of_ms=1, columns=(*content.columns[:-1], flipped(content.columns[-1])))
    for what, work in (
        ("compare with content of which all rows changed", partial(successor, first, other)),
        ("write content", partial(write_content, content)),
        ("bind", partial(Enrichment, bundle, None, KEY, {"t0": first})),
    ):
        seconds, longest, _ = beside_a_loop(work)
        table.rows.append([f"{what}: s", seconds])
        table.rows.append([f"{what}: longest pause of an event loop beside it, ms", longest * 1e3])
    whole, _ = version_from(replace(content, as_of_ms=1))
    prepared = Enrichment(bundle, None, KEY, {"t0": whole})
    seconds, _ = timed(lambda: enrichment.switched(bundle, None, {"t0": whole}, prepared.bound.values()))
    table.rows.append(["switch to a whole table that was prepared, ms", seconds * 1e3])
    return table


def flipped(column: Column) -> Column:
    """Return a column in which every value is another."""
    return replace(column, words=np.ascontiguousarray(column.words[::-1]))


def changed_rows(content: Content, count: int, parent: str) -> Content:
    """Return a delta of existing rows."""
    rows = np.random.default_rng(count).permutation(len(content))[:count]
    return replace(
        content,
        keys=content.keys.take(rows),
        columns=tuple(column.take(rows) for column in content.columns),
        parent=parent,
        removed=Texts.of(()),
    )


def main() -> None:
    """Measure, print, and with ``--write`` keep a report."""
    parser = argparse.ArgumentParser(prog="reference_micro", description="time reference tables alone")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the large table")
    parser.add_argument(
        "--accounts", type=int, default=400_000, help="size of the bank with 72 tables; 0: skip"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 1_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write a report to bench/reports")
    parser.epilog = "example: reference_micro --rows 200000 --accounts 20000"
    arguments = parser.parse_args()
    sizes = tuple(arguments.batch)
    tables = [joins(arguments.rows, sizes, arguments.rounds)]
    if arguments.accounts:
        tables.append(bank(arguments.accounts, sizes, arguments.rounds))
    tables.append(loading(arguments.rows))
    print("\n".join(table.markdown() for table in tables))
    if arguments.write:
        data = {table.title: [list(row) for row in table.rows] for table in tables}
        command = "python -m fraudstream.bench.reference_micro " + " ".join(sys.argv[1:])
        write("reference", command, vars(arguments), tables, data)


if __name__ == "__main__":
    main()
