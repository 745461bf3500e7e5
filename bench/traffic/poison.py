"""Records that cannot be read, one or more for every rejection code, and odd ones that can."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Members = dict[str, Any]


class Poison(NamedTuple):
    """A way to spoil a readable money event; ``code`` is the rejection that it must get."""

    name: str
    code: str
    spoil: Callable[[Members], bytes | None]


def dump(members: Members) -> bytes:
    """Return an object without spaces, as the generator writes it."""
    return json.dumps(members, separators=(",", ":")).encode()


def _with(**changed: Any) -> Callable[[Members], bytes]:
    return lambda members: dump({**members, **changed})


def _without(name: str) -> Callable[[Members], bytes]:
    return lambda members: dump({key: value for key, value in members.items() if key != name})


def _twice(members: Members) -> bytes:
    return dump(members)[:-1] + b',"amoun\\u0074":"1.00"}'


def _surrogate(members: Members) -> bytes:
    return dump(members)[:-1] + b',"note":"\\ud800"}'


def _raw(name: str, text: bytes) -> Callable[[Members], bytes]:
    def spoil(members: Members) -> bytes:
        mark = "@@@"
        return dump({**members, name: mark}).replace(b'"@@@"', text)

    return spoil


_DEEP = b',"x":' + b"[" * 17 + b"]" * 17 + b"}"

POISON: tuple[Poison, ...] = (
    Poison("long note", "too_large", _with(note="x" * 65_600)),
    Poison("no bytes", "empty", lambda _: b""),
    Poison("null value", "empty", lambda _: None),
    Poison("latin-1", "bad_utf8", lambda m: dump(m)[:-1] + b',"note":"caf\xe9"}'),
    Poison("overlong", "bad_utf8", lambda m: dump(m)[:-1] + b',"note":"\xc0\xaf"}'),
    Poison("cut off", "bad_json", lambda m: dump(m)[: len(dump(m)) // 2]),
    Poison("trailing comma", "bad_json", lambda m: dump(m)[:-1] + b",}"),
    Poison("two values", "bad_json", lambda m: dump(m) + dump(m)),
    Poison("byte order mark", "bad_json", lambda m: b"\xef\xbb\xbf" + dump(m)),
    Poison("not a number", "bad_json", _raw("lat", b"NaN")),
    Poison("lone surrogate", "bad_json", _surrogate),
    Poison("seventeen levels", "bad_json", lambda m: dump(m)[:-1] + _DEEP),
    Poison("control character", "bad_json", lambda m: dump(m)[:-1] + b',"note":"\x01"}'),
    Poison("white space only", "bad_json", lambda _: b"  \n"),
    Poison("list", "not_object", lambda m: b"[" + dump(m) + b"]"),
    Poison("text", "not_object", lambda _: b'"transaction"'),
    Poison("null", "not_object", lambda _: b"null"),
    Poison("escaped twin", "duplicate_member", _twice),
    Poison("second id", "duplicate_member", lambda m: b'{"transaction_id":"a",' + dump(m)[1:]),
    Poison("no id", "missing_field", _without("transaction_id")),
    Poison("no time", "missing_field", _without("event_time")),
    Poison("no account", "missing_field", _without("account_id")),
    Poison("no amount", "missing_field", _without("amount")),
    Poison("no currency", "missing_field", _without("currency")),
    Poison("null account", "null_field", _with(account_id=None)),
    Poison("null amount", "null_field", _with(amount=None)),
    Poison("fractional account", "wrong_type", _raw("account_id", b"12.5")),
    Poison("amount in an object", "wrong_type", _with(amount={"value": "1.00"})),
    Poison("time as a fraction", "wrong_type", _raw("event_time", b"1.767e12")),
    Poison("device as a list", "wrong_type", _with(device_id=["d-1"])),
    Poison("empty id", "bad_id", _with(transaction_id="")),
    Poison("space in id", "bad_id", _with(account_id="6222 0202")),
    Poison("very long id", "bad_id", _with(transaction_id="T" * 65)),
    Poison("quote in id", "bad_id", _with(counterparty_id='6217"1')),
    Poison("no offset", "bad_time", _with(event_time="2026-01-05T00:00:00")),
    Poison("leap second", "bad_time", _with(event_time="2026-01-05T23:59:60Z")),
    Poison("month thirteen", "bad_time", _with(event_time="2026-13-05T00:00:00Z")),
    Poison("last century", "time_out_of_range", _with(event_time="1999-12-31T23:59:59Z")),
    Poison("next century", "time_out_of_range", _raw("event_time", b"4102444800000")),
    Poison("decimal comma", "bad_amount", _with(amount="12,50")),
    Poison("exponent", "bad_amount", _with(amount="1e3")),
    Poison("leading zero", "bad_amount", _with(amount="007.00")),
    Poison("minus", "negative_amount", _with(amount="-1.00")),
    Poison("minus nothing", "negative_amount", _with(amount="-0")),
    Poison("tenths of a fen", "amount_precision", _with(amount="1.005", currency="CNY")),
    Poison("half a yen", "amount_precision", _with(amount="100.5", currency="JPY", balance_before="1")),
    Poison("more than there is", "amount_too_large", _with(amount="100000000000000.01", currency="CNY")),
    Poison("currency of nowhere", "unknown_currency", _with(currency="XQQ")),
    Poison("currency in small letters", "unknown_currency", _with(currency="cny")),
)


def odd(members: Members, rng: np.random.Generator) -> bytes:
    """Return the same event written in another, equally readable way."""
    style = int(rng.integers(0, 7))
    if style == 0:
        return json.dumps(members, indent=1).encode()
    if style == 1:
        return dump(dict(reversed(members.items())))
    if style == 2:
        return dump({**{name: None for name in OPTIONAL if name not in members}, **members})
    if style == 3:
        when = np.datetime64(str(members["event_time"])[:-1], "ms").astype(np.int64)
        return dump({**members, "event_time": int(when)})
    if style == 4 and "amount" in members:
        text = dump({**members, "amount": "@@@"})
        return text.replace(
            b'"@@@"', str(members["amount"]).encode() + (b"0" if "." in members["amount"] else b"")
        )
    if style == 5:
        return (
            b"\t"
            + dump({**members, "trace": {"spans": [1, 2.5e-3, True, None, "\u00e9\u4e2d\U0001f600"]}})
            + b"\r\n"
        )
    account = str(members["account_id"])
    return dump({**members, "account_id": "@@@"}).replace(
        b"@@@", f"\\u{ord(account[0]):04X}{account[1:]}".encode()
    )


OPTIONAL = (
    "customer_id", "card_id", "direction", "kind", "channel", "counterparty_id", "counterparty_bank",
    "merchant_id", "mcc", "device_id", "ip", "country", "city", "lat", "lon", "original_id", "transfer_id",
    "status",
)  # fmt: skip
