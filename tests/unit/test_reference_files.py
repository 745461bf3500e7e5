"""Files of reference tables: three formats give one content, and what is wrong is told by row and column."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.reference import COLUMNS, declaration, reference_bundle

from fraudstream.rules.bundle import ReferenceTable
from fraudstream.stream.enrichment.content import ContentError, read_content, write_content
from fraudstream.stream.enrichment.directory import TableFiles
from fraudstream.stream.enrichment.files import FileRefused, read_file

ROWS: list[dict[str, Any]] = [
    {
        "id": "a1", "band": "high", "score": "-7", "rate": "0.125", "limit": "1250.5", "opened": "2019-03-02",
        "seen": "2026-01-01T08:00:00+08:00", "wait": "1500", "trusted": "true", "city": "Chengdu",
        "twin": "t-1", "lat": "30.5", "lon": "104.1", "born": "CN",
    },
    {"id": "a2"},
    {"id": "a3", "score": "9007199254740993", "limit": "-0.01", "city": "上海", "trusted": "false"},
]  # fmt: skip
NAMES = list(ROWS[0])


def table_of(file: str, **more: str) -> ReferenceTable:
    """Return a table with every type of column from one file."""
    source = ", ".join([f"file: {file}", "key: id", *(f"{key}: {value}" for key, value in more.items())])
    text = declaration(t={"key": "account.id", "source": f"{{{source}}}"})
    return reference_bundle(text, ["t.band"]).reference.tables[0]


def write_csv(path: Path, rows: list[dict[str, Any]], names: list[str] = NAMES) -> None:
    """Write rows as CSV."""
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def test_csv_parquet_and_json_lines_give_the_same_content(tmp_path: Path) -> None:
    """Whatever the format, and typed or as text, the same rows are the same content."""
    write_csv(tmp_path / "t.csv", ROWS)
    texts = {name: pa.array([row.get(name) for row in ROWS], pa.string()) for name in NAMES}
    pq.write_table(pa.table(texts), tmp_path / "t.parquet")
    typed = dict(texts)
    typed["score"] = texts["score"].cast(pa.int64())
    typed["limit"] = texts["limit"].cast(pa.decimal128(12, 3))
    typed["opened"] = texts["opened"].cast(pa.date32())
    typed["rate"] = texts["rate"].cast(pa.float64())
    typed["trusted"] = texts["trusted"].cast(pa.bool_())
    typed["wait"] = texts["wait"].cast(pa.int32())
    typed["seen"] = texts["seen"].cast(pa.timestamp("us", "UTC"))
    typed["lat"], typed["lon"] = texts["lat"].cast(pa.float64()), texts["lon"].cast(pa.float64())
    typed["band"] = texts["band"].dictionary_encode()
    pq.write_table(pa.table(typed), tmp_path / "typed.parquet")
    lines = []
    for row in ROWS:
        members: dict[str, Any] = dict(row)
        members["trusted"] = {"true": True, "false": False}.get(row.get("trusted", ""))
        text = json.dumps(members)
        for name in ("score", "rate", "limit"):  # numbers, digit for digit
            text = text.replace(f'"{name}": "{row.get(name)}"', f'"{name}": {row.get(name)}')
        lines.append(text)
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n\n")
    found = []
    for file in ("t.csv", "t.parquet", "typed.parquet", "t.jsonl"):
        content = read_file(table_of(file), tmp_path, 2)
        found.append(write_content(replace(content, as_of_ms=0, shape_hash="")))
    assert found[1:] == found[:1] * 3
    content = read_content(found[0])
    column = {item.name: item for item in content.columns}
    assert column["limit"].words.tolist() == [125050, 0, -1]
    assert column["score"].words.tolist() == [-7, 0, 2**53 + 1]
    assert column["seen"].words.tolist()[0] == 1_767_225_600_000
    assert column["trusted"].present.tolist() == [1, 0, 1]
    assert column["home"].present.tolist() == [1, 0, 0]


def test_content_is_as_old_as_its_file_or_as_its_newest_row(tmp_path: Path) -> None:
    """Without `as_of` the file's time counts, with it the column's."""
    times = ["2026-01-02T00:00:00Z", "", "1767225600000"]
    rows = [{**row, "at": at} for row, at in zip(ROWS, times, strict=True)]
    write_csv(tmp_path / "t.csv", rows, [*NAMES, "at"])
    os.utime(tmp_path / "t.csv", (1_700_000_000, 1_700_000_000))
    assert read_file(table_of("t.csv"), tmp_path, 2).as_of_ms == 1_700_000_000_000
    assert read_file(table_of("t.csv", as_of="at"), tmp_path, 2).as_of_ms == 1_767_312_000_000


BAD = (
    ("a key twice", {"id": "a1"}, "comes again"),
    ("no key", {"id": ""}, "no key `id`"),
    ("a bad key", {"id": "a b"}, "an id of 1 to 128 characters"),
    ("an undeclared value", {"band": "medium"}, "column `band` was `medium`, expected one of `low`, `high`"),
    ("a fraction", {"score": "1.5"}, "column `score` was `1.5`, expected a whole number"),
    ("too large", {"score": "9223372036854775808"}, "expected a whole number"),
    ("words for a number", {"rate": "many"}, "expected a decimal number"),
    ("a third decimal", {"limit": "1.234"}, "an amount of the base currency with at most 2 decimals"),
    ("too much money", {"limit": "100000000001"}, "amount_too_large"),
    ("no date", {"opened": "2026-02-30"}, "expected a date"),
    ("no zone", {"seen": "2026-01-01T00:00:00"}, "expected a time with offset"),
    ("no bool", {"trusted": "yes"}, "expected `true` or `false`"),
    ("a long text", {"city": "x" * 300}, "at most 256 bytes"),
    ("no id", {"twin": 'a"b'}, "an id of 1 to 128 characters"),
    ("off the globe", {"lat": "91", "lon": "1"}, "a point of the globe"),
    ("no country", {"born": "cn"}, "two capital letters"),
)


@pytest.mark.parametrize(("what", "change", "message"), BAD, ids=[item[0] for item in BAD])
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_wrong_value_refuses_the_file_and_is_told(
    tmp_path: Path, kind: str, what: str, change: dict[str, str], message: str
) -> None:
    """Row and column stand in the message, in every format."""
    rows = [*ROWS, {"id": "a4", **change}]
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        if any('"' in text for text in change.values()):
            pytest.skip("a quote means something else in CSV")
        write_csv(path, rows)
    elif kind == "parquet":
        pq.write_table(pa.table({n: pa.array([r.get(n) for r in rows], pa.string()) for n in NAMES}), path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(FileRefused) as caught:
        read_file(table_of(path.name), tmp_path, 2)
    text = str(caught.value)
    assert message in text, text
    assert text.startswith(f"t: t.{kind}: ")
    assert "row 4" in text or "line 4" in text or "the key was" in text or "the key of row 1" in text, text


def test_money_in_a_float_column_and_missing_columns_are_refused(tmp_path: Path) -> None:
    """Floats are no money; a misspelt column gets a suggestion."""
    columns: dict[str, Any] = {name: pa.array([ROWS[0][name]]) for name in NAMES}
    columns["limit"] = pa.array([1.5])
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(FileRefused, match="money never passes through a float"):
        read_file(table_of("t.parquet"), tmp_path, 2)
    write_csv(tmp_path / "t.csv", ROWS, [name if name != "score" else "scoer" for name in NAMES])
    with pytest.raises(FileRefused, match="`score` is not there; did you mean `scoer`"):
        read_file(table_of("t.csv"), tmp_path, 2)
    with pytest.raises(FileRefused, match="cannot be read: No such file"):
        read_file(table_of("none.csv"), tmp_path, 2)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"PAR1" + b"\xff" * 50 + b"PAR1", b'"', b"id\n" + b"\xff\xfe"]
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_damaged_files_are_refused_and_nothing_else(tmp_path: Path, kind: str, data: bytes) -> None:
    """No bytes end in another error; an empty .jsonl is a table without rows."""
    (tmp_path / f"t.{kind}").write_bytes(data)
    if kind == "jsonl" and not data:
        assert len(read_file(table_of("t.jsonl"), tmp_path, 2)) == 0
        return
    with pytest.raises(FileRefused):
        read_file(table_of(f"t.{kind}"), tmp_path, 2)


def test_text_that_is_no_utf8_is_refused_in_every_column(tmp_path: Path) -> None:
    """Parquet does not check it; a worker that prints such a text would end."""
    columns: dict[str, Any] = {name: pa.array([ROWS[0][name]]) for name in NAMES}
    raw = pa.array([b"a\xff"], pa.binary())
    columns["city"] = pa.StringArray.from_buffers(1, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(FileRefused):
        read_file(table_of("t.parquet"), tmp_path, 2)


def test_many_problems_are_counted_and_twenty_are_told(tmp_path: Path) -> None:
    """A file full of mistakes does not fill the log."""
    (tmp_path / "t.jsonl").write_text("\n".join(f'{{"id": "a{i}", "score": "x"}}' for i in range(500)))
    with pytest.raises(FileRefused) as caught:
        read_file(table_of("t.jsonl"), tmp_path, 2)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 480 more"


def test_damaged_content_is_told_from_whole_content(tmp_path: Path) -> None:
    """Cut, altered or foreign bytes raise one error."""
    write_csv(tmp_path / "t.csv", ROWS)
    data = write_content(read_file(table_of("t.csv"), tmp_path, 2))
    for broken in (
        b"",
        b"FSTABLE1",
        data[:40],
        data[:-3],
        data.replace(b'"rows":3', b'"rows":4'),
        data[::-1],
    ):
        with pytest.raises(ContentError):
            read_content(broken)


def test_only_what_is_read_is_loaded_and_an_unchanged_file_once(tmp_path: Path) -> None:
    """A table that nothing reads needs no file; a file is read again when it changed."""
    tables = {name: {"key": "account.id", "source": f"{{file: {name}.csv, key: id}}"} for name in ("a", "b")}
    bundle = reference_bundle(declaration(**tables), ["a.score"])
    write_csv(tmp_path / "a.csv", ROWS)
    files = TableFiles(tmp_path)
    first, second = files.load(bundle, None), files.load(bundle, None)
    assert list(first.contents) == ["a"]
    assert first.problems == {}
    assert second.contents["a"] is first.contents["a"]
    write_csv(tmp_path / "a.csv", ROWS[:2])
    assert len(files.load(bundle, None).contents["a"]) == 2


def test_every_type_has_a_column_in_these_tests() -> None:
    """A new type of field needs a line in COLUMNS."""
    kinds = {text.split("type: ")[1].split(",")[0].rstrip("}") for text in COLUMNS.values()}
    assert len(kinds) == 12
