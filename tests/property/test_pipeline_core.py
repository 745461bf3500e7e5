"""The core is a pure function of log and versions: borders, restarts and recovery do not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.logs import KEY, known_from, rough_log, run_log, shipped_bundle, small_model

from fraudstream.rules.bundle import Mode
from fraudstream.stream.pipeline import Known, Pipeline, RebuildNeeded
from fraudstream.stream.windows.store import SnapshotError
from fraudstream.stream.wire.types import Slice

SEED = 10
"""Of a log that takes every road, and repeats no event below offset 1,000 into a window of a decided row."""


def new_pipeline(start_from: int = 0, *, live: bool = True) -> Pipeline:
    """Return an empty pipeline of partition 0 over the shipped rules."""
    return Pipeline(0, KEY, shipped_bundle(), small_model(), start_from, live=live)


@pytest.fixture(scope="module")
def whole():
    """The rough log in one slice: run and final state hash."""
    pipeline = new_pipeline()
    return run_log(pipeline, rough_log(seed=SEED), []), pipeline.state_hash()


def test_the_rough_log_takes_every_road(whole):
    """Otherwise the equalities below prove nothing."""
    run, _ = whole
    bodies = [orjson.loads(text) for text in run.decisions.values()]
    assert len(bodies) == len(rough_log(seed=SEED))
    assert {body["decision"] for body in bodies} == {"pass", "alert", "block"}
    flags = {flag for body in bodies for flag in body["flags"]}
    assert {"duplicate", "id_reuse", "late", "clock_skew", "malformed"} <= flags
    assert any(reason["code"] == "model.champion" for body in bodies for reason in body["reasons"])
    repeated = [body for body in bodies if "duplicate" in body["flags"] and body["decision"] != "pass"]
    assert repeated, "a duplicate of an alert or block"
    assert len(set(run.dead_letters.values())) > 5


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, len(rough_log(seed=SEED))), max_size=40), st.sampled_from([1, 7, 64, 1000, None])
)
def test_batch_borders_do_not_show(whole, cuts, size):
    """Any split, empty slices included, gives the same bytes and the same state."""
    log = rough_log(seed=SEED)
    borders = sorted(cuts) if size is None else list(range(size, len(log), size if size > 1 else 13))
    if size == 1:  # single records all the way would be slow: a stretch of them
        borders = sorted({*borders, *range(400, 520)})
    pipeline = new_pipeline()
    assert run_log(pipeline, log, borders) == whole[0]
    assert pipeline.state_hash() == whole[1]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, len(rough_log(seed=SEED))))
def test_a_restored_snapshot_goes_on_as_if_nothing_had_been(whole, at):
    """Decisions after it, and the state, are those of the run without a stop."""
    log = rough_log(seed=SEED)
    first = new_pipeline()
    begun = run_log(first, log.part(0, at), [])
    restored = Pipeline.restore(first.snapshot(), shipped_bundle(), small_model())
    assert restored.next_offset == at
    rest = run_log(restored, log.part(at, len(log)), [])
    assert begun.decisions | rest.decisions == whole[0].decisions
    assert begun.alerts | rest.alerts == whole[0].alerts
    assert restored.state_hash() == whole[1]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, len(rough_log(seed=SEED))), st.integers(1, 9))
def test_published_decisions_are_neither_repeated_nor_computed_again(whole, below, hole):
    """Recovery publishes exactly the holes and what follows; the state is the same."""
    log, run = rough_log(seed=SEED), whole[0]
    known = known_from(run, below)
    keep = known.offset % 10 != hole
    known = Known(known.offset[keep], known.decision[keep], known.score[keep])
    pipeline = new_pipeline()
    recovered = run_log(pipeline, log, [500, 1200], known)
    missing = set(run.decisions) - set(known.offset.tolist())
    assert recovered.decisions == {offset: run.decisions[offset] for offset in missing}
    assert recovered.alerts == {offset: run.alerts[offset] for offset in missing & set(run.alerts)}
    assert set(recovered.dead_letters) == missing & set(run.dead_letters)
    assert pipeline.state_hash() == whole[1]


def test_a_duplicate_repeats_what_was_published_not_what_would_be_computed(whole):
    """Known decisions win over today's rules: the answer that was given stays the answer."""
    log, run = rough_log(seed=SEED), whole[0]
    copies = {
        int(body["duplicate_of"].split(":")[1]): offset
        for offset, text in run.decisions.items()
        if (body := orjson.loads(text)).get("duplicate_of")
    }
    first, copy = next((f, c) for f, c in copies.items() if c > f)
    known = Known(np.array([first], np.int64), np.array([2], np.uint8), np.array([777], np.int32))
    repeated = orjson.loads(run_log(new_pipeline(), log, [], known).decisions[copy])
    assert (repeated["decision"], repeated["score"], repeated["reasons"]) == ("block", 777, [])


def test_records_below_the_start_count_in_windows_and_get_no_decision(whole):
    """A duplicate of one of them is decided itself, everything else as if nothing were missing."""
    log, run = rough_log(seed=SEED), whole[0]
    start = 1_000
    begun = run_log(new_pipeline(start), log, [999, 1001])
    assert set(begun.decisions) == {offset for offset in run.decisions if offset >= start}
    differ = [offset for offset, text in begun.decisions.items() if text != run.decisions[offset]]
    for offset in differ:
        before = orjson.loads(run.decisions[offset])
        body = orjson.loads(begun.decisions[offset])
        early = int(before.get("duplicate_of", "0:9999").split(":")[1]) < start
        assert early or "id_reuse" in before["flags"] or "duplicate" in body["flags"]
    assert differ, "the log has duplicates across the start"


def test_shadow_mode_passes_everything_and_keeps_what_would_have_been(whole):
    """Decisions are pass, unreadable records too; no alerts; score, reasons and state of decisions stay."""
    log, run = rough_log(seed=SEED), whole[0]
    shadow = run_log(new_pipeline(live=False), log, [777])
    assert {orjson.loads(text)["decision"] for text in shadow.decisions.values()} == {"pass"}
    assert shadow.alerts == {}
    assert shadow.dead_letters == run.dead_letters
    for offset, text in run.decisions.items():
        live, now = orjson.loads(text), orjson.loads(shadow.decisions[offset])
        live.pop("decision")
        now.pop("decision")
        assert now == live
    stopped = {o for o, text in run.decisions.items() if b'"decision":"block"' in text and o in run.would_be}
    assert {o for o, decision in shadow.would_be.items() if decision == 2} >= {
        o for o in stopped if b'"duplicate"' not in run.decisions[o]
    }


def test_alerts_are_of_every_block_and_alert_that_somebody_must_see(whole):
    """Not of malformed records and duplicates; each begins with its decision and has its evidence."""
    run = whole[0]
    wanted = {
        offset
        for offset, text in run.decisions.items()
        if (body := orjson.loads(text))["decision"] != "pass"
        and not {"malformed", "duplicate", "suppressed"} & set(body["flags"])
    }
    assert set(run.alerts) == wanted
    for offset, text in run.alerts.items():
        assert text.startswith(run.decisions[offset][:-1])
        alert = orjson.loads(text)
        assert alert["transaction"]["transaction_id"] == alert["transaction_id"]
        assert alert["transaction"]["account_id"].startswith("****")
        codes = {reason["code"] for reason in alert["reasons"]}
        for rule in shipped_bundle().rules:
            if rule.id in codes:
                assert {slot.name for slot in rule.reads} <= set(alert["evidence"])


def test_counts_are_those_of_the_decisions(whole):
    """Metrics can be added up from counts alone."""
    run, log = whole[0], rough_log(seed=SEED)
    pipeline = new_pipeline()
    counts = [pipeline.process(log.part(at, at + 500)).counts for at in range(0, len(log), 500)]
    bodies = [orjson.loads(text) for text in run.decisions.values()]
    for kind in ("pass", "alert", "block"):
        assert sum(c.decisions[kind] for c in counts) == sum(b["decision"] == kind for b in bodies)
    for flag in ("duplicate", "late", "malformed", "no_rate", "approximate"):
        assert sum(c.flags[flag] for c in counts) == sum(flag in b["flags"] for b in bodies)
    assert sum(sum(c.dead_letters.values()) for c in counts) == len(run.dead_letters)
    for at, rule in enumerate(shipped_bundle().rules):
        if rule.mode is Mode.LIVE and rule.action >= 2:
            named = sum(any(r["code"] == rule.id for r in b["reasons"]) for b in bodies)
            assert sum(int(c.rules.true[at]) for c in counts) >= named
        assert all(c.rules.true[at] + c.rules.unknown[at] <= c.rules.evaluated[at] for c in counts)


def test_steps_come_in_the_order_of_the_road():
    """Decode, join, admit, features, score, rules, decide, encode."""
    pipeline, steps = new_pipeline(), []
    pipeline.on_step = steps.append
    pipeline.process(rough_log(seed=SEED).part(0, 10))
    assert steps == ["decode", "join", "admit", "features", "score", "rules", "decide", "encode"]


def test_a_switch_takes_other_rules_and_refuses_other_definitions():
    """Rules and model change between slices; schema and time settings need their state built again."""
    pipeline, log = new_pipeline(), rough_log(seed=SEED)
    bundle = shipped_bundle()
    pipeline.process(log.part(0, 100))
    pipeline.switch(replace(bundle, hash="sha256:other", rules=()), None, live=False)
    body = orjson.loads(pipeline.process(log.part(100, 101)).encoded.record(0))
    assert (body["rules_version"], body["models_version"], body["models"]) == ("sha256:other", "none", {})
    late = replace(bundle.features.time, allowed_lateness_ms=1)
    with pytest.raises(RebuildNeeded, match="`time:`"):
        pipeline.switch(replace(bundle, features=replace(bundle.features, time=late, hash="x")), None)
    with pytest.raises(RebuildNeeded, match="another schema"):
        pipeline.switch(replace(bundle, schema=replace(bundle.schema, hash="x")), None)


def test_what_nobody_reads_is_not_computed_and_changes_nothing():
    """Decisions, state and snapshots are the same; the matrix lacks features that no rule reads."""
    whole, lean = new_pipeline(), new_pipeline()
    lean.compute_what_is_read()
    few = replace(shipped_bundle(), rules=shipped_bundle().rules[:3])
    for pipeline in (whole, lean):
        pipeline.switch(few, None)
    log = rough_log(seed=SEED)
    all_of_it, read = whole.process(log.part(0, 1_000)), lean.process(log.part(0, 1_000))
    assert [all_of_it.encoded.record(i) for i in range(len(all_of_it.rows))] == [
        read.encoded.record(i) for i in range(len(read.rows))
    ]
    assert lean.state_hash() == whole.state_hash()
    assert lean.snapshot() == whole.snapshot()
    computed = (read.matrix.state.any(axis=0)).sum()
    assert 0 < computed < (all_of_it.matrix.state.any(axis=0)).sum()
    lean.switch(shipped_bundle(), None)
    whole.switch(shipped_bundle(), None)
    assert lean.process(log.part(1_000, 1_500)).encoded.record(0) == whole.process(
        log.part(1_000, 1_500)
    ).encoded.record(0)


def test_slices_of_another_partition_or_of_the_past_are_refused():
    """A caller's mistake must not become a wrong state."""
    pipeline, log = new_pipeline(), rough_log(seed=SEED)
    pipeline.process(log.part(0, 10))
    with pytest.raises(ValueError, match="below the next offset 10"):
        pipeline.process(log.part(9, 12))
    other = Slice.from_records(1, [b"{}"], [None], [20], [0])
    with pytest.raises(ValueError, match="partition 1, this pipeline of 0"):
        pipeline.process(other)


def test_a_damaged_snapshot_is_refused_and_one_of_other_features_is_rebuilt():
    """Each byte counts."""
    pipeline = new_pipeline()
    pipeline.process(rough_log(seed=SEED).part(0, 200))
    data = pipeline.snapshot()
    for at in (0, 9, 40, len(data) // 2, len(data) - 1):
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(SnapshotError):
            Pipeline.restore(bytes(broken), shipped_bundle(), None)
    with pytest.raises(SnapshotError):
        Pipeline.restore(data[:-5], shipped_bundle(), None)
    bundle = shipped_bundle()
    with pytest.raises(RebuildNeeded, match="`features`"):
        Pipeline.restore(data, replace(bundle, features=replace(bundle.features, hash="x")), None)


def test_warming_leaves_the_state_alone():
    """Kernels are loaded with made-up records of a scratch state."""
    pipeline = new_pipeline()
    before = pipeline.state_hash()
    pipeline.warm()
    assert pipeline.state_hash() == before
