"""Innocent behaviour that looks like fraud: what a good rule has to let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fraudstream.bench.traffic import events as ev
from fraudstream.bench.traffic.events import Events, EventType
from fraudstream.bench.traffic.scene import MINUTE, SECOND, Row, Scene
from fraudstream.bench.traffic.world import DAY_MS, HOUR_MS, STUDENT


def new_phones(scene: Scene, story: int) -> list[Events]:
    """Return what customers do whose new phone arrives in this hour."""
    world = scene.world
    end = scene.hour_start + HOUR_MS
    lucky = np.flatnonzero((world.phone_change_ms >= scene.hour_start) & (world.phone_change_ms < end))
    return [_new_phone(scene, int(customer), story) for customer in lucky if not world.dormant[customer]]


def _new_phone(scene: Scene, customer: int, story: int) -> Events:
    account = customer  # customer i holds account i, and perhaps another
    time = int(scene.world.phone_change_ms[customer])
    session = scene.own_session(account, time)
    rows: list[Row] = []
    if scene.chance(0.4):
        rows.append({**session, "type": EventType.PASSWORD_RESET, "time": time})
        time += scene.wait(2 * MINUTE)
    if scene.chance(0.85):
        rows.append({**session, "type": EventType.DEVICE_ADDED, "time": time})
        time += scene.wait(MINUTE)
    rows.append({**session, "type": EventType.LOGIN, "time": time})
    payees = scene.world.payees[account]
    for _ in range(scene.whole(0, 2)):
        time += scene.wait(5 * MINUTE)
        yuan = float(np.exp(scene.rng.normal(5.7, 1.0))) * float(scene.world.wealth[account])
        new = scene.chance(0.15)
        party = scene.stranger() if new else int(payees[scene.whole(0, 3)])
        if new:
            rows.append({**session, "type": EventType.PAYEE_ADDED, "time": time, "party": party})
            time += scene.wait(MINUTE)
        rows.append(_pays(scene, session, time, party, yuan))
    return scene.told(rows, story)


def _pays(scene: Scene, session: Row, time: int, party: int, yuan: float) -> Row:
    return {
        **session,
        "type": EventType.PAYMENT,
        "time": time,
        "direction": ev.OUT,
        "kind": ev.INSTANT if scene.chance(0.6) else ev.TRANSFER,
        "party": party,
        "amount": scene.habit(yuan),
    }


def big_purchase(scene: Scene, story: int) -> Events:
    """Pay a landlord, a dealer or a builder: a new payee and far more than usual, often in two parts."""
    account = scene.person()
    time = scene.daytime(scene.moment())
    session = scene.own_session(account, time)
    payee = scene.stranger()
    rows: list[Row] = [{**session, "type": EventType.LOGIN, "time": time}]
    if scene.chance(0.8):
        time += scene.wait(MINUTE)
        rows.append({**session, "type": EventType.PAYEE_ADDED, "time": time, "party": payee})
    total = max(1500.0, float(scene.balance[account]) / 100 * scene.between(0.08, 0.55))
    parts = 1 if scene.chance(0.72) else 2
    for _ in range(parts):
        time += scene.wait(3 * MINUTE)
        rows.append(_pays(scene, session, time, payee, total / parts))
        time += int(scene.between(0.3, 3) * DAY_MS)
    return scene.told(rows, story)


def split_bill(scene: Scene, story: int) -> Events:
    """Collect a dinner's shares from friends and pay the restaurant."""
    account = scene.person()
    time = scene.daytime(scene.moment(), 11, 22)
    share = scene.between(25, 220)
    friends = scene.whole(3, 9)
    rows: list[Row] = []
    for _ in range(friends):
        time += scene.wait(4 * MINUTE)
        party = scene.stranger() if scene.chance(0.4) else -2 - scene.whole(0, 3000)
        rows.append(_arrives(account, time, party, scene.habit(share)))
    shop = scene.shop_in(int(scene.world.home[scene.world.customer[account]]))
    time += scene.wait(20 * MINUTE)
    session = scene.own_session(account, time)
    total = round(share * (friends + 1) * 100)
    paid = {"type": EventType.PAYMENT, "time": time, "direction": ev.OUT, "kind": ev.PURCHASE}
    rows.append({**session, **paid, "merchant": shop, "amount": total})
    return scene.told(rows, story)


def _arrives(account: int, time: int, party: int, amount: int) -> Row:
    return {
        "type": EventType.PAYMENT,
        "time": time,
        "account": account,
        "direction": ev.IN,
        "kind": ev.INSTANT,
        "channel": ev.API,
        "party": party,
        "amount": amount,
    }


def celebration(scene: Scene, story: int) -> Events:
    """Receive a wedding's gifts from many guests and put most of the money into savings."""
    account = scene.person()
    if scene.world.segment[account] == STUDENT:
        account = scene.person()
    time = scene.daytime(scene.moment(), 10, 20)
    rows: list[Row] = []
    total = 0
    for _ in range(scene.whole(8, 30)):
        time += scene.wait(18 * MINUTE)
        party = scene.stranger() if scene.chance(0.5) else -2 - scene.whole(0, 3000)
        amount = [200, 300, 500, 600, 800, 1000, 2000][scene.whole(0, 6)] * 100
        total += amount
        rows.append(_arrives(account, time, party, amount))
    if scene.chance(0.35):
        time += int(scene.between(2, 40) * HOUR_MS)
        session = scene.own_session(account, time)
        savings = int(scene.world.payees[account][0])
        rows.append(_pays(scene, session, time, savings, total / 100 * scene.between(0.4, 1.0)))
    return scene.told(rows, story)


def sold_car(scene: Scene, story: int) -> Events:
    """Bring the cash for a car or a flat's deposit to the bank, in one or two visits."""
    account = scene.person()
    home = int(scene.world.home[scene.world.customer[account]])
    time = scene.daytime(scene.moment(), 9, 17)
    rows: list[Row] = []
    for _ in range(1 if scene.chance(0.75) else 2):
        row = scene.at_shop(account, scene.shop_in(home), 1.0)
        row.update({"type": EventType.PAYMENT, "card": False, "direction": ev.IN, "kind": ev.CASH_DEPOSIT})
        row.update({"channel": ev.BRANCH, "merchant": -1, "currency": 0, "time": time})
        row["amount"] = round(scene.between(20_000, 75_000) / 500) * 50_000
        rows.append(row)
        time = scene.daytime(time + int(scene.between(4, 40) * HOUR_MS), 9, 17)
    return scene.told(rows, story)


def vending(scene: Scene, story: int) -> Events:
    """Pay small sums in a row: parking, vending machines, a game, a card that is refused at first."""
    account = scene.person(card=True)
    time = scene.moment()
    online = scene.chance(0.4)
    session = scene.own_session(account, time)
    home = int(scene.world.home[scene.world.customer[account]])
    shop = scene.online_shop() if online else scene.shop_in(home)
    rows: list[Row] = []
    failed: list[bool] = []
    for _ in range(scene.fan(2, 8, 3.4)):
        row = scene.at_shop(account, shop, scene.between(1, 15))
        if online:
            row.update(session)
            row.update({"lat": np.nan, "lon": np.nan})
        rows.append({**row, "time": time})
        failed.append(scene.chance(0.16))
        time += scene.wait(100 * SECOND, 4 * SECOND)
    return scene.told(rows, story, failed)


def office_order(scene: Scene, story: int) -> Events:
    """Order lunch with colleagues: many cards behind one address, one shop, small sums."""
    shop = scene.online_shop()
    address = int(scene.world.home_ip[scene.whole(0, len(scene.world.home_ip) - 1)]) + 1
    time = scene.daytime(scene.moment(), 10, 14)
    rows: list[Row] = []
    failed: list[bool] = []
    for _ in range(scene.whole(3, 9)):
        account = scene.person(card=True)
        row = {**scene.at_shop(account, shop, scene.between(14, 60)), **scene.own_session(account, time)}
        row.update({"ip": address, "lat": np.nan, "lon": np.nan, "time": time})
        rows.append(row)
        failed.append(scene.chance(0.03))
        time += scene.wait(110 * SECOND)
    return scene.told(rows, story, failed)


def flash_sale(scene: Scene, story: int) -> Events:
    """Buy what a shop sells cheaply for an hour, many for the first time; now and then its bank fails."""
    shop = scene.online_shop()
    time = scene.daytime(scene.moment(), 9, 22)
    price = scene.between(60, 900)
    refused = scene.between(0.15, 0.4) if scene.chance(0.12) else scene.between(0.01, 0.05)
    rows: list[Row] = []
    failed: list[bool] = []
    for _ in range(scene.fan(20, 140, 60)):
        account = scene.person(card=True)
        yuan = price * float(np.exp(scene.rng.normal(0, 0.25)))
        row = {**scene.at_shop(account, shop, yuan), **scene.own_session(account, time)}
        row.update({"lat": np.nan, "lon": np.nan, "time": time})
        rows.append(row)
        failed.append(scene.chance(refused))
        time += scene.wait(50 * SECOND)
    return scene.told(rows, story, failed)


def homecoming(scene: Scene, story: int) -> Events:
    """Remember an old account: try it with a little, or move everything to another one and be done."""
    account = scene.sleeper()
    time = scene.daytime(scene.moment(), 8, 22)
    rows: list[Row] = []
    if account >= 0:
        session = scene.own_session(account, time)
        if scene.chance(0.5):
            rows.append({**session, "type": EventType.PASSWORD_RESET, "time": time})
            time += scene.wait(2 * MINUTE)
        rows.append({**session, "type": EventType.LOGIN, "time": time})
        left = float(scene.balance[account]) / 100
        shares = [scene.between(0.9, 1.0)] if scene.chance(0.2) else [0.0] * scene.whole(1, 3)
        payees = scene.world.payees[account]
        for share in shares:
            time += scene.wait(4 * MINUTE)
            yuan = max(20.0, left * (share or scene.between(0.005, 0.2)))
            rows.append(_pays(scene, session, time, int(payees[scene.whole(0, 3)]), yuan))
    return scene.told(rows, story)


class Lookalike(NamedTuple):
    """A kind of innocent behaviour and how often it happens."""

    name: str
    tell: Callable[[Scene, int], Events]
    episodes: float
    """Episodes per event of the log."""


LOOKALIKES: tuple[Lookalike, ...] = (
    Lookalike("big_purchase", big_purchase, 0.00032),
    Lookalike("split_bill", split_bill, 0.00020),
    Lookalike("celebration", celebration, 0.000022),
    Lookalike("sold_car", sold_car, 0.00007),
    Lookalike("vending", vending, 0.00030),
    Lookalike("office_order", office_order, 0.00007),
    Lookalike("flash_sale", flash_sale, 0.000005),
    Lookalike("homecoming", homecoming, 0.00005),
)

NAMES: tuple[str, ...] = ("traveller", "new_phone", *(item.name for item in LOOKALIKES))
"""``story`` -k is look-alike k - 1; travellers come out of ordinary life, phones out of the population."""


def lookalike_hour(scene: Scene, expected: float) -> list[Events]:
    """Return the episodes that begin in this hour; ``expected`` events happen in a mean hour."""
    made = new_phones(scene, -1 - NAMES.index("new_phone"))
    for item in LOOKALIKES:
        story = -1 - NAMES.index(item.name)
        begin = int(scene.rng.poisson(expected * item.episodes))
        made.extend(item.tell(scene, story) for _ in range(begin))
    return made
