"""Why every stopped record of a corpus was stopped, and that the change that is named lets it pass."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.backtests import candidate_of, write_log
from support.logs import shipped_bundle

from fraudstream.bench.traffic.generate import generate
from fraudstream.rules.bundle import Source
from fraudstream.rules.compiler.program import Inputs
from fraudstream.stream.backtest.build import HASH_KEY, feature_log
from fraudstream.stream.backtest.counterfactual import Counterfactuals
from fraudstream.stream.backtest.explainer import Explainer
from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.backtest.row import Row, row_of_log, row_of_result
from fraudstream.stream.decide import compile_plan, decide, row_mask
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.shipped import named_model, shipped_rules
from fraudstream.stream.wire.types import Slice

COUNT = 40_000


@cache
def corpus() -> Slice:
    """Return generated traffic as one slice."""
    chunks = list(generate(COUNT, 5))
    values = [value for chunk in chunks for value in chunk.values]
    times = [time for chunk in chunks for time in chunk.times_ms]
    return Slice.from_records(0, values, [None] * len(values), list(range(len(values))), times)


@cache
def stopped() -> tuple[tuple[Row, int, int, tuple[tuple[str, str], ...]], ...]:
    """Return every alert and block: the row, its decision, score and reasons as the pipeline gave them."""
    pipeline = Pipeline(0, HASH_KEY, shipped_bundle(), named_model(None))
    found = []
    for begin in range(0, COUNT, 1_000):
        result = pipeline.process(corpus().part(begin, begin + 1_000))
        outcome = result.outcome
        for at in np.flatnonzero(outcome.decision > 0).tolist():
            row = row_of_result(result, int(result.batch.offset[at]), HASH_KEY)
            assert row is not None
            found.append((row, int(outcome.decision[at]), int(outcome.score[at]), outcome.reasons[at]))
    return tuple(found)


def decided_with(row: Row, settings) -> int:
    """Decide a row with other values under the bundle as it ships: nothing of the search is used."""
    bundle = shipped_bundle()
    batch, micro = row.batch, row.micro
    value, state = batch.value.copy(), batch.state.copy()
    start, size, buffer = batch.start.copy(), batch.size.copy(), batch.buffer
    feature_value, feature_state = row.feature_value.copy(), row.feature_state.copy()
    for slot, words, text in settings:
        for word in range(slot.type.width):
            new = 0 if words is None else words[word]
            if slot.source is Source.FEATURE:
                feature_value[0, slot.column + word] = new
                feature_state[0, slot.column + word] = words is not None
            elif slot.source is Source.FIELD:
                value[slot.column + word, 0] = new
                state[slot.column + word, 0] = words is not None
            else:
                micro = -1 if words is None else round(float(np.int64(new).view(np.float64)) * 1e6)
        if text:
            start[slot.column], size[slot.column] = len(buffer), len(text)
            buffer = np.concatenate([buffer, np.frombuffer(text, np.uint8)])
    score = np.array([[max(micro, 0) / 1e6]]).view(np.int64)
    inputs = Inputs(
        value,
        state,
        start,
        size,
        buffer,
        feature_value,
        feature_state,
        score,
        np.array([[micro >= 0]], np.uint8),
    )
    true, unknown = bundle.program.bind(row.hash_key).evaluate(inputs, 1)
    active = row_mask(np.ones(1, np.bool_))
    champion = np.array([micro], np.int64)
    decided = decide(compile_plan(bundle), true, unknown, active, champion, lambda rule, _: rule.id)
    return int(decided.decision[0])


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    """Explains under the shipped rules."""
    return Explainer(candidate_of(shipped_rules()).compiled)


def test_the_explanation_is_the_decision(explainer):
    """Decision, score and reasons of every alert and block; each reason's rule is said to hold."""
    assert len(stopped()) > 100
    for row, decision, score, reasons in stopped():
        found = explainer.explain(row)
        assert (found.decision, found.score) == (("pass", "alert", "block")[decision], score)
        assert found.reasons == reasons
        held = {seen.rule.id for seen in found.rules if seen.outcome == "true"}
        assert {code for code, _ in reasons if not code.startswith(("typology.", "model."))} <= held


def test_the_change_lets_every_stopped_record_pass(explainer):
    """All have one; applied without the search's own code it flips the decision, and all of it is needed."""
    search = Counterfactuals(explainer)
    several = 0
    for row, decision, _, _ in stopped():
        assert decided_with(row, ()) == decision
        settings = search.find(row)
        assert settings, row.batch.offset
        assert decided_with(row, settings) == 0
        several += len(settings) > 1
        for at in range(len(settings)):
            assert len(settings) == 1 or decided_with(row, settings[:at] + settings[at + 1 :]) > 0
    assert several > 0


def test_a_number_is_changed_no_more_than_it_has_to_be(explainer):
    """Half a change of a whole number, or one unit less of it, is not enough."""
    search = Counterfactuals(explainer)
    tried = 0
    for row, _, _, _ in stopped():
        (setting, *more) = search.find(row) or (None,)
        if more or setting is None or setting.words is None or setting.slot.repr == "f":
            continue
        slot = setting.slot
        words = row.decoded.words(slot, 0)
        if (
            slot.type.is_text
            or slot.type.width > 1
            or words is None
            or slot.type.value in ("enum", "country", "bool")
        ):
            continue
        back = words[0] + (setting.words[0] - words[0]) // 2
        nearer = setting.words[0] + (1 if setting.words[0] < words[0] else -1)
        for word in {back, nearer} - {setting.words[0]}:
            assert decided_with(row, [setting._replace(words=(word,))]) > 0, slot.name
            tried += 1
    assert tried > 50


def test_rows_of_a_feature_log_are_rows_of_the_replay(explainer, tmp_path):
    """Every value that an explanation shows, texts and features too."""
    candidate = candidate_of(shipped_rules())
    source = write_log(tmp_path / "log", corpus().part(0, 8_000))
    log = FeatureLog(feature_log(tmp_path / "kept", source, candidate))
    rows = [item for item in stopped() if item[0].batch.offset[0] < 8_000]
    assert len(rows) > 10
    for row, _, _, _ in rows:
        number = log.runs.row_of(0, int(row.batch.offset[0]))
        assert number is not None
        kept = row_of_log(log, candidate.bundle, number)
        assert kept is not None
        assert explainer.explain(kept) == explainer.explain(row)
        assert explainer.features(kept) == explainer.features(row)
        assert (kept.micro, kept.flags, kept.duplicate_of) == (row.micro, row.flags, row.duplicate_of)
