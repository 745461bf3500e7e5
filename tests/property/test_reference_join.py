"""Joined columns equal a look-up in a dictionary, whatever deltas led to the content."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import (
    DAY_MS,
    KEY,
    NOW_MS,
    all_names,
    batch_of,
    content_of,
    declaration,
    plain_rows,
    reference_bundle,
    version_of_rows,
)

from fraudstream.rules.bundle import ReferenceTable
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.changes import compacted, difference, merged, successor, whole
from fraudstream.stream.enrichment.content import Content, read_content, write_content
from fraudstream.stream.enrichment.directory import version_from
from fraudstream.stream.enrichment.rows import RowReader
from fraudstream.stream.enrichment.store import Enrichment

BUNDLE = reference_bundle(
    declaration(
        kept={"key": "account.id", "more": ["stale_after: 7d"]},
        gone={"key": "txn.mcc", "more": ["stale_after: 7d", "when_stale: missing"]},
        lands={"key": "txn.country"},
    ),
    [*all_names("kept"), *all_names("gone"), *all_names("lands")],
)
TABLES = {table.name: table for table in BUNDLE.reference.tables}
FIELDS = {name: table.key for name, table in TABLES.items()}
KEYS = {
    "kept": [f"a{i}" for i in range(12)],
    "gone": ["0742", "5999", "x y", "中文", "6011"],
    "lands": ["CN", "DE", "KP", "US"],
}
VALUES: dict[str, st.SearchStrategy[object]] = {
    "band": st.sampled_from(["low", "high"]),
    "score": st.integers(-(2**63), 2**63 - 1).map(str),
    "rate": st.sampled_from(["0.5", "-1e3", "1e400", "7"]),
    "limit": st.sampled_from(["0", "12.50", "-3.1", "100000000000"]),
    "opened": st.sampled_from(["1999-12-31", "2026-02-28"]),
    "seen": st.sampled_from(["2026-01-01T00:00:00+08:00", str(NOW_MS)]),
    "wait": st.integers(0, 10**9).map(str),
    "trusted": st.booleans(),
    "city": st.sampled_from(["Chengdu", "上海", "x" * 60]),
    "twin": st.sampled_from(["t1", "t2"]),
    "lat": st.sampled_from(["30.5", "-90"]),
    "lon": st.sampled_from(["104.1", "180"]),
    "born": st.sampled_from(["CN", "DE"]),
}
MEMBERS = st.fixed_dictionaries({}, optional=VALUES)
MS = st.integers(-8, 8).map(lambda days: NOW_MS + days * DAY_MS // 2)


def rows_of(table: str) -> st.SearchStrategy[dict[str, dict[str, object]]]:
    """Rows by key."""
    return st.dictionaries(st.sampled_from(KEYS[table]), MEMBERS, max_size=8)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, dict[str, Any], list[str], int]]:
    """Steps: (table, rows put, keys removed, as-of time); the first of each table is its base."""
    steps = []
    for _ in range(draw(st.integers(1, 8))):
        table = draw(st.sampled_from(sorted(TABLES)))
        put = draw(rows_of(table))
        removed = draw(st.lists(st.sampled_from(KEYS[table]), unique=True, max_size=4))
        steps.append((table, put, [key for key in removed if key not in put], draw(MS)))
    return steps


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "event.time": MS,
            "account.id": st.sampled_from([*KEYS["kept"], "none"]),
            "txn.mcc": st.sampled_from([*KEYS["gone"], "none", None]),
            "txn.country": st.sampled_from([*KEYS["lands"], "FR", None]),
        }
    ),
    max_size=80,
)


def values(table: ReferenceTable, members: dict[str, object]) -> dict[str, object]:
    """Return a row's words by column; texts as text."""
    read = RowReader(table, 2).values(members)
    return {
        column.name: item.decode() if isinstance(item, bytes) else item
        for column, item in zip(table.columns, read, strict=True)
    }


def expected(
    table: ReferenceTable, rows: dict[str, Any] | None, as_of_ms: int, event: dict[str, Any]
) -> dict[str, object]:
    """Join one event by dictionary."""
    nothing = dict.fromkeys([column.name for column in table.columns])
    if rows is None:
        return {**nothing, "found": None, "stale": None}
    stale = table.stale_after_ms is not None and event["event.time"] - as_of_ms > table.stale_after_ms
    key = event[table.key]
    if key is None or (stale and not table.keep_stale):
        return {**nothing, "found": None, "stale": int(stale)}
    row = rows.get(key)
    return {
        **(nothing if row is None else values(table, row)),
        "found": int(row is not None),
        "stale": int(stale),
    }


@settings(deadline=None, max_examples=200)
@given(history=histories(), events=EVENTS)
def test_joins_equal_a_dictionary_after_every_delta(
    history: list[tuple[str, dict[str, Any], list[str], int]], events: list[dict[str, Any]]
) -> None:
    """Tables changed in place, tables built anew and a dictionary give the same columns."""
    state: dict[str, dict[str, Any]] = {}
    as_of: dict[str, int] = {}
    versions: dict[str, TableVersion] = {}
    enrichment = Enrichment(BUNDLE, None, KEY)
    batch = batch_of(BUNDLE, events)
    for name, put, removed, as_of_ms in history:
        before = versions.get(name)
        versions[name] = version_of_rows(TABLES[name], put, as_of_ms, before, removed if before else ())
        rows = dict(state.get(name, {}))
        for key in removed if before else ():
            rows.pop(key, None)
        state[name], as_of[name] = {**rows, **put}, as_of_ms
        enrichment = enrichment.switched(BUNDLE, None, versions)
        for made in (enrichment, Enrichment(BUNDLE, None, KEY, versions)):
            joined = made.join(batch).batch
            assert made.bound[name].rows == len(state[name])
            for table in TABLES.values():
                found = plain_rows(BUNDLE, joined, table.name)
                wanted = [
                    expected(table, state.get(table.name), as_of.get(table.name, 0), event)
                    for event in events
                ]
                assert found == wanted
            assert np.array_equal(joined.value[: BUNDLE.schema.words], batch.value)
            assert joined.body_hash is batch.body_hash


def as_dict(content: Content) -> dict[str, object]:
    """Return rows by key, as the words of their columns."""
    table = TABLES[content.table]
    bundle_rows: dict[str, object] = {}
    for row, key in enumerate(content.keys.all()):
        assert key not in bundle_rows
        items: list[object] = []
        for column in content.columns:
            if not column.present[row]:
                items.append(None)
            elif column.texts is not None:
                items.append(column.texts.text(row))
            else:
                items.append(np.asarray(column.words[row]).tolist())
        bundle_rows[key.decode()] = items
    assert [column.name for column in content.columns] == [column.name for column in table.columns]
    return bundle_rows


@settings(deadline=None, max_examples=150)
@given(first=rows_of("kept"), second=rows_of("kept"), third=rows_of("kept"))
def test_content_comes_back_and_differences_lead_from_one_to_the_other(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    """Bytes give the content back; old + difference = new; deltas put together are one delta."""
    table = TABLES["kept"]
    a, b, c = (content_of(table, rows) for rows in (first, second, third))
    for content in (a, b):
        data = write_content(content)
        assert write_content(read_content(data)) == data
        assert as_dict(read_content(data)) == as_dict(content)
    base = version_from(a)[0]
    step = difference(a, b, base.version)
    assert as_dict(merged(a, step)) == as_dict(b)
    middle = version_from(step, base)[0]
    assert as_dict(whole(middle)) == as_dict(b)
    last = difference(b, c, middle.version)
    assert as_dict(merged(a, merged(step, last))) == as_dict(c)
    assert len(step) + len(step.removed) == sum(
        as_dict(a).get(key) != as_dict(b).get(key) for key in {**first, **second}
    )


def test_long_chains_become_one_delta_and_then_a_base() -> None:
    """However many small changes, a version is few steps away from its base, and the rows are right."""
    table = TABLES["kept"]
    rows: dict[str, dict[str, object]] = {f"a{i}": {"score": str(i)} for i in range(4_000)}
    version = version_from(content_of(table, rows))[0]
    longest = 0
    for step in range(600):
        key = f"a{step % 7}"
        rows[key] = {"score": str(10_000 + step)}
        delta = content_of(table, {key: rows[key]}, parent=version.version)
        content = compacted(version, delta)
        known = {item.version: item for item in version.chain}
        version = version_from(content, known[content.parent] if content.parent else None)[0]
        longest = max(longest, len(version.chain))
    assert longest < 260
    assert as_dict(whole(version)) == as_dict(content_of(table, rows))


def test_the_same_rows_are_no_new_version_and_a_few_changed_ones_are_a_delta() -> None:
    """A file that is read again publishes what is different."""
    table = TABLES["kept"]
    rows: dict[str, dict[str, object]] = {f"a{i}": {"score": str(i)} for i in range(100)}
    base = version_from(content_of(table, rows))[0]
    assert successor(base, content_of(table, dict(reversed(rows.items())))) is None
    rows["a3"] = {"score": "7"}
    del rows["a4"]
    delta = successor(base, content_of(table, rows))
    assert delta is not None
    assert (delta.parent, delta.keys.all(), delta.removed.all()) == (base.version, [b"a3"], [b"a4"])
    later = successor(base, content_of(table, {"a0": {"score": "0"}}, NOW_MS + 1))
    assert later is not None
    assert later.parent == "", "most rows are other ones: the content is published whole"
