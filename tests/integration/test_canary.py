"""Personal values go every way that a record can take, and are found in none of the places people look."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import ROOT, Feed, Kept, Running, Site

from fraudstream.bench.observe import free_port
from fraudstream.bench.traffic.generate import START_MS
from fraudstream.bench.traffic.hostile import Record
from fraudstream.bench.traffic.poison import POISON, dump
from fraudstream.bench.traffic.records import rfc3339
from fraudstream.stream.pseudonyms import pseudonyms
from fraudstream.stream.wire.codes import REJECTION_CODES

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(280)]

KEY = "the key of this test's pseudonyms"
CARD, ACCOUNT, OTHER_ACCOUNT = "4000123412341239", "6222020200112299", "6222020200112288"
CUSTOMER, DEVICE, PAYEE, IP = "C-canary-10023", "d-canary-8f31", "6217000010001277", "203.0.113.77"
NAME, NOTE, LATITUDE = "Zhang-Canary", "note-canary-5", "30.570077"
CANARIES = (CARD, ACCOUNT, OTHER_ACCOUNT, CUSTOMER, DEVICE, PAYEE, IP, NAME, NOTE, LATITUDE)
PERSONAL = {
    "account_id": ACCOUNT,
    "customer_id": CUSTOMER,
    "card_id": CARD,
    "device_id": DEVICE,
    "counterparty_id": PAYEE,
    "ip": IP,
}


def members(number: int, **changes: object) -> dict[str, object]:
    """Return an event full of canaries, one of a burst of small authorisations."""
    return {
        "transaction_id": f"t{number}",
        "event_time": rfc3339(START_MS + 1000 * number),
        "event_type": "card_auth",
        **PERSONAL,
        "channel": "web",
        "kind": "purchase",
        "direction": "out",
        "amount": "1.00",
        "currency": "CNY",
        "city": "Chengdu",
        "lat": float(LATITUDE),
        "lon": 104.06,
        "holder_name": NAME,
        "memo": NOTE,
        **changes,
    }


def record(value: bytes | None, kind: str) -> Record:
    """Return a record with the account as its key."""
    return Record(ACCOUNT.encode(), value, START_MS, kind)


def every_way() -> list[Record]:
    """Return records that are decided, doubled, late, ahead, rejected for every reason; blocks among them."""
    burst = [members(number) for number in range(6)]
    burst += [members(number, event_type="outcome", status="declined") for number in range(6, 9)]
    burst += [members(number) for number in range(9, 14)]
    good = [dump(item) for item in burst]
    again = [good[0], dump(members(1, city="Elsewhere"))]
    times = [dump(members(20, event_time=rfc3339(START_MS - 9_000_000)))]
    times.append(dump(members(21, event_time="2099-01-01T00:00:00Z")))
    # An alert shows public members as they were sent, so this one is of an account without any.
    quiet: dict[str, object] = dict.fromkeys(PERSONAL) | {"account_id": OTHER_ACCOUNT}
    odd = [dump(members(22, **quiet, channel="pigeon-" + NAME, lat=91.0))]
    poison = [
        item.spoil(members(100 + number, event_type="payment", amount="10.00", currency="CNY"))
        for number, item in enumerate(POISON)
    ]
    poison += [dump(members(200 + at, **{name: CARD + " x"})) for at, name in enumerate(PERSONAL)]
    poison.append(dump(members(300, amount=CARD + "x")))
    poison.append(dump(members(301, currency=NAME)))
    return [record(value, "canary") for value in [*good, *again, *odd, *poison, *times, *good[-2:]]]


def add_table(rules: Path) -> None:
    """Add a table with personal columns and a rule that reads it."""
    (rules / "reference.yaml").write_text(
        "apiVersion: fraudstream/v1\nkind: Reference\ntables:\n  profile:\n    key: account.id\n"
        "    source: {file: data/profile.csv, key: account}\n    class: personal\n"
        "    columns: {twin: {type: id}, limit: {type: money}}\n"
    )
    (rules / "rulesets" / "profile.yaml").write_text(
        "apiVersion: fraudstream/v1\nkind: RuleSet\n"
        "defaults: {owner: tests@bank.example, timezone: Asia/Shanghai}\nrules:\n"
        "  - id: profile.small\n    title: above the limit of the profile\n    on: [payment, card_auth]\n"
        '    when: txn.amount > profile.limit and profile.twin != "nobody"\n    severity: high\n'
        "    action: block\n    score: 70\n    reason: {en: above the limit}\n    tests:\n"
        "      - {name: above, given: {txn.amount: 2, profile.limit: 1, profile.twin: a}, "
        "expect: {match: true}}\n"
        "      - {name: below, given: {txn.amount: 1, profile.limit: 1, profile.twin: a}, "
        "expect: {match: false}}\n"
    )
    (rules / "data").mkdir()
    deliver(rules, f"{ACCOUNT},{OTHER_ACCOUNT},0.50")


def deliver(rules: Path, *lines: str) -> None:
    """Put a file of the table in place."""
    path = rules / "data" / "new"
    path.write_text("\n".join(["account,twin,limit", *lines]) + "\n")
    path.rename(rules / "data" / "profile.csv")


def get(port: int, path: str) -> str:
    """Return what the worker serves."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return str(answer.read().decode())


def assert_clean(text: str, where: str) -> None:
    """Fail with the first canary that is found, and its surroundings."""
    for canary in CANARIES:
        at = text.find(canary)
        assert at < 0, f"{where} shows {canary}: {text[max(0, at - 200) : at + 100]}"


def headers_of(records: list[Kept]) -> str:
    """Return all headers as text."""
    return "\n".join(f"{name}={value!r}" for item in records for name, value in item.headers.items())


def test_canaries_are_found_in_no_log_metric_status_alert_or_header(topics: Topics, tmp_path: Path) -> None:
    """All rejection codes, alerts, refused files of a table with canaries; at the finest log level."""
    port = free_port()
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    site = Site(
        topics, tmp_path, ROOT / "rules",
        metrics_port=str(port), log_level="debug", log_format="json", pseudonym_key_file=str(key),
    )  # fmt: skip
    add_table(site.rules)
    worker = site.start()
    records = every_way()
    Feed(site).send(records)
    worker.wait_decided(len(records))
    refuse_files(site, worker)
    served = {path: get(port, path) for path in ("metrics", "status.json", "readyz", "livez", "")}
    assert worker.stop() == 0
    letters, alerts = site.read("dead-letters", 0), site.read("alerts", 0)
    for path, text in served.items():
        assert_clean(text, f"/{path}")
    assert_clean(worker.text, "log")
    assert_clean(headers_of(letters), "dead letters")
    assert_clean(headers_of(alerts) + headers_of(site.read("decisions", 0)), "headers")
    assert_clean("\n".join((item.value or b"").decode() for item in site.read("journal", 0)), "journal")
    assert {item.headers["code"].decode() for item in letters} == set(REJECTION_CODES)
    assert {"code", "field", "src", "epoch"} >= {n for i in letters for n in i.headers} - {"cut_from_bytes"}
    shown = [json.loads(item.value or b"") for item in alerts]
    assert len(shown) >= 5
    for item in alerts:
        assert_clean((item.value or b"").decode(), "alert")
    hide = pseudonyms(KEY.encode())
    transaction = next(alert["transaction"] for alert in shown if "card_id" in alert["transaction"])
    assert {name: transaction[name] for name in PERSONAL} == {
        name: hide(value) for name, value in PERSONAL.items()
    }
    assert (transaction["lat"], transaction["city"]) == ("****", "Chengdu")
    assert any(alert["evidence"].get("profile.twin") == hide(OTHER_ACCOUNT) for alert in shown)
    for line in worker.text.splitlines():
        assert {"time", "level", "event", "text", "action"} <= set(json.loads(line)), line


def refuse_files(site: Site, worker: Running) -> None:
    """Deliver files with canaries, refused each for another reason, and rules that do not compile."""
    bad = (
        [f"{ACCOUNT},{OTHER_ACCOUNT} {NAME},1.00"],
        [f"{ACCOUNT},{OTHER_ACCOUNT},{CARD}x"],
        [f"{ACCOUNT} {NAME},{OTHER_ACCOUNT},1.00"],
        [f"{ACCOUNT},{OTHER_ACCOUNT},1.00", f"{ACCOUNT},{OTHER_ACCOUNT},2.00"],
        [f"{ACCOUNT},{OTHER_ACCOUNT},1.00,{NAME},{CARD}"],
    )
    for number, lines in enumerate(bad, 1):
        deliver(site.rules, *lines)
        worker.wait_for(
            lambda n=number: worker.text.count("reference_table_refused") >= n,  # type: ignore[misc]
            f"refusal {number}",
        )
    path = site.rules / "rulesets" / "card.yaml"
    whole = path.read_text()
    path.write_text(whole + "\nnonsense: [")
    worker.wait_for(lambda: "rules_refused" in worker.text, "the refusal of the rules")
    path.write_text(whole)


def test_an_unexpected_error_that_quotes_a_transaction_is_told_without_it(
    topics: Topics, tmp_path: Path
) -> None:
    """Where it happened is told, in the log's and in the last line; the worker asks to be started again."""
    site = Site(topics, tmp_path, ROOT / "rules", log_level="debug")
    Feed(site).send([record(dump(members(1)), "canary")])
    worker = site.start(module="support.crashing_worker")
    assert worker.wait_exit() == 75
    assert "unexpected_error: unexpected error of the kind ArithmeticError" in worker.text
    assert "support/crashing_worker.py:" in worker.text
    assert_clean(worker.text, "log")
