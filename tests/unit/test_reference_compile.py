"""What ``reference.yaml`` compiles to: names, rows, hashes; and how content stands in journals."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from support.reference import (
    COLUMNS,
    DAY_MS,
    KEY,
    NOW_MS,
    batch_of,
    content_of,
    declaration,
    plain_rows,
    reference_bundle,
    version_of_rows,
)

from fraudstream.models.file import load_model
from fraudstream.models.inputs import Input
from fraudstream.models.linear import dump_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, Source
from fraudstream.rules.compiler.compile import compile_archive
from fraudstream.stream.enrichment.store import Enrichment, reads_reference
from fraudstream.stream.evidence import personal_names
from fraudstream.stream.journal import JournalError, read_journal, start_record, take_record, version_record
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.scoring import bind_model
from fraudstream.stream.wire.types import Slice

TABLE = {"key": "account.id"}
FIRST = {"bundle": "sha256:a", "models": "sha256:m", "core": "1", "mode": "live", "state_from": 0}


def test_read_columns_stand_first_behind_the_fields() -> None:
    """Rows are dense: what is read takes its words, what is not takes none of a batch."""
    bundle = reference_bundle(declaration(t=TABLE, unread=TABLE), ["t.twin", "t.home", "t.stale"])
    read = {slot.name: slot for slot in bundle.reference.read}
    assert sorted(read) == ["t.home", "t.stale", "t.twin"]
    begin = bundle.schema.words
    rows = sorted(row for slot in read.values() for row in range(slot.column, slot.column + slot.type.width))
    assert rows == list(range(begin, begin + 5))
    assert all(slot.source is Source.FIELD for slot in read.values())
    assert {f"t.{name}" for name in (*COLUMNS, "found", "stale")} <= bundle.slots.keys()
    assert bundle.slots["t.band"].values == ("low", "high")
    assert reads_reference(bundle, None) == {"t"}
    joined = Enrichment(bundle, None, KEY).join(batch_of(bundle, [{"event.time": NOW_MS}])).batch
    assert joined.value.shape == (begin + 5, 1)
    assert not joined.state[begin:].any(), "without content everything is missing"
    assert compile_archive(bundle.archive).reference == bundle.reference


def test_without_tables_a_batch_passes_untouched() -> None:
    """Nobody pays for what nobody declared."""
    bundle = reference_bundle(declaration(t=TABLE), [])
    batch = batch_of(bundle, [{"event.time": NOW_MS}])
    assert Enrichment(bundle, None, KEY).join(batch).batch is batch


def test_state_depends_on_the_tables_that_filters_read_and_on_no_others() -> None:
    """Another declaration behind a `where` is another feature; other columns and rules are not."""
    feature = "a.n: {agg: count, key: account.id, window: 1h, where: 't.score > 5'}"
    same = reference_bundle(declaration(t=TABLE), ["t.score"], feature)
    other_rule = reference_bundle(declaration(t=TABLE), ["t.band", "t.score"], feature)
    another_table = reference_bundle(declaration(t=TABLE, u=TABLE), ["t.score", "u.band"], feature)
    number = reference_bundle(
        declaration(t={**TABLE, "columns": {**COLUMNS, "score": "{type: number}"}}), ["t.score"], feature
    )
    stale = reference_bundle(
        declaration(t={**TABLE, "more": ["stale_after: 1d", "when_stale: missing"]}), ["t.score"], feature
    )
    assert same.features.hash == other_rule.features.hash == another_table.features.hash
    assert len({same.features.hash, number.features.hash, stale.features.hash}) == 3


def one_weight_model(name: str) -> Model:
    """Return a model with one input."""
    return load_model(dump_model(["payment"], [Input(name)], [0.0], [1.0], [1.0], 0.0, {}))


def test_a_model_reads_a_column_that_no_rule_reads() -> None:
    """It is joined for the model, behind what rules read."""
    bundle = reference_bundle(declaration(t=TABLE), ["t.band"])
    model = one_weight_model("t.score")
    rows = {"a1": {"score": "3", "band": "high"}, "a2": {"score": "-3"}}
    version = version_of_rows(bundle.reference.tables[0], rows)
    enrichment = Enrichment(bundle, model, KEY, {"t": version})
    assert enrichment.slots["t.score"].column == bundle.schema.words + 1
    assert bind_model(model, replace(bundle, slots=enrichment.slots)) is not None
    pipeline = Pipeline(0, KEY, bundle, model, enrichment=enrichment)
    values = [
        orjson.dumps({"transaction_id": f"t{i}", "event_time": NOW_MS, "account_id": f"a{i}"})
        for i in (1, 2, 3)
    ]
    result = pipeline.process(Slice.from_records(0, values, [None] * 3, range(3), [NOW_MS] * 3))
    assert (result.outcome.champion_micro > 500_000).tolist()[:2] == [True, False]
    assert result.counts.joins == {("t", "found"): 2, ("t", "absent"): 1, ("t", "stale"): 0}


def test_other_tables_leave_duplicates_duplicates() -> None:
    """A record that comes again after the content changed is still the same record."""
    bundle = reference_bundle(declaration(t=TABLE), ["t.score"])
    table = bundle.reference.tables[0]
    first = version_of_rows(table, {"a1": {"score": "1"}})
    pipeline = Pipeline(0, KEY, bundle, None, enrichment=Enrichment(bundle, None, KEY, {"t": first}))
    value = orjson.dumps({"transaction_id": "t1", "event_time": NOW_MS, "account_id": "a1"})
    pipeline.process(Slice.from_records(0, [value], [None], [0], [NOW_MS]))
    second = version_of_rows(table, {"a1": {"score": "2"}}, before=first)
    pipeline.switch(bundle, None, enrichment=pipeline.enrichment.switched(bundle, None, {"t": second}))
    again = pipeline.process(Slice.from_records(0, [value], [None], [1], [NOW_MS]))
    assert again.counts.flags["duplicate"] == 1
    assert again.counts.flags["id_reuse"] == 0


def test_an_enum_in_another_order_is_read_by_name() -> None:
    """Content that was read under an older declaration keeps its meaning."""
    old = reference_bundle(declaration(t=TABLE), ["t.band"])
    columns = {**COLUMNS, "band": "{type: enum, values: [high, top]}"}
    new = reference_bundle(declaration(t={**TABLE, "columns": columns}), ["t.band"])
    version = version_of_rows(old.reference.tables[0], {"a1": {"band": "high"}, "a2": {"band": "low"}})
    events = [{"event.time": NOW_MS, "account.id": name} for name in ("a1", "a2")]
    joined = Enrichment(new, None, KEY, {"t": version}).join(batch_of(new, events)).batch
    assert [row["band"] for row in plain_rows(new, joined, "t")] == [0, None]


def test_stale_is_judged_at_the_event_by_the_contents_own_time() -> None:
    """Exactly at the border it is fresh; one millisecond later it is not."""
    bundle = reference_bundle(declaration(t={**TABLE, "more": ["stale_after: 1d"]}), ["t.stale", "t.score"])
    version = version_of_rows(bundle.reference.tables[0], {"a1": {"score": "1"}}, NOW_MS)
    events = [{"event.time": NOW_MS + DAY_MS + more, "account.id": "a1"} for more in (-1, 0, 1)]
    enrichment = Enrichment(bundle, None, KEY, {"t": version})
    joined = enrichment.join(batch_of(bundle, events))
    assert [row["stale"] for row in plain_rows(bundle, joined.batch, "t")] == [0, 0, 1]
    assert joined.counts.tolist() == [[3, 0, 1]]


def test_personal_columns_are_masked_in_alerts() -> None:
    """A table's class holds for its columns unless they say otherwise."""
    columns = {"a": "{type: id}", "b": "{type: id, class: public}"}
    bundle = reference_bundle(
        declaration(t={**TABLE, "more": ["class: personal"], "columns": columns}), ["t.a", "t.b"]
    )
    assert {name for name in personal_names(bundle) if name.startswith("t.")} == {"t.a"}


def test_versions_of_tables_are_in_force_name_by_name() -> None:
    """Each table from its own record on; journals without tables say that there are none."""
    records = [
        take_record("w", "1"),
        start_record(0, 5, KEY),
        version_record(0, 5, FIRST, {"a": "sha256:a1", "b": "sha256:b1"}),
        version_record(0, 9, {}, {"a": "sha256:a2"}),
        version_record(0, 9, {"mode": "shadow"}, {"b": "sha256:b2"}),
        version_record(0, 7, {}, {"a": "sha256:a3"}),
    ]
    journal = read_journal(enumerate(records))
    assert journal.in_force(0).tables == journal.in_force(6).tables == {"a": "sha256:a1", "b": "sha256:b1"}
    assert journal.in_force(7).tables == {"a": "sha256:a3", "b": "sha256:b1"}
    assert journal.in_force(9).tables == {"a": "sha256:a2", "b": "sha256:b2"}
    assert journal.borders() == (5, 7, 9)
    old = read_journal(enumerate([take_record("w", "1"), version_record(0, 5, FIRST)]))
    assert old.in_force(5).tables == {}
    foreign = orjson.dumps({**orjson.loads(version_record(0, 5, FIRST)), "later": {"x": 1}})
    assert read_journal(enumerate([take_record("w", "1"), foreign])).in_force(5).tables == {}
    wrong = orjson.dumps({**orjson.loads(version_record(0, 5, FIRST)), "tables": {"a": 1}})
    with pytest.raises(JournalError, match="`tables`"):
        read_journal(enumerate([take_record("w", "1"), wrong]))


def test_bound_tables_hold_only_what_is_read() -> None:
    """A record has the words of read columns; the key's hash and presence are three."""
    names = {"none": ["t.found"], "one": ["t.score"], "text": ["t.city"]}
    strides = {}
    for what, read in names.items():
        bundle: Bundle = reference_bundle(declaration(t=TABLE), read)
        content = content_of(bundle.reference.tables[0], {"a1": {"score": "1", "city": "Chengdu"}})
        version = version_of_rows(bundle.reference.tables[0], {"a1": {"score": "1", "city": "Chengdu"}})
        assert len(content.columns) == len(COLUMNS), "content has every column, whoever reads it tomorrow"
        strides[what] = Enrichment(bundle, None, KEY, {"t": version}).bound["t"].stride
    assert strides == {"none": 3, "one": 4, "text": 6}
