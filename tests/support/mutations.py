"""Records that are nearly good: members replaced, repeated, misspelt, reordered; bytes damaged. All from a seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from fraudstream.rules.iso4217 import DECIMALS

Members = dict[str, Any]
Tree = list[tuple[bytes, Any]]
"""(name as JSON, value as JSON or a tree) of an object."""

_CURRENCIES = [
    *DECIMALS,
    *("EUR", "JPY", "KWD", "CLF") * 40,
    "XXX",
    "XAU",
    "cny",
    "CN",
    "CNYX",
    "ZZZ",
    "AAA",
    "CN\u00dd",
    "@@@",
    "[[[",
]
_SPACE = [b"", b"", b"", b" ", b"\n", b"\t", b"\r\n", b"  ", b"\x0c", b"\x0b", b"\xc2\xa0", b"\x00"]
_STRUCTURE = [
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud8", b"\\udc00", b"null", b"true", b"0", b"-",
    b"e", b".", b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xff", b"\xef\xbb\xbf", b"//", b"/*", b"NaN", b"'", b" ",
]  # fmt: skip
_ESCAPES = [
    b'\\"', b"\\\\", b"\\/", b"\\b", b"\\f", b"\\n", b"\\r", b"\\t", b"\\u0000", b"\\u0041", b"\\u00e9", b"\\u6210",
    b"\\ud83d\\ude00", b"\\uD83D\\uDE00", b"\\udbff\\udfff", b"\\ud800\\udc00", b"\\uffff", b"\\u007f", b"\\u0080",
    b"\\u07ff", b"\\u0800", b"\\ud7ff", b"\\ue000", b"\\ud83d", b"\\ude00", b"\\ud83d\\u0041", b"\\ud83d\\\\",
    b"\\ud83dx", b"\\ude00\\ud83d", b"\\x41", b"\\'", b"\\0", b"\\u12", b"\\u12g4", b"\\u 123", b"\\u+123",
    b"\\u00e", b"\\U0041", b"\\u00E9", b"\\a", b"\\v",
]  # fmt: skip
_UTF8 = [
    "é".encode(), "\u07ff".encode(), "\u0800".encode(), "成都".encode(), "\ud7ff".encode(), "\ue000".encode(),
    "\uffff".encode(), "\U00010000".encode(), "😀".encode(), "\U0010ffff".encode(), b"\x7f", b"\x80", b"\xbf",
    b"\xc0\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xc2", b"\xc2\x7f", b"\xc2\xc0", b"\xe0\x80\x80", b"\xe0\x9f\xbf",
    b"\xe1\x80", b"\xe1\x80\xc0", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xee\x80", b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf", b"\xf1\x80\x80", b"\xf1\x80\x80\xc0", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff",
    b"\xfe", b"\xf8\x88\x80\x80\x80",
]  # fmt: skip
_LITERALS = [
    b"null", b"true", b"false", b"nul", b"nulll", b"True", b"TRUE", b"fals", b"truefalse", b"NaN", b"Infinity",
    b"-Infinity", b"undefined", b"", b'""', b"[]", b"{}", b"[null]", b'{"id":1}', b'[{"a":[1,2,{"b":null}]}]',
    b'{"a":1,"a":2}', b"[1,]", b"[,1]", b'{"a":1,}', b"{,}", b'{"a"}', b'{"a":}', b"{a:1}", b"[1 2]", b'"a" "b"',
]  # fmt: skip


def _digits(rng: Random, size: int) -> str:
    return "".join(rng.choices("0123456789", k=size))


def number(rng: Random) -> bytes:
    """Draw JSON numbers of every length, and nearly numbers."""
    if rng.random() < 0.15:
        halfway = f"{rng.randint(2**52, 2**53)}.5"  # between two binary64
        return rng.choice([halfway, halfway, repr(rng.uniform(-181, 181)), repr(rng.random())]).encode()
    long = str(rng.randint(1, 9)) + _digits(rng, rng.randint(0, 22))
    border = str(rng.choice([90, 180]) + rng.randint(-1, 1))
    whole = rng.choice(["0", long, str(rng.randint(0, 200)), border])
    text = rng.choice(["", "", "-"]) + whole
    if rng.random() < 0.5:
        text += "." + _digits(rng, rng.randint(1, 24)) + "0" * rng.choice([0, 0, 1, 5, 20])
    if rng.random() < 0.3:
        text += (
            rng.choice("eE")
            + rng.choice(["", "+", "-"])
            + str(rng.choice([0, 1, 2, 21, 22, 23, 300, 308, 400]))
        )
    if rng.random() < 0.1:
        text = rng.choice(
            ["01", "-", "1.", ".5", "+1", "1e", "1e+", "0x1", "1_0", "-0", "-0.0", "0e0", "00", "--1", "1.2.3",
             "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "5e-324",
             "1.7976931348623157e308", "1e400", "-1e-400", "90", "90.000001", "-180", "180.0001", "\uff11"]
        )  # fmt: skip
    return text.encode()


def money(rng: Random) -> bytes:
    """Draw amounts around the limits of size and precision."""
    if rng.random() < 0.2:
        minor, places = 10 ** rng.choice([13, 13, 13, 12, 14]) + rng.randint(-1, 1), rng.randint(0, 5)
        text = f"{minor // 10**places}.{minor % 10**places:0{places}d}" if places else str(minor)
        return f'"{rng.choice(["", "", "-"])}{text}"'.encode()
    whole = rng.choice(
        [str(rng.randint(0, 9999)), str(10 ** rng.randint(8, 14)), str(10**11 - rng.randint(0, 1)), "00", "007", "",
         str(rng.randint(1, 9)) + _digits(rng, rng.randint(9, 15))]
    )  # fmt: skip
    fraction = rng.choice(["", "." + _digits(rng, rng.randint(0, 5)) + "0" * rng.choice([0, 0, 0, 1, 2, 17])])
    text = rng.choice(["", "", "", "-", "+", " "]) + whole + fraction
    text += rng.choice([""] * 12 + [" ", "e2", ".", "\\u0030", "x", "\uff10", "\n"])
    return (text if rng.random() < 0.4 else f'"{text}"').encode()


def moment(rng: Random) -> bytes:
    """Draw times and dates around the limits, in every spelling."""
    if rng.random() < 0.2:
        border = rng.choice([946684800000, 4102444800000, 1795488011123, 10**14, 10**17])
        return str(rng.choice([-1, 1, 1, 1]) * (border + rng.randint(-2, 2))).encode()
    base = rng.choice(
        [datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)]
        + [datetime(2026, 11, 24, 2, 40, 11, tzinfo=UTC)] * 3
        + [datetime(rng.choice([1900, 2000, 2024, 2026, 2100]), rng.choice([2, 2, 3, 12]), 28, tzinfo=UTC)]
    )
    base += timedelta(minutes=rng.randint(-3000, 3000), seconds=rng.randint(0, 59))
    day, clock = base.strftime("%Y-%m-%d"), base.strftime("%H:%M:%S")
    # One thing is odd at a time, mostly: two faults hide each other.
    if rng.random() < 0.15:
        day = f"{rng.choice([0, 1899, 1900, 1999, 2000, 2024, 2026, 2100, 2101])}-{rng.randint(0, 13):02d}-"
        day += f"{rng.randint(0, 32):02d}"
        day = day.zfill(10)
    if rng.random() < 0.25:
        clock = f"{rng.choice([0, 9, 23, 23, 24])}:{rng.choice([0, 59, 59, 60])}:{rng.choice([0, 59, 60, 60, 61])}"
        clock = ":".join(part.zfill(2) for part in clock.split(":"))
    fraction = rng.choice(["", "", "." + _digits(rng, rng.randint(0, 12))])
    zone = rng.choice(["Z", "z", f"{rng.choice('+-')}{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"])
    if rng.random() < 0.15:
        zone = rng.choice(["", "+0800", "+08", "+24:00", "+23:60", "Z ", "ZZ", "-:00:0", "-00:00"])
    between = rng.choice(["T", "t", " ", "_", "\\u0054"]) if rng.random() < 0.15 else "T"
    text = day if rng.random() < 0.1 else day + between + clock + fraction + zone
    if rng.random() < 0.1:
        at = rng.randrange(len(text) + 1)
        odd = rng.choice(["", "0", "-", " ", "\u0660", "/", ":", "9"])
        text = text[:at] + odd + text[at + rng.randint(0, 1) :]
    return f'"{text}"'.encode()


def day(rng: Random) -> bytes:
    """Draw dates, most of them in the calendar."""
    year = rng.choice([0, 1600, 1899, 1900, 1999, 2000, 2023, 2024, 2100, 2101, 9999])
    text = f"{year:04d}-{rng.randint(0, 13):02d}-{rng.choice([0, 1, 2, 27, 28, 29, 30, 31, 32]):02d}"
    if rng.random() < 0.1:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["", "0", "-", " ", "/", "\u0660"]) + text[at + rng.randint(0, 1) :]
    return f'"{text}"'.encode()


def text(rng: Random) -> bytes:
    """Draw strings: plain ones of many lengths, escapes, characters of every size, valid and not."""
    kind = rng.randrange(5)
    if kind == 0:
        size = rng.choice([0, 1, 2, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300])
        return b'"' + bytes(rng.choices(range(0x23, 0x5B), k=size)) + b'"'
    if kind == 1:
        return rng.choice((currency, country))(rng)
    parts = [
        rng.choice(_ESCAPES if rng.random() < 0.5 else _UTF8)
        if rng.random() < 0.4
        else bytes(rng.choices(b"abcXYZ019 _-.!~", k=rng.randint(0, 12)))
        for _ in range(rng.randint(1, 5))
    ]
    return b'"' + b"".join(parts) + b'"'


def currency(rng: Random) -> bytes:
    """Draw currencies, and nearly currencies."""
    return f'"{rng.choice(_CURRENCIES)}"'.encode()


def country(rng: Random) -> bytes:
    """Draw two characters around capital letters."""
    return b'"' + bytes([rng.randrange(65, 91), rng.randrange(60, 96)]) + b'"'


def nest(rng: Random) -> bytes:
    """Draw containers whose depth is near the limit."""
    opened = [rng.choice([b"[", b'{"a":', b'{"id":']) for _ in range(rng.randint(12, 18))]
    closed = b"".join(b"]" if item == b"[" else b"}" for item in reversed(opened))
    inner = rng.choice([b"1", b"null", b'"]}"', b"[]", b"{}", b'"\\"[["'])
    return b"".join(opened) + inner + closed


_DRAWS: Sequence[Callable[[Random], bytes]] = (
    number, money, moment, text, text, nest, lambda rng: rng.choice(_LITERALS), lambda _: b"null",
)  # fmt: skip


_FORMS = [
    (re.compile(form), draw)
    for form, draw in (
        (rb'"-?\d+(\.\d+)?"', money),
        (rb'"\d{4}-\d{2}-\d{2}"', day),
        (rb'"\d{4}-.*"', moment),
        (rb'"[A-Z]{3}"', currency),
        (rb'"[A-Z]{2}"', country),
        (rb"-?\d.*", number),
    )
]
"""What a value looks like -> what else its member may hold."""


def value(rng: Random) -> bytes:
    """Draw a member's value of any kind."""
    return rng.choice(_DRAWS)(rng)


def _like(rng: Random, was: bytes) -> bytes:
    """Draw a value that a member with the value ``was`` may well have."""
    for pattern, draw in _FORMS:
        if pattern.fullmatch(was):
            return draw(rng)
    return text(rng)


def _tree(members: Members) -> Tree:
    return [
        (json.dumps(name, ensure_ascii=False).encode(),
         _tree(item) if isinstance(item, dict) else json.dumps(item, ensure_ascii=False).encode())
        for name, item in members.items()
    ]  # fmt: skip


def _misspelt(rng: Random, name: bytes) -> bytes:
    at = rng.randrange(1, max(2, len(name) - 1))
    how = rng.randrange(4)
    if how == 0:
        return name[:at] + b"\\u%04x" % name[at] + name[at + 1 :]
    if how == 1:
        return name[:at] + bytes([name[at] ^ 1 << rng.randrange(7)]) + name[at + 1 :]
    return name[:at] + (rng.choice(_ESCAPES + _UTF8) if how == 2 else b"") + name[at + how - 2 :]


def _change(rng: Random, tree: Tree) -> None:
    """Change one member of an object, or of an object in it."""
    at = rng.randrange(len(tree))
    name, item = tree[at]
    if isinstance(item, list) and item and rng.random() < 0.8:
        tree[at] = name, list(item)
        _change(rng, tree[at][1])
        return
    how = rng.randrange(12)
    if how < 4:
        tree[at] = name, _like(rng, item if isinstance(item, bytes) else b"")
    elif how < 6:
        tree[at] = name, value(rng)
    elif how == 6:
        del tree[at]
    elif how == 7:
        tree.insert(rng.randint(0, len(tree)), (name, item if rng.random() < 0.5 else value(rng)))
    elif how == 8:
        tree[at] = _misspelt(rng, name), item
    elif how == 9:
        tree.insert(rng.randint(0, len(tree)), (text(rng), value(rng)))
    elif how == 10:
        rng.shuffle(tree)
    else:
        other = rng.randrange(len(tree))
        tree[at] = name, tree[other][1]


def _written(rng: Random, tree: Tree, gaps: bool) -> bytes:
    parts = []
    for name, item in tree:
        inner = _written(rng, item, gaps) if isinstance(item, list) else item
        if gaps:
            before, after, last, end = rng.choices(_SPACE[:8] if rng.random() < 0.97 else _SPACE, k=4)
            parts.append(before + name + after + b":" + last + inner + end)
        else:
            parts.append(name + b":" + inner)
    return b"{" + b",".join(parts) + b"}"


def _damaged(rng: Random, raw: bytes) -> bytes:
    """Change, cut or insert a few bytes anywhere."""
    at = rng.randrange(len(raw) + 1)
    how = rng.randrange(9)
    if how < 2 and at < len(raw):
        return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
    if how == 2:
        return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
    if how == 3:
        return raw[:at] if rng.random() < 0.7 else raw[at:]
    if how == 4:
        return raw[:at] + raw[at + rng.randint(1, 8) :]
    if how == 5:
        other = rng.randrange(len(raw) + 1)
        return raw[:at] + raw[other : other + rng.randint(1, 40)] + raw[at:]
    if how == 6:
        return raw[:at] + rng.choice(_UTF8 + _ESCAPES) + raw[at:]
    if how == 7:
        return rng.choice([b"\xef\xbb\xbf", b" ", b"\n", b"\x00", b"[", b"1"]) + raw
    return raw[:at] + rng.choice(_STRUCTURE) + raw[at:]


def mutated(bases: Sequence[Members], seed: int) -> Iterator[bytes]:
    """Yield records made of ``bases`` for ever; every seed gives its own."""
    rng = Random(seed)
    trees = [_tree(base) for base in bases]
    while True:
        tree = list(rng.choice(trees))
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            if tree:
                _change(rng, tree)
        raw = _written(rng, tree, gaps=rng.random() < 0.1)
        if rng.random() < 0.35:
            raw = _damaged(rng, raw)
        yield raw
