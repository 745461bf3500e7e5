"""Random declarations of features and random streams of events."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from support.window_oracle import Event
from support.windows import DAY, HOUR, MINUTE, START_MS

from fraudstream.rules.bundle import Agg, Feature

KEYS: tuple[tuple[str, ...], ...] = (
    ("account.id",),
    ("merchant.id",),
    ("account.id", "merchant.id"),
    ("device.country",),
    ("txn.count", "txn.domestic"),
    ("txn.geo", "device.country"),
    ("account.id", "txn.amount"),
)
NUMBERS = ("txn.amount", "txn.count", "txn.rate", "txn.age")
VALUES = ("merchant.id", "device.country", "txn.geo", "txn.amount", "event.time")
PAYLOADS = (
    ("event.time",),
    ("event.time", "txn.geo", "device.country"),
    ("merchant.id",),
    ("txn.rate", "txn.amount"),
)
WINDOWS = (1_000, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 30 * DAY, 400 * DAY)
PANES = (0, 0, HOUR, DAY, 90_000)
AMOUNTS = (1, 0, -1, 100, 99_999, 2**40 - 1, 2**40, -(2**41), 10**13, 123_456_789)
RATES = (0.0, 1.23, -0.07, 99.99, 12_345_678_901.23)
POINTS = ((31.2, 121.4), (39.9, 116.4), (31.2, 116.4))
STEPS = (
    0,
    1,
    500,
    999,
    1_000,
    30_000,
    MINUTE,
    10 * MINUTE,
    HOUR - 1,
    HOUR,
    6 * HOUR,
    DAY,
    5 * DAY,
    401 * DAY,
)


def digits(code: int, *bases: int) -> Iterator[int]:
    """Split one integer into mixed-radix digits: one draw is many choices, and shrinks towards 0."""
    for base in bases:
        yield code % base
        code //= base


@st.composite
def declarations(draw: st.DrawFn) -> list[Feature]:
    """Draw 1 to 12 features over a few kinds of key."""
    kinds = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
    aggs = list(Agg)
    result = []
    for number, code in enumerate(draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=12))):
        agg_code, kind, window, where, exclude, least, of, cap, pane = digits(
            code, len(aggs), 3, 9, 5, 2, 6, 5, 5, 5
        )
        agg = aggs[agg_code]
        chosen: tuple[str, ...] = ()
        if agg in (Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX, Agg.EWMA):
            chosen = (NUMBERS[of % len(NUMBERS)],)
        elif agg is Agg.DISTINCT:
            chosen = (VALUES[of % len(VALUES)],)
        elif agg in (Agg.FIRST, Agg.LAST):
            chosen = PAYLOADS[of % len(PAYLOADS)]
        may_be_windowless = agg in (Agg.FIRST, Agg.LAST, Agg.SINCE_FIRST, Agg.SINCE_LAST)
        length: int | None = WINDOWS[window % len(WINDOWS)]
        if agg is Agg.EWMA or (may_be_windowless and window % 2):
            length = None
        resolution = 0 if length is None or agg is Agg.SEQUENCE else PANES[pane]
        steps: tuple[int, ...] = ()
        if agg is Agg.SEQUENCE:
            # One to three earlier steps, some alike; `where` stands for what begins the sequence anew.
            steps = tuple((of + i * cap) % 3 for i in range(1 + least % 3))
        result.append(
            Feature(
                name=f"f{number}",
                agg=agg,
                key=kinds[kind % len(kinds)],
                of=chosen,
                window_ms=length,
                resolution_ms=resolution if length is not None and resolution <= length else 0,
                half_life_ms=WINDOWS[window % len(WINDOWS)] if agg is Agg.EWMA else 0,
                where=where if where < 3 and not steps else None,
                exclude_current=bool(exclude) or bool(steps),
                min_count=0 if steps else (0, 0, 0, 1, 2, 5)[least],
                max_distinct=(100, 1, 2, 5, 3)[cap] if agg is Agg.DISTINCT else 0,
                steps=steps,
                unless=where if steps and where < 3 else None,
            )
        )
    return result


def stream(
    codes: Sequence[int], keys: int, longest: int = len(STEPS), *, varied: bool = False
) -> list[Event]:
    """Turn integers into events: mostly forward in time, some behind, ahead, repeated or with reused ids.

    ``longest``: how many of the steps are used; few make streams dense. ``varied``: amounts hardly repeat.
    """
    events: list[Event] = []
    now = START_MS
    for offset, code in enumerate(codes):
        step, turn, account, merchant, country, amount, rate, point, mask, absent, again, skew = digits(
            code, longest * 2, 8, keys, 3, 3, len(AMOUNTS), len(RATES), 3, 8, 1 << 7, 16, 12
        )
        jump = STEPS[step // 2]
        # Days are rare: a stream that outruns every window tests little.
        now += jump if jump < DAY or turn == 0 else jump % 997
        time = now
        if turn in (6, 7):
            time = max(START_MS, now - (jump if turn == 6 else jump % MINUTE))
        if turn == 5 and events:
            # The time of an earlier event again: ties behind later ones.
            time = events[-1 - amount % min(len(events), 7)].values["event.time"]
        record = {0: -1, 1: time - 61_000, 2: time - 60_000, 3: time - 400_000}.get(skew, time)
        if again == 1 and events:
            twin = events[-1 - code % min(len(events), 7)]
            events.append(Event(offset, twin.record_time_ms, twin.body, twin.values, twin.filters))
            continue
        values: dict[str, Any] = {
            "event.id": f"t{offset}",
            "event.time": time,
            "account.id": f"a{account}",
            "merchant.id": f"m{merchant}",
            "device.country": ("CN", "US", "DE")[country],
            "txn.amount": code % 1_000_003 - 500_000 if varied else AMOUNTS[amount],
            "txn.count": amount - 3,
            "txn.rate": RATES[rate],
            "txn.geo": POINTS[point],
            "txn.age": amount * 1_000,
            "txn.domestic": country == 0,
        }
        if again in (2, 3) and events:
            values["event.id"] = events[-1 - code % min(len(events), 7)].values["event.id"]
        if absent % 3 == 2:
            for bit, name in enumerate(
                (
                    "account.id",
                    "merchant.id",
                    "device.country",
                    "txn.amount",
                    "txn.count",
                    "txn.rate",
                    "txn.geo",
                )
            ):
                if absent >> bit & 1:
                    del values[name]
        filters = tuple(bool(mask >> bit & 1) for bit in range(3))
        events.append(Event(offset, record, f"b{offset}", values, filters))
    return events


def close(words: tuple[tuple[int, ...], ...] | None, values: tuple[Any, ...] | None, size: float) -> None:
    """A moving average is within 1e-9 of the closed sum, relative to the size of what is averaged."""
    assert (words is None) == (values is None)
    if words is not None and values is not None:
        found = struct.unpack("<d", struct.pack("<q", words[0][0]))[0]
        assert math.isclose(found, values[0], rel_tol=1e-9, abs_tol=1e-9 * size)
