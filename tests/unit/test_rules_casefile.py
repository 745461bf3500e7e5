# ruff: noqa: E501 (one test case a line)
"""Tests that stand beside rules: what they set, what they become, how they are judged."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from support.sample_rules import changed, sample_files

from fraudstream.rules import Compiled, HistoryOutcome, TestResult, compile_sources, run_tests

CARD, PAYMENT = "rulesets/card.yaml", "rulesets/payment.yaml"
EVENT = 'event: {event_type: card_auth, card_id: c1, amount: "1.20"}'
NOON_SHANGHAI_MS = 1_768_449_600_000
"""2026-01-15T12:00:00+08:00"""


def compiled(files: dict[str, bytes]) -> Compiled:
    """Return files that must compile."""
    found = compile_sources(files)
    assert found.bundle is not None, [item.text for item in found.errors]
    return found


def records_of(
    files: dict[str, bytes], name: str = "three in nine minutes"
) -> list[tuple[int, dict[str, object]]]:
    """Return the finished records of one test."""
    cases = [case for rule in compiled(files).rules for case in rule.cases if case.name == name]
    return [(time_ms, json.loads(body)) for time_ms, body in cases[0].records]


def results(files: dict[str, bytes], outcome: HistoryOutcome | None = None) -> dict[str, TestResult]:
    """Run all tests; those with events get ``outcome``."""
    runner = None if outcome is None else lambda _: outcome
    return {result.name: result for result in run_tests(compiled(files), runner)}


def test_given_tests_of_the_sample_pass() -> None:
    """All tests of live, shadow and draft rules pass; the one with events waits for a runner."""
    found = results(sample_files())
    assert {name: result.status for name, result in found.items() if result.status != "passed"} == {
        "three in nine minutes": "skipped"
    }
    assert found["many"].rule == "pay.draft"


@pytest.mark.parametrize(
    ("path", "old", "new", "problem"),
    [
        (CARD, "card.declines_10m: 2}", "card.declines_10m: 1}", "expected `match: true`, was `false`"),
        (CARD, "      action: block", "      action: alert", "expected `action: alert`, was `block`"),
        (CARD, "      score: 60", "      score: 61", "expected `score: 61`, was `60`"),
        (CARD, "reason: 4 small", "reason: 5 small", "expected the reason `5 small"),
        (
            CARD,
            "{match: unknown}",
            "{match: true}",
            "expected `match: true`, was `unknown`; missing: card.declines_10m",
        ),
        (PAYMENT, "{merchant.mcc: 0742}", "{merchant.mcc: 742}", "expected `match: true`, was `false`"),
        (
            CARD,
            "reason: far from DE",
            "reason: far from NO",
            "expected the reason `far from NO`, was `far from DE`",
        ),
        (
            PAYMENT,
            "given: {device.customers_24h: 4}",
            "given: {device.customers_24h: 3}",
            "expected `match: true`",
        ),
    ],
)
def test_a_wrong_expectation_fails(path: str, old: str, new: str, problem: str) -> None:
    """Each part of `expect` is compared, and the result says what was different."""
    failed = [result for result in results(changed(path, old, new)).values() if result.status == "failed"]
    assert len(failed) == 1
    assert failed[0].problems[0].startswith(problem)


def test_a_given_test_has_the_rules_event_type_and_time() -> None:
    """What decides whether a rule applies is filled in, and can be set."""
    other_type = changed(CARD, "given: {card.small_auths_10m: 9, card.declines_10m: 0}",
                         "given: {event.type: login, card.small_auths_10m: 9, card.declines_10m: 9}")  # fmt: skip
    assert results(other_type)["no declines"].status == "passed"
    too_late = changed(CARD, "given: {card.small_auths_10m: 9, card.declines_10m: 0}",
                       "given: {event.time: 2026-12-31, card.small_auths_10m: 9, card.declines_10m: 9}")  # fmt: skip
    assert results(too_late)["no declines"].status == "passed"
    last_moment = changed(CARD, "given: {card.small_auths_10m: 9, card.declines_10m: 0}",
                          "given: {event.time: 2026-12-30T23:59:59+08:00, card.small_auths_10m: 9, card.declines_10m: 9}")  # fmt: skip
    assert results(last_moment)["no declines"].status == "failed"


def test_missing_is_written_or_left_out() -> None:
    """`missing`, `null` and leaving out are the same."""
    for value in ("missing", "null"):
        files = changed(
            CARD,
            "given: {card.small_auths_10m: 9}",
            f"given: {{card.small_auths_10m: 9, card.declines_10m: {value}}}",
        )
        assert results(files)["nothing known"].status == "passed"


def test_events_may_be_written_by_names_of_fields() -> None:
    """The records are the same as by members, so that a pack's tests run where members have other names."""
    files = changed(CARD, "  effective: {from: 2026-01-01T00:00:00+08:00, until: 2026-12-31}\n", "")
    before = records_of(files)
    text = files[CARD].decode()
    for member, name in (("event_type", "event.type"), ("card_id", "card.id"), ("amount", "txn.amount"), ("status", "txn.status")):  # fmt: skip
        text = text.replace(f"{member}: ", f"{name}: ")
    files[CARD] = text.encode()
    assert records_of(files) == before
    schema = files["schema.yaml"].decode()
    for member in ("event_type", "card_id", "amount", "status", "account_id", "event_time"):
        schema = schema.replace(f"path: {member}", f"path: wire.{member}")
    files["schema.yaml"] = schema.replace("currency: currency", "currency: txn.currency").encode()
    last = records_of(files)[-1][1]
    assert last["wire"] == {
        "event_type": "card_auth",
        "card_id": "c1",
        "amount": "1.20",
        "account_id": "a1",
        "event_time": "2026-01-15T04:00:00.000Z",
    }


def test_a_place_and_a_constant_by_name() -> None:
    """A place has two members; a constant has none."""
    old = 'event: {event_type: card_auth, card_id: c1, amount: "1.20"}'
    files = changed(CARD, old, old[:-1] + ", txn.geo: [30.5, 104.1], event.time: 2026-03-01T00:00:00Z}")
    last = records_of(files)[-1][1]
    assert (last["lat"], last["lon"], last["event_time"]) == (30.5, 104.1, "2026-03-01T00:00:00Z")
    for wrong, message in (
        ("txn.geo: 30.5", "`txn.geo` was"),
        ("source.bank: ICBC", "`source.bank` is a constant"),
    ):
        errors = compile_sources(changed(CARD, old, f"{old[:-1]}, {wrong}}}")).errors
        assert [item.message[: len(message)] for item in errors] == [message]


def test_history_becomes_whole_records() -> None:
    """Ids, account, currency, type and times are filled in; given members stay as written."""
    files = changed(CARD, "  effective: {from: 2026-01-01T00:00:00+08:00, until: 2026-12-31}\n", "")
    first, second, last = records_of(files)
    assert [first[0], second[0], last[0]] == [
        NOON_SHANGHAI_MS - 540_000,
        NOON_SHANGHAI_MS - 300_000,
        NOON_SHANGHAI_MS,
    ]
    assert first[1] == {
        "event_type": "card_auth",
        "card_id": "c1",
        "amount": "1.10",
        "transaction_id": "t1",
        "event_time": "2026-01-15T03:51:00.000Z",
        "account_id": "a1",
        "currency": "CNY",
    }
    assert (second[1]["transaction_id"], second[1]["status"], second[1]["event_type"]) == (
        "t2",
        "declined",
        "outcome",
    )
    assert (last[1]["transaction_id"], last[1]["event_time"]) == ("t3", "2026-01-15T04:00:00.000Z")


def test_effective_from_is_the_default_time() -> None:
    """A rule that begins later is tested from its beginning on, one that ended before its end."""
    last = records_of(sample_files())[-1]
    assert last[1]["event_time"] == "2025-12-31T16:00:00.000Z"
    files = changed(CARD, "from: 2026-01-01T00:00:00+08:00, until: 2026-12-31", "until: 2026-01-01")
    assert records_of(files)[-1][1]["event_time"] == "2025-12-31T15:59:59.999Z"


def test_members_have_the_types_of_the_schema() -> None:
    """Numbers, booleans, nested members, null and amounts become the JSON that a bank would send."""
    members = 'amount: "12.00", lat: 30.57, lon: 104, points: 7, device: {id: 12, trusted: true}, country: NO, mcc: 0742, direction: null'
    body = records_of(changed(CARD, EVENT, f"event: {{card_id: c1, {members}}}"))[-1][1]
    assert body["amount"] == "12.00"
    assert (body["lat"], body["lon"], body["points"]) == (30.57, 104, 7)
    assert body["device"] == {"id": "12", "trusted": True}
    assert (body["country"], body["mcc"]) == ("NO", "0742")
    assert body["direction"] is None
    assert body["event_type"] == "card_auth"


def test_money_is_filled_where_the_event_needs_it() -> None:
    """An event type that must have an amount gets one, others do not."""
    body = records_of(changed(CARD, EVENT, "event: {event_type: login, card_id: c1}"))[-1][1]
    assert "amount" not in body
    assert "currency" not in body
    body = records_of(changed(CARD, EVENT, "event: {card_id: c1}"))[-1][1]
    assert (body["amount"], body["currency"]) == ("1", "CNY")
    body = records_of(changed(CARD, EVENT, "event: {event_type: outcome, amount: 3, currency: USD}"))[-1][1]
    assert (body["amount"], body["currency"]) == ("3", "USD")


def test_history_is_in_time_order_and_its_own_time_counts() -> None:
    """Records come oldest first; events of one time keep the order written; a record may say its time."""
    history = "history: [{at: -1m, card_id: b}, {at: -2m, card_id: a}, {at: -1m, card_id: c}, {event_time: 2026-05-01T00:00:00Z, card_id: d}]"
    old = sample_files()[CARD].decode()
    begin, end = old.index("    history:"), old.index("    event: {event")
    files = changed(CARD, old[begin:end], f"    {history}\n")
    files[CARD] = files[CARD].replace(
        EVENT.encode(), b"event: {card_id: e, event_time: 2026-05-01T00:05:00Z}"
    )
    found = records_of(files)
    assert [body["card_id"] for _, body in found] == ["d", "a", "b", "c", "e"]
    assert [body["transaction_id"] for _, body in found] == ["t1", "t2", "t3", "t4", "t5"]
    assert found[-1][0] - found[0][0] == 300_000


def test_a_runner_gets_records_and_its_answer_is_judged() -> None:
    """The runner sees the finished records; match, decision and reason of its answer are compared."""
    seen: list[Sequence[tuple[int, bytes]]] = []

    def runner(records: Sequence[tuple[int, bytes]]) -> HistoryOutcome:
        seen.append(records)
        return HistoryOutcome({"card.testing.small_auths": "false"}, "pass", 0)

    found = {item.name: item for item in run_tests(compiled(sample_files()), runner)}
    assert found["three in nine minutes"].status == "passed"
    assert found["three in nine minutes"].kind == "event"
    (records,) = seen
    assert [time_ms for time_ms, _ in records] == sorted(time_ms for time_ms, _ in records)
    assert all(json.loads(body) for _, body in records)


def test_a_runner_that_decides_otherwise_fails_the_test() -> None:
    """`action: none` of a test with events means the decision `pass`."""
    outcome = HistoryOutcome(
        {"card.testing.small_auths": "true"}, "block", 600, (("card.testing.small_auths", "text"),)
    )
    problems = results(sample_files(), outcome)["three in nine minutes"].problems
    assert problems == ("expected `match: false`, was `true`", "expected `action: none`, was `block`")
    files = changed(
        CARD,
        "expect: {match: false, action: none}",
        "expect: {match: true, action: block, score: 60, reason: text}",
    )
    assert results(files, outcome)["three in nine minutes"].status == "passed"


def test_tests_need_a_bundle() -> None:
    """Files with errors have no tests to run."""
    with pytest.raises(ValueError, match="errors"):
        run_tests(compile_sources(changed("lists.yaml", "KP", "Korea")))
