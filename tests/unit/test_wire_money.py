"""Money of the wire: exact digits, currencies, conversion."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np
import pytest
from support.schemas import default_schema, make_schema
from support.wire import Raw, decoded, read, record, rejection

from fraudstream.rules.bundle import Rates, Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire.currency import MAX_BASE_MINOR, to_base


def outcome(amount: object, currency: str, member: str = "amount") -> int | str:
    """Return minor units or the code of a record with one amount."""
    raw = record(**{"amount": "1", "balance_before": None, member: amount, "currency": currency})
    code, field = rejection(default_schema(), raw)
    if code:
        assert field == ("currency" if code == "unknown_currency" else member)
        return code
    values = read(default_schema(), raw)
    if member == "amount":
        assert values["txn.amount_original"] == values["txn.amount"]
        return values["txn.amount"]
    return values["txn.balance_before"]


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("1250.00", "CNY", 125000),
        ("0", "CNY", 0),
        ("0.01", "CNY", 1),
        ("0.10", "CNY", 10),
        ("0.1", "CNY", 10),
        ("5", "CNY", 500),
        ("5.000000000000000000000", "CNY", 500),
        ("0.29", "CNY", 29),
        ("5.00", "JPY", 5),
        ("5.1", "JPY", "amount_precision"),
        ("1.234", "KWD", 1234),
        ("1.2345", "KWD", "amount_precision"),
        ("1.2345", "CLF", 12345),
        ("1.23456", "CLF", "amount_precision"),
        ("1.005", "CNY", "amount_precision"),
        ("1.001", "CNY", "amount_precision"),
        ("100000000000.00", "CNY", 10**13),
        ("100000000000.01", "CNY", "amount_too_large"),
        ("100000000000.001", "CNY", "amount_precision"),
        ("10000000000000", "JPY", 10**13),
        ("10000000000001", "JPY", "amount_too_large"),
        ("1000000000", "CLF", 10**13),
        ("1000000000.0001", "CLF", "amount_too_large"),
        ("9" * 5000, "CNY", "amount_too_large"),
        ("0." + "0" * 5000, "CNY", 0),
        ("0." + "0" * 5000 + "1", "CNY", "amount_precision"),
        ("-0", "CNY", "negative_amount"),
        ("-0.00", "CNY", "negative_amount"),
        ("-5.001", "CNY", "negative_amount"),
        ("+5", "CNY", "bad_amount"),
        ("05", "CNY", "bad_amount"),
        ("00", "CNY", "bad_amount"),
        (".5", "CNY", "bad_amount"),
        ("5.", "CNY", "bad_amount"),
        ("1e2", "CNY", "bad_amount"),
        ("1,000.00", "CNY", "bad_amount"),
        ("1 000", "CNY", "bad_amount"),
        (" 5", "CNY", "bad_amount"),
        ("5\n", "CNY", "bad_amount"),
        ("", "CNY", "bad_amount"),
        ("-", "CNY", "bad_amount"),
        ("--5", "CNY", "bad_amount"),
        ("0x10", "CNY", "bad_amount"),
        ("NaN", "CNY", "bad_amount"),
        ("\u0665", "CNY", "bad_amount"),
        ("\uff15.00", "CNY", "bad_amount"),
        (Raw("1250.00"), "CNY", 125000),
        (Raw("0.1"), "CNY", 10),
        (Raw("10.10"), "CNY", 1010),
        (Raw("5"), "CNY", 500),
        (Raw("-0"), "CNY", "negative_amount"),
        (Raw("-0.0"), "CNY", "negative_amount"),
        (Raw("-5"), "CNY", "negative_amount"),
        (Raw("1e2"), "CNY", "bad_amount"),
        (Raw("1E-2"), "CNY", "bad_amount"),
        (Raw("1.000000000000000000000000000000001"), "CNY", "amount_precision"),
        (Raw("9" * 5000), "CNY", "amount_too_large"),
        (True, "CNY", "wrong_type"),
        (["5"], "CNY", "wrong_type"),
        ({"value": "5"}, "CNY", "wrong_type"),
        ("5", "cny", "unknown_currency"),
        ("5", "XXX", "unknown_currency"),
        ("5", "XAU", "unknown_currency"),
        ("5", "DEM", "unknown_currency"),
        ("5", "CNY ", "unknown_currency"),
        ("5", "", "unknown_currency"),
        ("5.123", "ZZZ", "unknown_currency"),
        ("-5", "ZZZ", "negative_amount"),
        ("x", "ZZZ", "bad_amount"),
        (True, "ZZZ", "wrong_type"),
    ],
)
def test_amounts(amount: object, currency: str, expected: int | str) -> None:
    """Amounts are whole minor units of their currency, at most 10^13, exact to the last digit."""
    assert outcome(amount, currency) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("-0", 0),
        ("-0.01", -1),
        ("-100000000000.00", -(10**13)),
        ("-100000000000.01", "amount_too_large"),
        ("-5.001", "amount_precision"),
        ("--5", "bad_amount"),
        (Raw("-12.5"), -1250),
    ],
)
def test_signed_amounts(amount: object, expected: int | str) -> None:
    """An overdrawn balance is no error."""
    assert outcome(amount, "CNY", "balance_before") == expected


def test_money_without_currency_names_the_currency() -> None:
    """The code says whether the currency is absent or null; without money it is not needed."""
    login = {"event_type": "login", "amount": ...}
    assert rejection(default_schema(), record(currency=...)) == ("missing_field", "currency")
    assert rejection(default_schema(), record(currency=None)) == ("null_field", "currency")
    assert rejection(default_schema(), record(currency=..., **login)) == ("missing_field", "currency")
    assert rejection(default_schema(), record(currency=..., balance_before=..., **login)) == ("", "")
    assert rejection(default_schema(), record(currency="?", balance_before=None, **login)) == ("", "")
    assert rejection(default_schema(), record(currency=5)) == ("wrong_type", "currency")


def test_currency_table_is_the_active_list() -> None:
    """Decimals of currencies that are easily got wrong; retired and unit-less codes are not there."""
    known = {
        "CNY": 2,
        "USD": 2,
        "EUR": 2,
        "JPY": 0,
        "KRW": 0,
        "VND": 0,
        "CLP": 0,
        "ISK": 0,
        "UGX": 0,
        "PYG": 0,
    }
    known |= {
        "XAF": 0,
        "XOF": 0,
        "XPF": 0,
        "BHD": 3,
        "IQD": 3,
        "JOD": 3,
        "KWD": 3,
        "LYD": 3,
        "OMR": 3,
        "TND": 3,
    }
    known |= {
        "CLF": 4,
        "UYW": 4,
        "UYI": 0,
        "MGA": 2,
        "MRU": 2,
        "HUF": 2,
        "TWD": 2,
        "IDR": 2,
        "ZWG": 2,
        "XCG": 2,
    }
    known |= {"SLE": 2, "VED": 2, "HKD": 2, "MOP": 2, "CHE": 2, "XAD": 2}
    assert {code: DECIMALS.get(code) for code in known} == known
    retired = {
        "DEM",
        "HRK",
        "ANG",
        "BGN",
        "CUC",
        "SLL",
        "ZWL",
        "VEF",
        "MRO",
        "STD",
        "BYR",
        "XAU",
        "XDR",
        "XXX",
        "XTS",
    }
    assert retired.isdisjoint(DECIMALS)
    assert len(DECIMALS) == 165
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in DECIMALS)


RATES = Rates(
    {
        "USD": (71034, 4),
        "JPY": (47, 3),
        "KWD": (23, 0),
        "EUR": (25, 1),
        "CLF": (1, 1),
        "GBP": (10**9, 0),
        "INR": (0, 2),
    }
)


def by_decimal(minor: int, currency: str, base: str = "CNY") -> int:
    """Return the conversion by decimal arithmetic: major units times rate, half to even."""
    numerator, places = RATES.items[currency]
    with localcontext() as context:
        context.prec = 80
        major = Decimal(minor).scaleb(-DECIMALS[currency]) * Decimal(numerator).scaleb(-places)
        return int(major.scaleb(DECIMALS[base]).to_integral_value(ROUND_HALF_EVEN))


def test_conversion_is_exact_and_rounds_half_to_even() -> None:
    """Every currency and size agrees with decimal arithmetic; sent amounts and base amounts stay."""
    amounts = [0, 1, 2, 3, 5, 7, 25, 99, 125, 375, 10**6 + 5, 123456789, 10**12 + 1, 10**13 - 1, 10**13]
    rows = [(minor, currency) for currency in (*RATES.items, "CNY") for minor in amounts]
    records = []
    for minor, currency in rows:
        amount = f"{Decimal(minor).scaleb(-DECIMALS[currency]):f}"
        records.append(record(amount=amount, currency=currency, balance_before="-" + amount))
    batch = decoded(default_schema(), *records)
    assert not batch.rejected
    no_rate = to_base(batch, RATES)
    assert not no_rate.any()
    column = {
        name: batch.schema.field(name).column
        for name in ("txn.amount", "txn.amount_original", "txn.balance_before")
    }
    for row, (minor, currency) in enumerate(rows):
        expected = minor if currency == "CNY" else by_decimal(minor, currency)
        present = abs(expected) <= MAX_BASE_MINOR
        assert batch.state[column["txn.amount"], row] == present, (minor, currency)
        assert batch.value[column["txn.amount"], row] == (expected if present else 0), (minor, currency)
        assert batch.value[column["txn.balance_before"], row] == (-expected if present else 0)
        assert batch.value[column["txn.amount_original"], row] == minor
    assert not batch.state[column["txn.amount"]].all()


@pytest.mark.parametrize("rate", [(5, 1), (5 * 10**17, 18), (5 * 10**30, 31)])
def test_half_values_go_to_the_even_side(rate: tuple[int, int]) -> None:
    """0.5, 1.5 and 2.5 minor units become 0, 2 and 2, with either sign, in every width of arithmetic."""
    rates = Rates({"USD": rate})
    amounts = ["0.01", "0.03", "0.05", "0.07", "1.25", "1.27"]
    batch = decoded(
        default_schema(), *[record(amount=a, balance_before="-" + a, currency="USD") for a in amounts]
    )
    to_base(batch, rates)
    expected = [0, 2, 2, 4, 62, 64]
    assert batch.value[batch.schema.field("txn.amount").column].tolist() == expected
    assert batch.value[batch.schema.field("txn.balance_before").column].tolist() == [-v for v in expected]


@pytest.mark.parametrize(("rate", "present"), [((100, 0), True), ((1000000000000001, 13), False)])
def test_the_largest_converted_amount(rate: tuple[int, int], present: bool) -> None:
    """10^15 base minor units stay, anything beyond is missing, not cut and not flagged."""
    batch = decoded(default_schema(), record(amount="100000000000.00", currency="USD"))
    assert not to_base(batch, Rates({"USD": rate})).any()
    column = batch.schema.field("txn.amount").column
    assert batch.state[column, 0] == present
    assert batch.value[column, 0] == (10**15 if present else 0)


def test_amounts_without_a_rate_are_missing_and_flagged() -> None:
    """Only rows with money in a currency without a rate are flagged; what was sent stays readable."""
    batch = decoded(
        default_schema(),
        record(currency="SEK"),
        record(currency="CNY"),
        record(currency="USD"),
        record(currency="SEK", amount=..., balance_before=None, event_type="login"),
        record(currency="SEK", amount=..., event_type="login"),
        record(currency=..., amount=..., balance_before=..., event_type="login"),
    )
    assert to_base(batch, RATES).tolist() == [True, False, False, False, True, False]
    schema = batch.schema
    assert batch.state[schema.field("txn.amount").column].tolist() == [0, 1, 1, 0, 0, 0]
    assert batch.state[schema.field("txn.balance_before").column].tolist() == [0, 1, 1, 0, 0, 0]
    assert batch.value[schema.field("txn.amount").column].tolist()[0] == 0
    assert batch.value[schema.field("txn.amount_original").column].tolist()[:3] == [125000] * 3


def test_conversion_does_not_depend_on_neighbours() -> None:
    """A huge amount beside a small one changes the arithmetic, never the result."""
    raws = [record(amount="0.03", currency="GBP"), record(amount="100000000000.00", currency="GBP")]
    together = decoded(default_schema(), *raws)
    to_base(together, RATES)
    for row, raw in enumerate(raws):
        alone = decoded(default_schema(), raw)
        to_base(alone, RATES)
        assert np.array_equal(alone.value[:, 0], together.value[:, row])
        assert np.array_equal(alone.state[:, 0], together.state[:, row])


def test_empty_batch_and_schema_without_money() -> None:
    """Nothing to convert is no error."""
    assert to_base(decoded(default_schema()), RATES).tolist() == []
    bare = make_schema([("event.id", Type.ID, {"path": ("id",), "required": True})])
    assert to_base(decoded(bare, b'{"id":"a"}'), RATES).tolist() == [False]


def test_base_currency_with_other_decimals() -> None:
    """Yen and dinars convert by their own minor units."""
    money = {"path": ("amount",), "currency": "txn.currency"}
    for base in ("JPY", "KWD"):
        schema = make_schema(
            [("txn.amount", Type.MONEY, money), ("txn.currency", Type.CATEGORY, {"path": ("currency",)})],
            base_currency=base,
        )
        batch = decoded(schema, b'{"amount":"12.34","currency":"USD"}')
        to_base(batch, RATES)
        assert batch.value[0, 0] == by_decimal(1234, "USD", base)
