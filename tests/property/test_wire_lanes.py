"""The fast lane and the exact lane read every record alike."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.lanes import both, disagreements
from support.mutations import Members, mutated
from support.schemas import default_schema, handbook_schema, make_schema, nested_schema, odd_schema
from support.wire import KEY, NESTED, TRANSACTION, Raw, record, slice_of

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.hostile import Record, hostile
from fraudstream.rules.bundle import Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire import fast
from fraudstream.stream.wire import layout as at
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.exact import read_record
from fraudstream.stream.wire.flat import FlatTables
from fraudstream.stream.wire.tables import SchemaTables, compile_schema
from fraudstream.stream.wire.types import PAD_BYTES

BATCH = 500


SCHEMAS = {
    "default": default_schema(),
    "nested": nested_schema(),
    "handbook": handbook_schema(),
    "odd": odd_schema(),
}
TABLES = {name: compile_schema(schema) for name, schema in SCHEMAS.items()}
HANDBOOK: Members = {
    "tx_id": 1,
    "tx_datetime": "2026-11-24T02:40:11Z",
    "customer_id": 596,
    "terminal_id": 3156,
    "amount": 57.16,
}
ODD: Members = {
    "a_name_of_seventeen": {"id": 12},
    "typ": "login",
    "zeit": "2026-11-24T02:40:11.5+01:00",
    "konto_nummer_des_kunden_in_der_bank": "K1",
    "größe": "-12.5",
    "währung": "EUR",
    "lat": 50.1,
    "deep": {"er": {"lon": 8.6, "flag": False}, "date": "2024-02-29"},
    "n": 1.25,
    "i": -3,
    "c": "FR",
}


@pytest.fixture(scope="module")
def hostile_log() -> list[Record]:
    """Return one hostile log."""
    return list(hostile(generate(6_000, 21), 4))


@pytest.fixture(scope="module")
def bases(hostile_log: list[Record]) -> dict[str, list[Members]]:
    """Return good records of every schema."""
    good = [json.loads(r.value or b"") for r in hostile_log if r.kind in ("plain", "odd", "late")][:400]
    return {"default": [TRANSACTION] * 20 + good, "nested": [NESTED], "handbook": [HANDBOOK], "odd": [ODD]}


def _count_exact(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """Return a list that fills with the records which the fast lane leaves to the exact lane."""
    left: list[bytes | None] = []

    def note(raw: bytes | None, tables: SchemaTables) -> Any:
        left.append(raw)
        return read_record(raw, tables)

    monkeypatch.setattr(fast, "read_record", note)
    return left


def _batches(records: Iterator[bytes], count: int) -> Iterator[list[bytes]]:
    for _ in range(0, count, BATCH):
        yield list(itertools.islice(records, BATCH))


def _agree(tables: SchemaTables, records: Iterator[bytes], count: int) -> None:
    for values in _batches(records, count):
        assert disagreements(tables, values) == []


@pytest.mark.parametrize(
    ("name", "count"), [("default", 80_000), ("nested", 50_000), ("handbook", 30_000), ("odd", 40_000)]
)
def test_mutated_records_are_read_alike(name: str, count: int, bases: dict[str, list[Members]]) -> None:
    """200,000 records in all: the same columns, texts, hashes, rejections and counts."""
    _agree(TABLES[name], mutated(bases[name], seed=8), count)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "count"),
    [("default", 1_000_000), ("nested", 1_000_000), ("handbook", 500_000), ("odd", 1_000_000)],
)
def test_millions_of_mutated_records_are_read_alike(
    name: str, count: int, bases: dict[str, list[Members]]
) -> None:
    """The same with 3.5 million records of other seeds."""
    _agree(TABLES[name], mutated(bases[name], seed=88), count)


def test_hostile_traffic_is_read_alike_and_the_exact_lane_reads_little_of_it(
    hostile_log: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """W5: only its poison, and records with escaped names or unusual numbers, leave the fast lane."""
    values = [item.value for item in hostile_log]
    tables = TABLES["default"]
    assert both(slice_of(values), tables) == []
    left = _count_exact(monkeypatch)
    batch = decode(slice_of(values), tables, KEY)
    assert len(batch.rejected) <= len(left) < 0.03 * len(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default", record()),
        ("default", record(city="成都 \"'\\/ \t 😀", segment=Raw('"\\u00e9\\ud83d\\ude00\\/"'))),
        ("default", record(account_id=6222, mcc=5411, lat=-0.0, lon=1e2, country="xx", kind="?")),
        ("default", record(unread={"a": [1.5e300, "é\\n", None, {"b": [[], {}]}], "a ": 0, "x": True})),
        ("default", b" \r\n\t" + json.dumps(TRANSACTION, indent=2).encode() + b"\n"),
        ("nested", record(NESTED)),
        ("handbook", record(HANDBOOK)),
        ("odd", json.dumps(ODD, ensure_ascii=False).encode()),
        ("odd", b'{"konto_nummer_des_kunden_in_der_bank":"k"}'),
    ],
)
def test_what_banks_send_stays_on_the_fast_lane(
    name: str, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ordinary records never need the exact lane, escapes and foreign text included."""
    left = _count_exact(monkeypatch)
    assert len(decode(slice_of([value]), TABLES[name], KEY)) == 1
    assert left == []
    assert both(slice_of([value]), TABLES[name]) == []


def test_every_single_cut_is_read_alike() -> None:
    """A record that ends anywhere, alone and with its rest behind it in the buffer."""
    for name, base in (("default", TRANSACTION), ("nested", NESTED), ("odd", ODD)):
        raw = record(base, city="成\\u00e9 😀") + b" "
        source = slice_of([raw])
        cuts = len(raw) + 1
        inside = replace(
            slice_of([raw] * cuts), start=np.zeros(cuts, np.int64), size=np.arange(cuts), buffer=source.buffer
        )
        assert both(inside, TABLES[name]) == []
        assert disagreements(TABLES[name], [raw[:size] for size in range(cuts)]) == []


def test_a_buffer_without_spare_bytes_is_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that end less than the pad before the buffer's end go to the exact lane."""
    whole = slice_of([record()] * 3)
    size = int(whole.size.sum())
    left = _count_exact(monkeypatch)
    for spare in (0, PAD_BYTES - 1, PAD_BYTES):
        left.clear()
        tight = replace(whole, buffer=whole.buffer[: size + spare])
        assert both(tight, TABLES["default"]) == []
        assert len(left) == (spare < PAD_BYTES)


def test_parts_and_writable_buffers_are_read_alike() -> None:
    """Parts of a slice share its buffer; a transport's buffer may be writable."""
    source = slice_of([record(city=f"c{i}") if i % 3 else b"{" for i in range(20)])
    writable = replace(source, buffer=source.buffer.copy())
    for one in (source.part(3, 11), source.part(5, 5), writable, writable.part(1, 2)):
        assert both(one, TABLES["default"]) == []


def _utf8_values() -> Iterator[bytes]:
    """Yield every sequence of one and two bytes, and the borders of longer ones."""
    ends = (
        0x00,
        0x22,
        0x5C,
        0x7F,
        0x80,
        0x81,
        0x8F,
        0x90,
        0x9F,
        0xA0,
        0xBF,
        0xC0,
        0xC2,
        0xE0,
        0xED,
        0xF4,
        0xFF,
    )
    for first in range(256):
        yield bytes([first])
        for second in range(256):
            yield bytes([first, second])
    for first in range(0xC0, 256):
        for second, third in itertools.product(range(0x70, 0xD0), ends):
            yield bytes([first, second, third])
    for first in range(0xEC, 256):
        for second, third, fourth in itertools.product(ends, ends, ends):
            yield bytes([first, second, third, fourth])


@pytest.mark.parametrize("where", ["city", "unread"])
def test_every_utf8_sequence_is_read_alike(where: str) -> None:
    """In a text that the schema reads and in one that it does not."""
    tables = compile_schema(make_schema([("a.text", Type.CATEGORY, {"path": ("city",)})]))
    head, tail = b'{"' + where.encode() + b'":"', b'"}'
    for values in _grouped(_utf8_values(), 4_000):
        assert disagreements(tables, [head + item + tail for item in values]) == []


def _grouped(items: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while group := list(itertools.islice(items, size)):
        yield group


def test_every_unicode_escape_is_read_alike() -> None:
    """All 65,536 units, and pairs at the borders of surrogates."""
    tables = compile_schema(make_schema([("a.text", Type.CATEGORY, {"path": ("city",)})]))
    borders = (0x0000, 0x0041, 0xD7FF, 0xD800, 0xD83D, 0xDBFF, 0xDC00, 0xDE00, 0xDFFF, 0xE000, 0xFFFF)
    units = [b"\\u%04x" % unit for unit in range(0x10000)]
    pairs = [b"\\u%04X\\u%04x" % pair for pair in itertools.product(borders, borders)]
    for values in _grouped(iter(units + pairs), 4_000):
        assert disagreements(tables, [b'{"city":"' + item + b'"}' for item in values]) == []


def test_money_at_every_border_is_read_alike() -> None:
    """Every currency around the largest amount and its last decimal, in both spellings."""
    values = []
    for code in [*DECIMALS, "XXX", "AAA", "ZZZ", "eur", "EU", "EURO", ""]:
        decimals = DECIMALS.get(code, 2)
        most = 10**13
        for minor in (0, 1, most - 1, most, most + 1, 10 * most):
            whole, part = divmod(minor, 10**decimals)
            amount = f"{whole}.{part:0{decimals}d}" if decimals else str(whole)
            more = amount if "." in amount else amount + "."
            for text in (amount, more + "0", more + "0" * 30, more + "1", "-" + amount, "0" + amount):
                for sent in (text, Raw(text)):
                    values += [record(amount=sent, currency=code), record(balance_before=sent, currency=code)]
    for group in (values[i : i + 2_000] for i in range(0, len(values), 2_000)):
        assert disagreements(TABLES["default"], group) == []


def test_times_and_dates_at_every_border_are_read_alike() -> None:
    """Every day of leap and other years, every hour, minute and second, every offset."""
    days = [
        f"{year:04d}-{month:02d}-{day:02d}"
        for year in (0, 1899, 1900, 1999, 2000, 2023, 2024, 2099, 2100, 2101, 9999)
        for month in range(14)
        for day in (0, 1, 27, 28, 29, 30, 31, 32)
    ]
    clocks = [f"{n:02d}:00:00" for n in range(26)] + [f"00:{n:02d}:00" for n in range(62)]
    clocks += [f"23:59:{n:02d}" for n in range(62)] + ["24:00:00", "00:00:00.", "00:00:00.9999", "00:00:00,5"]
    zones = [
        f"{sign}{hour:02d}:{minute:02d}" for sign in "+- " for hour in range(26) for minute in (0, 1, 59, 60)
    ]
    times = [f"{day}T12:00:00Z" for day in days]
    times += [f"2026-03-01T{clock}z" for clock in clocks]
    times += [
        f"{edge}{zone}" for zone in zones for edge in ("1999-12-31T23:59:00", "2100-01-01T00:00:00.999")
    ]
    values = [record(event_time=time) for time in times] + [record(account_opened=day) for day in days]
    values += [record(event_time=ms + by) for ms in (946684800000, 4102444800000) for by in (-1, 0, 1)]
    assert disagreements(TABLES["default"], values) == []


def _word(
    field: str, place: int, new: Callable[[int], int], name: str = "default"
) -> Callable[[FlatTables], int]:
    """Return a bug in one word of a field's record."""

    def plant(flat: FlatTables) -> int:
        number = next(i for i, item in enumerate(SCHEMAS[name].fields) if item.name == field)
        begin = at.H_SIZE + number * at.F_WORDS + place
        flat.plan[begin] = new(int(flat.plan[begin]))
        return begin

    return plant


def _limit(place: int, new: int) -> Callable[[FlatTables], int]:
    """Return a bug in one limit."""

    def plant(flat: FlatTables) -> int:
        flat.plan[place] += new
        return place

    return plant


def _yen_with_decimals(flat: FlatTables) -> None:
    first, second, third = (ord(letter) - ord("A") for letter in "JPY")
    names = flat.names.copy()
    names[int(flat.plan[at.H_CURRENCIES]) + (first * 26 + second) * 26 + third] = 3
    object.__setattr__(flat, "names", names)


def _name_of(length: int) -> Callable[[FlatTables], None]:
    """Return a table whose name of a length has another byte in its middle."""

    def plant(flat: FlatTables) -> None:
        names, begin = flat.names.copy(), int(flat.plan[at.H_NAMES])
        entries = flat.plan[begin : int(flat.plan[at.H_TEXTS])].reshape(-1, at.N_WORDS)
        entry = next(item for item in entries.tolist() if item[at.N_SPACE] and item[at.N_SIZE] == length)
        names[entry[at.N_START] + length // 2] ^= 1
        object.__setattr__(flat, "names", names)

    return plant


BUGS: dict[str, tuple[str, Callable[[FlatTables], object]]] = {
    "one level too deep": ("default", _limit(at.H_MAX_DEPTH, 1)),
    "amounts up to one more": ("default", _limit(at.H_MAX_MINOR, 1)),
    "the year 2100": ("default", _limit(at.H_MAX_TIME, 1)),
    "the last millisecond of 1999": ("default", _limit(at.H_MIN_TIME, -1)),
    "dates of 2101": ("default", _limit(at.H_MAX_YEAR, 1)),
    "numbers of 17 digits": ("nested", _limit(at.H_MAX_DIGITS, 2)),
    "points just off the globe": ("default", _limit(at.H_MAX_LATITUDE, 1)),
    "yen with decimals": ("default", _yen_with_decimals),
    "names compared in part": ("odd", _name_of(19)),
    "ids of 65 characters": ("default", _word("event.id", at.F_MAX_CHARS, lambda n: n + 1)),
    "any account": ("default", _word("account.id", at.F_FLAGS, lambda n: n & ~at.REQUIRED)),
    "integers as texts": ("default", _word("txn.city", at.F_FLAGS, lambda n: n | at.FROM_INTEGER)),
    "negative amounts": ("nested", _word("txn.amount", at.F_FLAGS, lambda n: n | at.SIGNED, "nested")),
    "no default of null": ("default", _word("event.type", at.F_FLAGS, lambda n: n & ~at.NULL_DEFAULT)),
    "another default": ("nested", _word("txn.rate", at.F_SIZE, lambda n: n - 2, "nested")),
    "amounts never needed": ("default", _word("txn.amount", at.F_NEEDED, lambda _: at.NEVER)),
    "another enum's values": ("default", _word("txn.kind", at.F_SPACE, lambda n: n + 1)),
    "latitude twice": ("default", _word("txn.geo", at.F_TOKEN2, lambda n: n - 1)),
}
"""Bugs that are planted in the kernels' tables, one at a time."""


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str, bases: dict[str, list[Members]]) -> None:
    """The law's test is worth something: each of these makes it fail within 40,000 records."""
    name, plant = BUGS[bug]
    tables = TABLES[name]
    flat = replace(tables.flat, plan=tables.flat.plan.copy())
    plant(flat)
    spoilt = replace(tables, flat=flat)
    records = mutated(bases[name], seed=8)
    assert any(both(slice_of(values), spoilt) for values in _batches(records, 40_000))
