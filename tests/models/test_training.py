"""Learning from a stream: score first, each label once, whatever the order of reading."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fraudstream.models.inputs import Input
from fraudstream.models.registry_store import Entry
from fraudstream.models.training import HOUR_MS, Rules, Training
from fraudstream.models.training_rows import Told, Vector
from fraudstream.stream.errors import Refusal
from fraudstream.stream.trainer_state import TrainerStore

INPUTS = (Input("txn.amount", "log1p"), Input("account.count_1h"), Input("txn.channel", "flag", "web"))
SETTINGS = {
    "logistic": {"legitimate_share": 0.5, "rate": 0.05},
    "binned": {"legitimate_share": 0.5, "bins": 8},
    "adaptive_forest": {"trees": 3, "legitimate_share": 0.3, "max_features": 2},
}
RULES = Rules(mature_ms=6 * HOUR_MS, keep_ms=20 * HOUR_MS, export_ms=5 * HOUR_MS, begin_rows=300)
FIRST = replace(RULES, begin_rows=1)
HOURS, PER_HOUR = 30, 150

Interval = tuple[list[Vector], list[Told]]


def entry(family: str, **more: object) -> Entry:
    """Return a model of the registry."""
    made = Entry(family, family, "tests", "tests", INPUTS, ("payment",), settings=SETTINGS[family])
    return replace(made, **more)  # type: ignore[arg-type]


def stream(seed: int = 1, hours: int = HOURS) -> list[Interval]:
    """Return hours of two partitions: large amounts are fraud more often, as is said 2 hours later."""
    draw = random.Random(seed)
    intervals: list[Interval] = [([], []) for _ in range(hours + 2)]
    offset = [0, 0]
    for hour in range(hours):
        for _ in range(PER_HOUR):
            at = hour * HOUR_MS + draw.randrange(HOUR_MS)
            partition, large = draw.randrange(2), draw.random() < 0.1
            values = {
                "txn.amount": draw.randrange(200_000, 900_000) if large else draw.randrange(100, 50_000),
                "account.count_1h": draw.randrange(1, 9),
                "txn.channel": draw.choice(["web", "mobile"]),
            }
            place = offset[partition]
            offset[partition] += 1
            name = f"T{partition}-{place}"
            intervals[hour][0].append(Vector(partition, place, name, at, "payment", values))
            if draw.random() < (0.7 if large else 0.01):
                told = Told(partition, 10_000 + place, place, name, at + 2 * HOUR_MS, True, "analyst")
                intervals[hour + 2][1].append(told)
    return intervals[:hours]


def run(training: Training, intervals: Sequence[Interval], first: int = 0) -> list[dict[str, int]]:
    """Close interval after interval; returns what became of labels."""
    counts = []
    for hour, (vectors, told) in enumerate(intervals[first:], first):
        training.add(vectors, told)
        counts.append(training.close((hour + 1) * HOUR_MS).counts)
    return counts


def made(*families: str, rules: Rules = RULES) -> Training:
    """Return a training of families."""
    entries = [entry(family) for family in families]
    return Training(entries, {one.id: one for one in entries}, rules)


def known(training: Training) -> tuple[int, int]:
    """Return how many rows and frauds the first model learned."""
    pupil = training._pupils[0]
    return pupil.learned, pupil.frauds


def test_order_of_reading_and_slices_are_invisible() -> None:
    """Partitions in any order, in pieces of any size: the state is the same to the bit."""
    intervals = stream()
    plain = made("logistic")
    run(plain, intervals)
    draw = random.Random(5)
    cut = made("logistic")
    for hour, (vectors, told) in enumerate(intervals):
        pieces = [vectors[at : at + 7] for at in range(0, len(vectors), 7)]
        draw.shuffle(pieces)
        for piece in pieces:
            cut.add(piece, [])
        for one in draw.sample(told, len(told)):
            cut.add([], [one])
        cut.close((hour + 1) * HOUR_MS)
    assert cut.digest() == plain.digest()
    assert plain.quality()["logistic"]["frauds"] > 20


@pytest.mark.parametrize("family", SETTINGS)
def test_a_training_that_was_written_and_read_goes_on_as_if_nothing_was(family: str, tmp_path: Path) -> None:
    """After every fourth interval a new process reads the snapshot; nothing differs."""
    intervals = stream()
    plain = made(family)
    run(plain, intervals)
    store = TrainerStore(tmp_path, lambda _: None)
    for hour in range(0, HOURS, 4):
        training = made(family)
        if hour:
            training.restore(store.newest())
        run(training, intervals[: hour + 4], hour)
        # What was collected since the border is no part of the state.
        if hour + 4 < HOURS:
            training.add(*intervals[hour + 4])
        store.write(hour, training.state())
    assert training.digest() == plain.digest()
    assert plain.quality()[family]["average_precision"] > 0.3


def test_no_score_knows_a_label_that_came_later() -> None:
    """Scrambling every label from an hour on changes no score of a transaction up to the end of that hour."""
    intervals = stream(hours=18)
    first = made("logistic", "binned")
    run(first, intervals)
    draw = random.Random(9)
    cut = 9
    scrambled = [
        (vectors, told if hour < cut else [one._replace(fraud=draw.random() < 0.5) for one in told])
        for hour, (vectors, told) in enumerate(intervals)
    ]
    second = made("logistic", "binned")
    run(second, scrambled)
    same = [
        np.array_equal(a.score, b.score, equal_nan=True)
        for a, b in zip(first._chunks, second._chunks, strict=True)
    ]
    assert all(same[: cut + 1])
    assert not all(same[cut + 1 :]), "the scrambled labels have to matter later"


def test_a_label_is_learned_once_and_only_of_its_transaction() -> None:
    """Said again it is counted, with the wrong id or about nothing that is kept it is not learned."""
    training = made("logistic", rules=FIRST)
    vector = Vector(0, 7, "T7", 5, "payment", {"txn.amount": 100})
    training.add([vector], [])
    training.close(HOUR_MS)
    told = Told(0, 8, 7, "T7", HOUR_MS + 1, True, "analyst")
    training.add([], [told, told._replace(own_offset=9)])
    first = training.close(2 * HOUR_MS)
    assert first.counts == {"learned": 1, "repeated": 1, "unmatched": 0, "withheld": 0}
    assert first.delay_ms[0] == HOUR_MS - 4
    training.add(
        [], [told._replace(own_offset=10), told._replace(transaction_id="T8"), told._replace(offset=6)]
    )
    assert training.close(3 * HOUR_MS).counts == {"learned": 0, "repeated": 1, "unmatched": 2, "withheld": 0}
    # Taken back by another source it is learned anew, as what it is said to be now.
    training.add([], [told._replace(own_offset=11, fraud=False, source="customer")])
    assert training.close(4 * HOUR_MS).counts["learned"] == 1
    assert known(training) == (0, 0), "it begins with what is mature"
    for hour in range(5, 9):
        training.close(hour * HOUR_MS)
    assert known(training) == (1, 0)
    training.add([], [told._replace(own_offset=12), told._replace(own_offset=13)])
    assert training.close(9 * HOUR_MS).counts["repeated"] == 1
    assert known(training) == (2, 1)


def test_what_nobody_called_fraud_matures() -> None:
    """Six hours later a transaction is legitimate, once; its scope decides which model learns it."""
    training = made("logistic", rules=FIRST)
    vector = Vector(0, 1, "T1", 5, "payment", {"txn.amount": 100})
    training.add([vector, vector._replace(offset=2, event_type="login")], [])
    for hour in range(1, 12):
        training.close(hour * HOUR_MS)
        assert known(training) == (int(hour >= 7), 0)
    assert training.rows == 1


@pytest.mark.parametrize("family", ["logistic", "adaptive_forest"])
def test_a_source_that_moves_the_mean_score_is_put_in_quarantine(family: str) -> None:
    """A poisoned source calls small payments fraud; what it says is not learned, the analyst goes on."""
    intervals = stream()
    training = made(family, rules=replace(RULES, moved_max=0.05))
    run(training, intervals[:24])
    learner = training._pupils[0]
    before = training._pupils[0].mean(training._chunks)
    assert before is not None
    lies = [
        Told(v.partition, 20_000 + v.offset, v.offset, v.transaction_id, 24 * HOUR_MS, True, "portal")
        for vectors, _ in intervals[20:24]
        for v in vectors
        if v.values["txn.amount"] < 50_000
    ]
    training.add(intervals[24][0], intervals[24][1] + lies)
    done = training.close(25 * HOUR_MS)
    ((source, model, moved),) = done.quarantined
    assert (source, model) == ("portal", family)
    assert abs(moved) > 0.05
    assert training.quarantine == {"portal"}
    assert (
        done.counts["withheld"]
        == len({lie.offset + 10**6 * lie.partition for lie in lies} - set()) - (done.counts["repeated"])
    )
    assert done.counts["learned"] == len({(t.partition, t.offset) for t in intervals[24][1]})
    assert learner is training._pupils[0]
    after = training._pupils[0].mean(training._chunks)
    assert after is not None
    assert abs(after - before) < 0.05
    # Nothing that it says later is learned, and what it spoke about never matures into legitimate.
    training.add([], [lies[0]._replace(own_offset=1)])
    assert training.close(26 * HOUR_MS).counts["withheld"] == 1
    assert (np.concatenate([chunk.state for chunk in training._chunks]) == -2).sum() > 300


def test_exported_versions_are_calibrated() -> None:
    """An undersampled learner scores too high or low on the whole; what it exports has the rate of fraud."""
    intervals = stream(seed=3, hours=40)
    training = made("logistic", rules=replace(RULES, keep_ms=40 * HOUR_MS))
    exports = []
    for hour, (vectors, told) in enumerate(intervals):
        training.add(vectors, told)
        exports += training.close((hour + 1) * HOUR_MS).exports
    last = exports[-1]
    (member,) = last.members
    assert member.calibration is not None
    figures = member.card["metrics"]
    score, fraud = training._pupils[0].measured(training._chunks)
    logit = np.log(score / (1 - score))
    moved = 1 / (1 + np.exp(-(member.calibration[0] * logit + member.calibration[1])))
    assert abs(moved.mean() - fraud.mean()) < 0.01 < abs(score.mean() - fraud.mean())
    assert figures["average_precision"] > 3 * figures["fraud_rate"]
    parents = [export.members[-1].card["parent"] for export in exports]
    assert parents[0] is None
    assert len(set(parents)) == len(exports)


class _Evil:
    """What a forged snapshot would have run."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("run",)


def test_a_damaged_or_forged_snapshot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut or altered it does not count, the one before does; nothing but what a trainer writes is made."""
    store = TrainerStore(tmp_path, lambda _: None)
    assert store.newest() is None
    store.write(1, {"a": 1})
    store.write(2, {"a": 2})
    newest = max(tmp_path.glob("*.trainer"))
    data = newest.read_bytes()
    newest.write_bytes(data[:-1])
    assert store.newest() == {"a": 1}
    for path in tmp_path.glob("*.trainer"):
        path.write_bytes(b"FSTRAIN1")
    with pytest.raises(Refusal, match="is whole"):
        store.newest()
    store.write(3, _Evil())
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        store.newest()
    assert capsys.readouterr().out == ""
