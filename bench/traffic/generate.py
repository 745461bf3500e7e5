"""Seeded bank traffic as an endless log of JSON transactions with labels.

The same arguments give the same bytes under one NumPy release; a shorter log is the beginning of a longer
one. The rate is the reference bank's: 6.5 events an account and day, 2.6 million a day on 400,000.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.traffic.events import EVENT, IN, Events, EventType, Notebook
from fraudstream.bench.traffic.fraud import fraud_hour
from fraudstream.bench.traffic.habits import ordinary_hour
from fraudstream.bench.traffic.lookalikes import lookalike_hour
from fraudstream.bench.traffic.places import CURRENCIES
from fraudstream.bench.traffic.records import Chunk, Printer
from fraudstream.bench.traffic.scene import Scene
from fraudstream.bench.traffic.world import (
    CURRENCY_CNY,
    DAY_MS,
    EVENTS_PER_ACCOUNT_DAY,
    HOUR_MS,
    I64,
    LOCAL_MS,
    build_world,
    stream,
)

START_MS = 1_767_571_200_000
"""2026-01-05T00:00:00Z, a Monday."""
ACCOUNTS_MIN = 20
ACCOUNTS_MAX = 400_000
"""The reference bank."""


def usual_accounts(count: int) -> int:
    """Return how many accounts make ``count`` events in about two weeks, at most the reference bank's."""
    return min(ACCOUNTS_MAX, max(100, count // 100))


def generate(count: int, seed: int, start_ms: int = START_MS, accounts: int | None = None) -> Iterator[Chunk]:
    """Yield ``count`` events in order of event time, an hour of them at a time.

    ``accounts`` defaults to :func:`usual_accounts`; more accounts make the same number of events in
    less time. Labels come with the chunk of their event, however late their own time is.

    Raises:
        ValueError: ``count`` or ``seed`` was negative, or there were fewer than ``ACCOUNTS_MIN`` accounts.
    """
    if accounts is None:
        accounts = usual_accounts(count)
    if count < 0 or seed < 0 or accounts < ACCOUNTS_MIN:
        raise ValueError(
            f"count and seed must not be negative, and accounts at least {ACCOUNTS_MIN}; was {accounts}"
        )
    left = count
    for chunk in endless(seed, start_ms, accounts):
        if left <= 0:
            return
        if len(chunk) > left:
            chunk = first_part(chunk, left)  # noqa: PLW2901
        left -= len(chunk)
        if len(chunk):
            yield chunk


def first_part(chunk: Chunk, size: int) -> Chunk:
    """Return the first ``size`` events of a chunk with their labels."""
    labels = [label for label in chunk.labels if label.offset < chunk.offset + size]
    return Chunk(chunk.values[:size], chunk.keys[:size], chunk.times_ms[:size], labels, chunk.offset)


def endless(seed: int, start_ms: int, accounts: int) -> Iterator[Chunk]:
    """Yield the log's hours for ever; an hour of a small bank may be empty."""
    world = build_world(seed, accounts, start_ms)
    book, printer = Notebook(), Printer(world)
    balance = world.opening_balance.copy()
    known, last = world.last_active.copy(), world.last_active.copy()
    expected = accounts * EVENTS_PER_ACCOUNT_DAY / 24
    pending = np.zeros(0, EVENT)
    hour = 0
    while True:
        begin = start_ms + hour * HOUR_MS
        day = (begin + LOCAL_MS) // DAY_MS
        if day != (begin - HOUR_MS + LOCAL_MS) // DAY_MS:
            known[:] = last
        scene = Scene(world, stream(seed, 3, hour), book, balance, last, begin)
        made = [pending, ordinary_hour(world, stream(seed, 2, hour), book, begin)]
        made += fraud_hour(scene, expected)
        made += lookalike_hour(scene, expected)
        pool = np.concatenate(made)
        now = pool["time"] < begin + HOUR_MS
        events, pending = pool[now], pool[~now]
        events = events[np.lexsort((events["uid"], events["time"]))]
        yield printer.print(events, book_balances(balance, events), known)
        last[events["account"][by_holder(events)]] = day
        hour += 1


def by_holder(events: Events) -> NDArray[np.bool_]:
    """Return which events somebody with access to the account did, in contrast to what reached it."""
    return np.asarray((events["direction"] != IN) & (events["type"] != EventType.OUTCOME))


def book_balances(balance: I64, events: Events) -> I64:
    """Return the balance before each event in fen, and leave in ``balance`` what it is after all.

    Declined attempts move nothing.
    """
    units = np.array([10.0**c.decimals for c in CURRENCIES])[events["currency"]]
    fen = np.rint(events["amount"] / units * CURRENCY_CNY[events["currency"]] * 100).astype(np.int64)
    asks = events["type"] <= EventType.CARD_AUTH
    moves = np.where(asks & ~events["failed"], np.where(events["direction"] == 1, fen, -fen), 0)
    order = np.argsort(events["account"], kind="stable")
    account, moved = events["account"][order], moves[order]
    running = np.cumsum(moved) - moved
    first = np.concatenate(([True], account[1:] != account[:-1])) if len(account) else np.zeros(0, bool)
    base = running[first][np.cumsum(first) - 1]
    before = np.empty(len(events), np.int64)
    before[order] = balance[account] + running - base
    np.add.at(balance, account, moved)
    return before
