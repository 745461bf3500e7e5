"""A bank's names, columns of them with every odd value, and random expressions over them."""

from __future__ import annotations

import dataclasses
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from support.treewalk import V

from fraudstream.rules.bundle import Slot, Source, Type
from fraudstream.rules.compiler.grammar import parse
from fraudstream.rules.compiler.program import Inputs
from fraudstream.rules.compiler.types import Constant, ListDecl, ListItem, Scope, check, constant, words
from fraudstream.rules.siphash import hash_text

KEY = bytes(range(16))
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York")
CHANNELS = ("mobile", "web", "atm", "pos")
YEAR_2000, YEAR_2100 = 946_684_800_000, 4_102_444_800_000


def _slot(name: str, kind: Type, column: int, source: Source = Source.FIELD, content: str = "i") -> Slot:
    return Slot(name, kind, "f" if content == "f" or kind is Type.NUMBER else "i", source, column,
                CHANNELS if kind is Type.ENUM else ())  # fmt: skip


_FIELDS = (
    ("event.time", Type.TIME), ("event.type", Type.ENUM), ("txn.amount", Type.MONEY),
    ("txn.balance", Type.MONEY), ("txn.sent", Type.MONEY), ("txn.currency", Type.CATEGORY),
    ("txn.channel", Type.ENUM), ("txn.geo", Type.GEO), ("txn.country", Type.COUNTRY), ("account.id", Type.ID),
    ("counterparty.id", Type.ID), ("merchant.mcc", Type.CATEGORY), ("merchant.city", Type.CATEGORY),
    ("account.opened", Type.DATE), ("account.closed", Type.DATE), ("device.new", Type.BOOL),
    ("card.present", Type.BOOL), ("txn.rate", Type.NUMBER),
)  # fmt: skip
_FEATURES = (
    ("card.count", Type.INTEGER, "i"), ("card.other", Type.INTEGER, "i"), ("card.sum", Type.MONEY, "i"),
    ("card.mean", Type.MONEY, "f"), ("card.idle", Type.DURATION, "i"), ("card.gap", Type.DURATION, "f"),
    ("last.geo", Type.GEO, "i"), ("last.time", Type.TIME, "i"), ("last.id", Type.ID, "i"),
    ("last.country", Type.COUNTRY, "i"), ("card.ratio", Type.NUMBER, "f"),
)  # fmt: skip


def _slots() -> dict[str, Slot]:
    found: dict[str, Slot] = {}
    at = 0
    for name, kind in _FIELDS:
        found[name] = _slot(name, kind, at)
        at += kind.width
    at = 0
    for name, kind, content in _FEATURES:
        found[name] = _slot(name, kind, at, Source.FEATURE, content)
        at += kind.width
    found["model.score"] = _slot("model.score", Type.NUMBER, 0, Source.MODEL)
    return found


SLOTS = _slots()
WORDS = {source: sum(s.type.width for s in SLOTS.values() if s.source is source) for source in Source}
LISTS: dict[str, tuple[Type, tuple[tuple[object, int | None], ...]]] = {
    "mules": (Type.ID, (("a1", None), ("a2", 1_800_000_000_000), ("a2", 1_700_000_000_000), ("zz", None))),
    "plain": (Type.ID, (("a1", None), ("a3", None))),
    "empty": (Type.CATEGORY, ()),
    "codes": (Type.CATEGORY, tuple((f"{i:04d}", None) for i in range(700, 760))),
    "countries": (Type.COUNTRY, (("CN", None), ("US", 1_750_000_000_000))),
    "channels": (Type.ENUM, (("web", None), ("pos", 1_900_000_000_000))),
    "amounts": (Type.MONEY, tuple((i * 5_000, None) for i in range(20))),
    "counts": (Type.INTEGER, ((1, None), (3, None), (7, None))),
    "rates": (Type.NUMBER, ((0.5, None), (1.0, 1_800_000_000_000), (2.25, None))),
}
PARAMS = {"n": "4", "limit": "1500", "rate": "0.5", "window": "36h", "channel": '"web"', "floor": "20.50 CNY"}
CONDITIONS = {"busy": "card.count >= params.n", "night": "hour_in(event.time, 23, 5)"}


def decimals(currency: str) -> int | None:
    """Return the digits of the currencies that the tests use."""
    return {"CNY": 2, "USD": 2, "JPY": 0, "EUR": 2}.get(currency)


def make_scope(zone: str = "Asia/Shanghai") -> Scope:
    """Return a scope with fields, features, lists, params and conditions."""
    lists = {
        name: ListDecl(name, kind, tuple(ListItem(value, until) for value, until in items))  # type: ignore[arg-type]
        for name, (kind, items) in LISTS.items()
    }
    scope = Scope(
        SLOTS, "CNY", decimals, zone, lists=lists, currencies={"txn.sent": SLOTS["txn.currency"]},
        event_time=SLOTS["event.time"], event_type=SLOTS["event.type"],
    )  # fmt: skip
    params: dict[str, Constant] = {}
    for name, text in PARAMS.items():
        found, problems = constant(text, scope)
        assert found is not None, problems
        params[name] = found
    scope = dataclasses.replace(scope, params=params)
    conditions = {}
    for name, text in CONDITIONS.items():
        checked, problems = check(text, scope)
        assert checked is not None, problems
        conditions[name] = checked
    return dataclasses.replace(scope, conditions=conditions)


# Columns.

_POOLS: Mapping[Type, Sequence[object]] = {
    Type.INTEGER: (0, 1, 2, 3, 4, 5, 7, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    Type.NUMBER: (0.0, 0.5, 1.0, 1.5, 2.25, 2.5, -0.5, -2.5, 1e300, -1e300, 1e-300, 0.931204),
    Type.MONEY: (0, 1, 100, 2_050, 5_000, 50_000, 150_000, 150_050, -5_000, 10**13, 2**63 - 1, -(2**63)),
    Type.DURATION: (0, 1, 1_000, 60_000, 3_600_000, 129_600_000, 86_400_000 * 30, -5_000, 2**63 - 1),
    Type.TIME: (YEAR_2000, 1_700_000_000_000, 1_750_000_000_000, 1_800_000_000_000, YEAR_2100 - 1),
    Type.DATE: (-25_567, 0, 10_957, 20_000, 20_500, 47_481),
    Type.BOOL: (False, True),
    Type.ENUM: CHANNELS,
    Type.CATEGORY: (
        "",
        "0742",
        "0799",
        "USD",
        "CNY",
        "JPY",
        "Chengdu",
        "CHENGDU",
        "成都",
        "Ünï 0742",
        "chengdu",
    ),
    Type.COUNTRY: ("CN", "US", "NO"),
    Type.ID: ("a1", "a2", "a3", "A1", "zz"),
    Type.GEO: ((30.57, 104.06), (30.57, 104.06), (-33.9, 18.4), (90.0, 0.0), (0.0, -180.0), (52.5, 13.4)),
}
_FLOAT_MONEY = (0.0, 100.0, 33.333333333333336, 2_050.0, 150_000.0, 150_050.0, 1e300, -250.5)


@dataclass(frozen=True)
class Table:
    """The same rows for the kernel and for the oracle."""

    inputs: Inputs
    rows: tuple[dict[str, V], ...]

    def __len__(self) -> int:
        return len(self.rows)


UNITS = {
    Type.INTEGER: "number", Type.NUMBER: "number", Type.ENUM: "text", Type.CATEGORY: "text",
    Type.COUNTRY: "text", Type.ID: "text",
}  # fmt: skip


def _random_value(slot: Slot, rng: random.Random) -> object:
    kind = slot.type
    if kind in (Type.MONEY, Type.DURATION) and slot.repr == "f":
        return rng.choice(_FLOAT_MONEY)
    if rng.random() < 0.4:
        if kind is Type.TIME:
            return rng.randrange(YEAR_2000, YEAR_2100)
        if kind is Type.DATE:
            return rng.randrange(-25_000, 47_000)
        if kind is Type.MONEY:
            return rng.randrange(0, 200_000)
        if kind is Type.GEO:
            return rng.uniform(-90, 90), rng.uniform(-180, 180)
    return rng.choice(_POOLS[kind])


def make_table(n: int, seed: int, missing: float) -> Table:
    """Return n random rows, each value missing with the given probability; missing words are garbage."""
    rng = random.Random(seed)
    fields, features = WORDS[Source.FIELD], WORDS[Source.FEATURE]
    value = {
        Source.FIELD: np.zeros((fields, n), np.int64),
        Source.FEATURE: np.zeros((features, n), np.int64),
        Source.MODEL: np.zeros((1, n), np.int64),
    }
    state = {source: np.zeros(array.shape, np.uint8) for source, array in value.items()}
    start, size = np.zeros((fields, n), np.int32), np.zeros((fields, n), np.int32)
    buffer = bytearray(b"~")
    rows: list[dict[str, V]] = [{} for _ in range(n)]
    for slot in SLOTS.values():
        for i in range(n):
            found = None if rng.random() < missing else _random_value(slot, rng)
            if slot.name == "event.time" and found is None:
                found = 1_750_000_000_000  # event times are required
            rows[i][slot.name] = V(UNITS.get(slot.type, slot.type.value), found, real=slot.repr == "f")
            for word, content in enumerate(_words(slot, found, rng)):
                value[slot.source][slot.column + word, i] = content
                state[slot.source][slot.column + word, i] = found is not None
            if slot.type.is_text and slot.source is Source.FIELD and isinstance(found, str):
                start[slot.column, i], size[slot.column, i] = len(buffer), len(found.encode())
                buffer += found.encode() + b"|"
    for row in rows:
        code = row["txn.currency"].x
        row["txn.sent"] = dataclasses.replace(
            row["txn.sent"], sent=True, currency=str(code) if code is not None else None
        )
    inputs = Inputs(
        value[Source.FIELD], state[Source.FIELD], start, size, np.frombuffer(bytes(buffer), np.uint8),
        np.ascontiguousarray(value[Source.FEATURE].T), np.ascontiguousarray(state[Source.FEATURE].T),
        value[Source.MODEL], state[Source.MODEL],
    )  # fmt: skip
    return Table(inputs, tuple(rows))


def _words(slot: Slot, found: object, rng: random.Random) -> tuple[int, ...]:
    if found is None:
        return tuple(rng.choice((0, -1, 2**63 - 1)) for _ in range(slot.type.width))
    if slot.type is Type.ENUM:
        return (CHANNELS.index(str(found)),)
    if slot.type.is_text:
        return hash_text(str(found).encode(), KEY)
    if slot.type is Type.COUNTRY:
        return (ord(str(found)[0]) << 8 | ord(str(found)[1]),)
    parts = found if isinstance(found, tuple) else (found,)
    return tuple(
        struct.unpack("<q", struct.pack("<d", part))[0] if isinstance(part, float) else int(part)  # type: ignore[call-overload]
        for part in parts
    )


# Expressions: each function draws the text of one type.

Draw = st.DrawFn
_COMPARES = ("==", "!=", "<", "<=", ">", ">=")


def _one(draw: Draw, *choices: str) -> str:
    return draw(st.sampled_from(choices))


def _number(draw: Draw, depth: int) -> str:
    names = ("card.count", "card.other", "card.ratio", "txn.rate", "model.score")
    if depth <= 0 or draw(st.integers(0, 3)) == 0:
        return _one(
            draw, *names, "0", "3", "2.5", "50%", "-1", "0.75", "params.n", "params.rate", "9007199254740993"
        )
    kind = draw(st.integers(0, 15))
    if kind < 4:
        return f"({_number(draw, depth - 1)} {_one(draw, '+', '-', '*', '/')} {_number(draw, depth - 1)})"
    if kind == 4:
        unit = _one(draw, "money", "number", "duration")
        a, b = _of(unit, draw, depth - 1), _of(unit, draw, depth - 1)
        return f"ratio({a}, {b})" if draw(st.booleans()) or unit == "number" else f"({a} / {b})"
    if kind == 5:
        return f"{_one(draw, 'abs', 'round', '-')}({_number(draw, depth - 1)})"
    if kind == 6:
        return f"{_one(draw, 'min', 'max')}({_number(draw, depth - 1)}, {_number(draw, depth - 1)})"
    if kind == 7:
        return f"coalesce({_one(draw, *names)}, {_number(draw, depth - 1)})"
    if kind == 8:
        return f"{_one(draw, 'hour', 'weekday')}({_one(draw, 'event.time', 'last.time')})"
    if kind == 9:
        return f"weekday({_date(draw, depth - 1)})"
    if kind == 10:
        return f"distance_km({_one(draw, 'txn.geo', 'coalesce(txn.geo, last.geo)')}, last.geo)"
    if kind == 11:
        return "speed_kmh(txn.geo, event.time, last.geo, last.time)"
    if kind == 12:
        return f"length({_one(draw, 'merchant.city', 'merchant.mcc', 'account.id')})"
    moments = ("event.time", "last.time", "account.opened", "account.closed")
    unit = _one(draw, "seconds", "minutes", "hours", "days")
    return f"{unit}_between({_one(draw, *moments)}, {_one(draw, *moments)})"


def _money(draw: Draw, depth: int) -> str:
    names = ("txn.amount", "txn.balance", "card.sum", "card.mean")
    if depth <= 0 or draw(st.integers(0, 3)) == 0:
        return _one(draw, *names, "100 CNY", "20.50 CNY", "0 CNY", "params.floor")
    kind = draw(st.integers(0, 7))
    if kind < 3:
        other = _money(draw, depth - 1) if draw(st.booleans()) else _one(draw, "100", "2.5", "params.limit")
        return f"({_one(draw, *names)} {_one(draw, '+', '-')} {other})"
    if kind == 3:
        return f"({_money(draw, depth - 1)} {_one(draw, '*', '/')} {_number(draw, depth - 1)})"
    if kind == 4:
        return f"({_number(draw, depth - 1)} * {_one(draw, *names)})"
    if kind == 5:
        return f"{_one(draw, 'min', 'max')}({_one(draw, *names)}, {_money(draw, depth - 1)}, 50)"
    if kind == 6:
        return f"coalesce({_one(draw, *names)}, {_money(draw, depth - 1)})"
    return f"{_one(draw, 'abs', 'round', '-')}({_one(draw, *names)})"


def _duration(draw: Draw, depth: int) -> str:
    names = ("card.idle", "card.gap")
    if depth <= 0 or draw(st.integers(0, 2)) == 0:
        return _one(draw, *names, "36h", "1h30m", "30d", "params.window")
    kind = draw(st.integers(0, 5))
    if kind < 2:
        return f"({_duration(draw, depth - 1)} {_one(draw, '+', '-')} {_duration(draw, depth - 1)})"
    if kind == 2:
        return f"({_time(draw, depth - 1)} - {_time(draw, depth - 1)})"
    if kind == 3:
        return "(account.closed - account.opened)"
    if kind == 4:
        return f"({_duration(draw, depth - 1)} * {_number(draw, depth - 1)})"
    return f"coalesce({_one(draw, *names)}, {_duration(draw, depth - 1)})"


def _time(draw: Draw, depth: int) -> str:
    if depth <= 0 or draw(st.integers(0, 1)) == 0:
        return _one(draw, "event.time", "last.time")
    return _one(
        draw, "(event.time + 36h)", "(last.time - card.gap)", "(1d + event.time)", "(event.time - card.idle)",
        'coalesce(last.time, "2026-01-31")', "max(event.time, last.time)", 'min(last.time, "2030-06-01T00:00:00Z")',
    )  # fmt: skip


def _date(draw: Draw, depth: int) -> str:
    if depth <= 0 or draw(st.booleans()):
        return _one(draw, "account.opened", "account.closed")
    return _one(
        draw, "local_date(event.time)", "(account.opened + 30d)", 'coalesce(account.closed, "2026-01-31")',
        "max(account.opened, local_date(last.time))", "(local_date(last.time) - 1w)",
    )  # fmt: skip


_KINDS = {"number": _number, "money": _money, "duration": _duration, "time": _time, "date": _date}


def _of(unit: str, draw: Draw, depth: int) -> str:
    return _KINDS[unit](draw, depth)


def _leaf(draw: Draw, depth: int) -> str:
    kind = draw(st.integers(0, 13))
    negated = _one(draw, "", "not ")
    if kind < 4:
        unit = _one(draw, *_KINDS)
        return f"{_of(unit, draw, depth)} {_one(draw, *_COMPARES)} {_of(unit, draw, depth)}"
    if kind == 4:
        value = draw(st.sampled_from(("3", "1000", "params.limit", "2.50", "2 * params.limit", "100 CNY")))
        return f"{_one(draw, 'txn.amount', 'card.sum', 'card.mean')} {_one(draw, *_COMPARES)} {value}"
    if kind == 5:
        unit = _one(draw, *_KINDS)
        low, high = {"number": ("1", "3.5"), "money": ("20", "150050 CNY"), "duration": ("1h", "30d"),
                     "time": ('"2020-01-01"', '"2030-01-01"'), "date": ('"1999-01-01"', '"2026-01-31"')}[unit]  # fmt: skip
        if draw(st.booleans()):
            low = _of(unit, draw, 1)
        if draw(st.booleans()):
            high = _of(unit, draw, 1)
        return f"{_of(unit, draw, depth)} {negated}between {low} and {high}"
    if kind == 6:
        name = _one(draw, *SLOTS, "(card.count / card.other)", "(txn.amount + card.sum)", "busy")
        return f"{name} is {_one(draw, '', 'not ')}missing"
    if kind == 7:
        return _texts(draw, negated)
    if kind == 8:
        return _one(
            draw, "txn.sent > 100 USD", "txn.sent == 100 CNY", "txn.sent between 1 JPY and 5000 JPY",
            "txn.sent in [100 CNY, 50 CNY]", "txn.sent <= 20.50 CNY", "txn.sent != 500 EUR",
        )  # fmt: skip
    if kind == 9:
        listed = _one(
            draw, "account.id {}in lists.mules", "counterparty.id {}in lists.plain", "last.id {}in lists.mules",
            "merchant.mcc {}in lists.codes", "merchant.city {}in lists.empty", "txn.country {}in lists.countries",
            "txn.channel {}in lists.channels", "txn.amount {}in lists.amounts", "card.count {}in lists.counts",
            "card.mean {}in lists.amounts", "card.ratio {}in lists.counts", "card.count {}in lists.rates",
            "txn.rate {}in lists.rates",
        )  # fmt: skip
        return listed.replace("{}", negated)
    if kind == 10:
        items = _one(
            draw, "card.count {}in [1, 2, 3]", "card.count {}in [1.5, 2]", "txn.rate {}in [50%, 2.5]", "card.other {}in []",
            "txn.amount {}in [1, 20.50, 100 CNY]", 'txn.channel {}in ["web", "pos"]', 'txn.channel {}in ["atm"]',
            'txn.country {}in ["CN", "NO"]', 'merchant.mcc {}in ["0742", "成都"]', 'account.id {}in ["a1"]',
            'account.opened {}in ["2024-10-04", "2026-01-31"]', "card.idle {}in [1s, 1m, 1h]", "txn.channel {}in []",
            "card.count {}in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "merchant.city {}in []",
        )  # fmt: skip
        return items.replace("{}", negated)
    if kind == 11:
        unit = _one(draw, "money", "number", "duration")
        step = {"money": _one(draw, "500", "0.5", "1 CNY"), "number": _one(draw, "1", "0.25", "card.other"),
                "duration": _one(draw, "1m", "card.idle")}[unit]  # fmt: skip
        return f"is_round({_of(unit, draw, depth)}, {step})"
    return _one(
        draw, "device.new", "card.present", "device.new == card.present", "device.new != true", "busy", "night",
        "is_weekend(event.time)", "is_weekend(account.opened)", "hour_in(last.time, 9, 17)",
        "coalesce(device.new, false)", "coalesce(card.present, busy)", "(card.count > 2) == (txn.amount > 50)",
        "txn.channel == params.channel",
    )  # fmt: skip


def _texts(draw: Draw, negated: str) -> str:
    op = _one(draw, "==", "!=")
    return negated + _one(
        draw, f'txn.channel {op} "web"', f'merchant.mcc {op} "0742"', f'"成都" {op} merchant.city',
        f"account.id {op} counterparty.id", f"last.id {op} account.id", f'txn.country {op} "CN"',
        f"txn.country {op} last.country", f'lower(merchant.city) {op} "chengdu"',
        'lower(merchant.city) in ["chengdu", "成都"]', 'starts_with(merchant.city, "Ch")',
        'starts_with(lower(merchant.city), "ch")', 'ends_with(merchant.city, "du")', 'contains(merchant.city, "eng")',
        'contains(lower(merchant.city), "0742")', 'ends_with(account.id, "1")', 'contains(merchant.mcc, "都")',
        f'coalesce(merchant.city, "0742") {op} merchant.mcc', f'coalesce(last.id, account.id) {op} "a1"',
    )  # fmt: skip


def _condition(draw: Draw, depth: int) -> str:
    if depth <= 0 or draw(st.integers(0, 3)) == 0:
        return _leaf(draw, max(depth, 1))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return f"not ({_condition(draw, depth - 1)})"
    if kind == 1:
        return f"coalesce({_condition(draw, depth - 1)}, {_condition(draw, depth - 1)})"
    word = " and " if kind < 4 else " or "
    parts = [f"({_condition(draw, depth - 1)})" for _ in range(draw(st.integers(2, 3)))]
    return word.join(parts)


@st.composite
def conditions(draw: Draw) -> str:
    """Draw a condition over the names of ``make_scope``."""
    return _condition(draw, draw(st.integers(0, 3)))


CONDITION_NODES = {name: parse(text)[0] for name, text in CONDITIONS.items()}
__all__ = ["KEY", "LISTS", "PARAMS", "SLOTS", "Table", "conditions", "make_scope", "make_table", "words"]
