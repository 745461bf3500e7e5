"""Decisions as canonical JSON, compared with `json` for every kind."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.schemas import default_schema, handbook_schema
from support.wire import KEY, outcome_of, record, slice_of

from fraudstream.stream.outcome import FLAG_NAMES, Decision, Flag, Outcome, Versions
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.encode import MAX_DECISION_BYTES, encode, flag_list
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Batch, Slice

VERSIONS = Versions("sha256:" + "5f" * 32, "sha256:" + "90%d" * 16)
TABLES = compile_schema(default_schema())


def _dump(decision: dict[str, Any], micro: int | None) -> bytes:
    text = json.dumps(decision, ensure_ascii=False, separators=(",", ":"))
    if micro is not None:  # json cannot print six decimals
        text = text.replace('"champion":"@"', f'"champion":{micro / 1e6:.6f}')
    return text.encode()


def reference(source: Slice, batch: Batch, outcome: Outcome, row: int) -> bytes:
    """Return one decision by the standard library, straight from the contract."""
    src = f"{source.partition}:{source.offset[row]}"
    for item in batch.rejected:
        if item.row == row:
            text = f"{item.code} {item.field}".strip()
            decision = {
                "transaction_id": item.transaction_id,
                "decision": "alert",
                "score": 0,
                "reasons": [{"code": "malformed", "text": text}],
                "models": {},
                "rules_version": VERSIONS.rules,
                "models_version": VERSIONS.models,
                "event_time": item.event_time,
                "src": src,
                "flags": ["malformed"],
            }
            return _dump(decision, None)
    (at,) = np.flatnonzero(batch.row == row).tolist()
    first, micro = int(outcome.duplicate_of[at]), int(outcome.champion_micro[at])
    scored = micro >= 0 and first < 0
    decision = {
        "transaction_id": batch.text(batch.schema.field("event.id").column, at),
        "decision": Decision(int(outcome.decision[at])).name.lower(),
        "score": int(outcome.score[at]),
        "reasons": [] if first >= 0 else [{"code": c, "text": t} for c, t in outcome.reasons.get(at, ())],
        "models": {"champion": "@"} if scored else {},
        "rules_version": VERSIONS.rules,
        "models_version": VERSIONS.models,
        "event_time": int(batch.value[batch.schema.field("event.time").column, at]),
        "src": src,
        "flags": [name for bit, name in enumerate(FLAG_NAMES) if int(outcome.flags[at]) & (1 << bit)],
    }
    if first >= 0:
        decision["duplicate_of"] = f"{source.partition}:{first}"
    return _dump(decision, micro if scored else None)


def one(outcome: Outcome, raw: bytes | None = None, partition: int = 0, offset: int = 18231) -> bytes:
    """Return the decision about a single record, equal to the reference's."""
    source = slice_of([record() if raw is None else raw], partition, offset)
    batch = decode(source, TABLES, KEY)
    encoded = encode(source, batch, outcome, VERSIONS)
    assert len(encoded) == 1
    assert encoded.record(0) == encoded.buffer
    return encoded.record(0)


def test_golden_decision() -> None:
    """The contract's example, byte for byte."""
    outcome = outcome_of(1)
    outcome.decision[0], outcome.score[0], outcome.champion_micro[0] = Decision.BLOCK, 931, 931204
    reasons = (
        ("card.testing.small_auths", "4 authorisations under 2.00 and 2 declines in 10 minutes"),
        ("typology.card_testing", "card_testing 60"),
        ("model.champion", "0.931204"),
    )
    outcome = Outcome(
        outcome.decision,
        outcome.score,
        outcome.flags,
        outcome.duplicate_of,
        outcome.champion_micro,
        {0: reasons},
    )
    assert one(outcome).decode() == (
        '{"transaction_id":"T2026112400000001","decision":"block","score":931,"reasons":['
        '{"code":"card.testing.small_auths",'
        '"text":"4 authorisations under 2.00 and 2 declines in 10 minutes"},'
        '{"code":"typology.card_testing","text":"card_testing 60"},'
        '{"code":"model.champion","text":"0.931204"}],'
        f'"models":{{"champion":0.931204}},"rules_version":"{VERSIONS.rules}","models_version":"{VERSIONS.models}",'
        '"event_time":1795488011123,"src":"0:18231","flags":[]}'
    )


@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("micro", [-1, 0, 1, 10, 931204, 999999, 1000000])
def test_decisions_and_models(decision: Decision, micro: int) -> None:
    """Every decision with model scores that other printers get wrong (1e-06)."""
    outcome = outcome_of(1)
    outcome.decision[0], outcome.score[0], outcome.champion_micro[0] = decision, 1000, micro
    source = slice_of([record()], 3, 2**40)
    batch = decode(source, TABLES, KEY)
    (got,) = [encode(source, batch, outcome, VERSIONS).record(0)]
    assert got == reference(source, batch, outcome, 0)
    assert json.loads(got)["src"] == f"3:{2**40}"


def test_every_set_of_flags() -> None:
    """All 256 sets are written in their fixed order."""
    for bits in range(256):
        names = [flag.name.lower() for flag in Flag if bits & flag and flag.name]
        assert flag_list(bits) == json.dumps(names, separators=(",", ":"))


def test_duplicates_repeat_the_first_decision_only() -> None:
    """No reasons, no models, the first's src at the end."""
    outcome = outcome_of(1)
    outcome.decision[0], outcome.score[0], outcome.champion_micro[0] = Decision.BLOCK, 931, 931204
    outcome.flags[0], outcome.duplicate_of[0] = Flag.DUPLICATE | Flag.LATE, 17
    outcome = Outcome(
        outcome.decision,
        outcome.score,
        outcome.flags,
        outcome.duplicate_of,
        outcome.champion_micro,
        {0: (("a", "b"),)},
    )
    text = one(outcome, partition=2)
    assert text.endswith(b'"src":"2:18231","flags":["duplicate","late"],"duplicate_of":"2:17"}')
    parsed = json.loads(text)
    assert (parsed["decision"], parsed["score"], parsed["reasons"], parsed["models"]) == (
        "block",
        931,
        [],
        {},
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "empty"),
        (b"{", "bad_json"),
        (b"[]", "not_object"),
        (record(amount="x"), "bad_amount amount"),
        (record(transaction_id=...), "missing_field transaction_id"),
    ],
)
def test_malformed_records(raw: bytes, text: str) -> None:
    """An alert with score 0 and the code, with a field where there is one."""
    source = slice_of([raw], 1, 5)
    batch = decode(source, TABLES, KEY)
    got = encode(source, batch, outcome_of(0), VERSIONS).record(0)
    assert got == reference(source, batch, outcome_of(0), 0)
    assert json.loads(got)["reasons"] == [{"code": "malformed", "text": text}]
    shadow = encode(source, batch, outcome_of(0), VERSIONS, malformed=Decision.PASS).record(0)
    assert shadow == got.replace(b'"decision":"alert"', b'"decision":"pass"')


def test_whole_slice_equals_the_reference() -> None:
    """A mixed slice: reasons in two languages, escapes, flags, duplicates and malformed records."""
    nasty = "".join(map(chr, range(0x20))) + '"\\/\x7f\u0080\u2028\u2029\ufeff\uffff\U0001f600 \u6210\u90fd'
    kinds: list[bytes | None] = [b"{", None, record(event_time=1), record(amount="x")]
    raws = [
        kinds[number % 7] if number % 7 < 4 else record(transaction_id=f"T{number}") for number in range(60)
    ]
    source = slice_of(raws, 7, 1000)
    batch = decode(source, TABLES, KEY)
    count = len(batch)
    outcome = outcome_of(count)
    outcome.decision[:] = np.arange(count) % 3
    outcome.score[:] = np.arange(count) * 37 % 1001
    outcome.champion_micro[:] = np.arange(count) * 41_117 % 1_000_001 - 1
    outcome.flags[:] = np.arange(count) * 2 % 64 & ~Flag.DUPLICATE
    reasons = {
        at: ((f"code.{at}", nasty), ('"', "\u539f\u56e0"), ("", ""))[: at % 4] for at in range(0, count, 3)
    }
    outcome.duplicate_of[5::7] = 1000
    outcome.flags[5::7] |= np.uint16(Flag.DUPLICATE)
    outcome = Outcome(
        outcome.decision, outcome.score, outcome.flags, outcome.duplicate_of, outcome.champion_micro, reasons
    )
    whole = encode(source, batch, outcome, VERSIONS)
    assert len(whole) == len(source)
    for row in range(len(source)):
        assert whole.record(row) == reference(source, batch, outcome, row), row
    rows = np.array([58, 3, 3, 0, 41], np.int32)
    some = encode(source, batch, outcome, VERSIONS, rows)
    assert [some.record(at) for at in range(5)] == [whole.record(int(row)) for row in rows]
    assert encode(source, batch, outcome, VERSIONS, np.array([], np.int32)).buffer == b""


def _reasoned(reasons: tuple[tuple[str, str], ...]) -> bytes:
    return one(Outcome(*(getattr(outcome_of(1), name) for name in Outcome.__slots__[:5]), {0: reasons}))


@pytest.mark.parametrize("char", ["x", "\u00e9", "\u6210", "\U0001f600", '"', "\x01", "\n"])
def test_long_texts_are_cut_on_code_points(char: str) -> None:
    """A record never exceeds 16 KiB; texts are cut to equal shares, short ones stay whole."""
    reasons = (("rule.one", char * 20_000), ("rule.two", "short"), ("rule.three", "y" + char * 20_000))
    text = _reasoned(reasons)
    assert len(text) <= MAX_DECISION_BYTES
    parsed = json.loads(text)["reasons"]
    assert [item["code"] for item in parsed] == ["rule.one", "rule.two", "rule.three"]
    assert parsed[1]["text"] == "short"
    for item, (_, whole) in zip(parsed, reasons, strict=True):
        assert whole.startswith(item["text"])
    sizes = [len(json.dumps(parsed[at]["text"], ensure_ascii=False).encode()) - 2 for at in (0, 2)]
    assert abs(sizes[0] - sizes[1]) <= 6  # the longest escape
    assert min(sizes) > MAX_DECISION_BYTES / 3 - 300


def test_the_limit_is_exact() -> None:
    """A record of exactly 16 KiB stays as it is; one byte more is cut."""
    room = MAX_DECISION_BYTES - len(_reasoned((("r", ""),)))
    assert len(_reasoned((("r", "x" * room),))) == MAX_DECISION_BYTES
    assert (
        len(_reasoned((("r", "\u6210" * (room // 3 + 1)),))) <= MAX_DECISION_BYTES
    )  # fewer characters, more bytes
    longer = _reasoned((("r", "x" * (room + 1)),))
    assert len(longer) <= MAX_DECISION_BYTES
    assert json.loads(longer)["reasons"][0]["text"] in ("x" * room, "x" * (room - 1))


def test_other_schemas_encode_by_their_own_columns() -> None:
    """Id and time come from the schema's event fields."""
    raw = b'{"tx_id":7,"tx_datetime":1795488011123,"customer_id":5,"terminal_id":3,"amount":1}'
    source = slice_of([raw])
    batch = decode(source, compile_schema(handbook_schema()), KEY)
    parsed = json.loads(encode(source, batch, outcome_of(1), VERSIONS).record(0))
    assert (parsed["transaction_id"], parsed["event_time"]) == ("7", 1795488011123)
