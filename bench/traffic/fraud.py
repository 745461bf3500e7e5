"""Eight kinds of fraud, as episodes that begin within an hour.

Their parameters overlap with innocent behaviour on purpose: some attempts are too small, too slow
or too near to be told from ordinary life. Labels are for what moves money.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fraudstream.bench.traffic import events as ev
from fraudstream.bench.traffic.events import Events, EventType
from fraudstream.bench.traffic.places import PLACES
from fraudstream.bench.traffic.scene import MINUTE, SECOND, Row, Scene
from fraudstream.bench.traffic.world import DAY_MS, HOUR_MS, LOCAL_MS, STUDENT, proxy_ips, residential_ips


def card_testing(scene: Scene, story: int) -> Events:
    """Try stolen card numbers with small amounts: one card many times, or many cards from one address."""
    attacker_ip = proxy_ips(scene.rng, 1)[0] if scene.chance(0.35) else residential_ips(scene.rng, 1)[0]
    origin: Row = {
        "ip": int(attacker_ip),
        "device": scene.new_device() if scene.chance(0.5) else 0,
        "place": scene.whole(0, 25) if scene.chance(0.75) else scene.whole(26, len(PLACES) - 1),
    }
    shops = [scene.online_shop() for _ in range(scene.whole(1, 3))]
    dollars = scene.chance(0.3)
    many_cards = scene.chance(0.4)
    holder = scene.person(card=True)
    slow = not many_cards and scene.chance(0.15)
    gap_ms = scene.between(9, 22) * MINUTE if slow else scene.between(8, 70) * SECOND
    refused = scene.between(0.25, 0.65)
    rows: list[Row] = []
    failed: list[bool] = []
    time = scene.moment()
    for _ in range(scene.fan(7, 40, 15) if many_cards else scene.fan(4, 26, 10)):
        account = scene.person(card=True) if many_cards else holder
        row = _web_auth(account, time, origin, shops[scene.whole(0, len(shops) - 1)])
        row.update(scene.money(scene.between(0.8, 12), "USD" if dollars else "CNY"))
        rows.append(row)
        failed.append(scene.chance(refused))
        time += scene.wait(gap_ms, 2 * SECOND)
    if not many_cards and scene.chance(0.65):
        for _ in range(scene.whole(1, 3)):
            time += scene.wait(7 * MINUTE)
            shop = scene.online_shop(valuable=True)
            row = _web_auth(holder, time, origin, shop)
            row.update(scene.money(scene.between(400, 7000)))
            rows.append(row)
            failed.append(scene.chance(0.2))
    return scene.told(rows, story, failed)


def _web_auth(account: int, time: int, origin: Row, shop: int) -> Row:
    return {
        "type": EventType.CARD_AUTH,
        "time": time,
        "account": account,
        "card": True,
        "direction": ev.OUT,
        "kind": ev.PURCHASE,
        "channel": ev.WEB,
        "merchant": shop,
        **origin,
    }


def account_takeover(scene: Scene, story: int) -> Events:
    """Take an account over with a device of one's own and empty it to new payees."""
    account = scene.person()
    session = scene.foreign_session(account)
    time = scene.moment()
    rows: list[Row] = []
    if scene.chance(0.4):
        for _ in range(scene.whole(2, 7)):
            rows.append({**session, "type": EventType.LOGIN, "time": time, "status": ev.DECLINED})
            time += scene.wait(25 * SECOND)
    if scene.chance(0.65):
        rows.append({**session, "type": EventType.PASSWORD_RESET, "time": time})
        time += scene.wait(2 * MINUTE)
    if scene.chance(0.75):
        rows.append({**session, "type": EventType.DEVICE_ADDED, "time": time})
        time += scene.wait(MINUTE)
    rows.append({**session, "type": EventType.LOGIN, "time": time})
    if scene.chance(0.3):
        time += scene.wait(90 * SECOND)
        rows.append({**session, "type": EventType.PROFILE_CHANGE, "time": time})
    if scene.chance(0.15):  # patient ones let the alarm cool down
        time += int(scene.between(1.2, 4) * DAY_MS)
        rows.append({**session, "type": EventType.LOGIN, "time": time})
    payees = [scene.stranger() for _ in range(scene.whole(1, 3))]
    for payee in payees:
        if scene.chance(0.75):
            time += scene.wait(40 * SECOND)
            rows.append({**session, "type": EventType.PAYEE_ADDED, "time": time, "party": payee})
    left = max(float(scene.balance[account]) / 100, scene.between(500, 4000))
    for _ in range(scene.fan(2, 8, 4)):
        time += scene.wait(scene.between(0.5, 8) * MINUTE, 5 * SECOND)
        yuan = min(left * scene.between(0.12, 0.6), 49_900)
        left -= yuan
        rows.append(_transfer(scene, session, time, payees[scene.whole(0, len(payees) - 1)], yuan))
    return scene.told(rows, story)


def _transfer(scene: Scene, session: Row, time: int, party: int, yuan: float) -> Row:
    return {
        **session,
        "type": EventType.PAYMENT,
        "time": time,
        "direction": ev.OUT,
        "kind": ev.INSTANT if scene.chance(0.8) else ev.TRANSFER,
        "party": party,
        "amount": scene.habit(yuan),
    }


def mule_network(scene: Scene, story: int) -> Events:
    """Collect money of many victims on lent accounts and pass most of it on, one layer or two."""
    layers = 1 if scene.chance(0.8) else 2
    mules = [_mule(scene) for _ in range(layers)]
    exits = [scene.stranger() for _ in range(scene.whole(1, 3))]
    slow = scene.chance(0.1)
    span = scene.between(2.5, 6) * DAY_MS if slow else scene.between(1.5, 18) * HOUR_MS
    victims = scene.fan(5, 40, 14)
    time = scene.moment()
    rows: list[Row] = []
    held = 0.0
    for _ in range(victims):
        time += scene.wait(span / victims)
        yuan = float(np.exp(scene.rng.normal(7.2, 0.9)))
        amount = scene.habit(yuan)
        rows.append(
            {
                "type": EventType.PAYMENT,
                "time": time,
                "account": mules[0],
                "direction": ev.IN,
                "kind": ev.INSTANT if scene.chance(0.7) else ev.TRANSFER,
                "channel": ev.API,
                "party": scene.stranger() if scene.chance(0.9) else -2 - scene.whole(0, 900),
                "amount": amount,
            }
        )
        held += amount / 100
        if scene.chance(0.35):
            rows.extend(_pass_on(scene, mules, exits, time, held * scene.between(0.8, 1.0)))
            held = 0.0
    if held > 200:
        rows.extend(_pass_on(scene, mules, exits, time, held * scene.between(0.85, 1.0)))
    return scene.told(rows, story)


def _mule(scene: Scene) -> int:
    """Return a lent account: often a new one or a student's, and one that its holder hardly uses."""
    world = scene.world
    accounts = sorted((scene.person() for _ in range(24)), key=lambda account: float(world.weight[account]))
    today = scene.hour_start // DAY_MS
    new = [account for account in accounts if today - world.opened[account] < 120]
    if new and scene.chance(0.7):
        return new[0]
    students = [account for account in accounts if world.segment[account] == STUDENT]
    if students and scene.chance(0.3):
        return students[0]
    return accounts[scene.whole(0, 11)]


def _pass_on(scene: Scene, mules: list[int], exits: list[int], time: int, yuan: float) -> list[Row]:
    rows: list[Row] = []
    for layer, mule in enumerate(mules):
        time += scene.wait(25 * MINUTE, MINUTE)
        last = layer == len(mules) - 1
        if last and scene.chance(0.2) and yuan < 20_000:
            place = int(scene.world.home[scene.world.customer[mule]])
            shop = scene.shop_in(place)
            cash = scene.at_shop(mule, shop, max(100, round(min(yuan, 5000) / 100) * 100))
            cash.update({"kind": ev.CASH_WITHDRAWAL, "channel": ev.ATM, "merchant": -1, "currency": 0})
            cash["amount"] = max(100, round(min(yuan, 5000) / 100) * 100) * 100
            rows.append({**cash, "time": time, "card": bool(scene.world.has_card[mule])})
            continue
        party = exits[scene.whole(0, len(exits) - 1)] if last else mules[layer + 1]
        if party == mule:
            party = exits[0]
        rows.append(_transfer(scene, scene.own_session(mule, time), time, party, yuan))
        yuan *= scene.between(0.88, 0.99)
    return rows


def structuring(scene: Scene, story: int) -> Events:
    """Pay cash in, again and again, each time a little less than must be reported."""
    account = scene.person() if scene.chance(0.85) else scene.whole(0, scene.world.accounts - 1)
    home = int(scene.world.home[scene.world.customer[account]])
    time = scene.moment()
    hours = scene.between(0.7, 5) if scene.chance(0.55) else scene.between(6, 30)
    rows: list[Row] = []
    for _ in range(scene.fan(3, 10, 5)):
        time = scene.daytime(time)
        shop = scene.shop_in(home)
        row = scene.at_shop(account, shop, 1.0)
        near = scene.between(40_500, 49_900) if scene.chance(0.85) else scene.between(18_000, 40_000)
        row.update(
            {
                "type": EventType.PAYMENT,
                "time": time,
                "card": False,
                "direction": ev.IN,
                "kind": ev.CASH_DEPOSIT,
                "channel": ev.BRANCH if scene.chance(0.5) else ev.ATM,
                "merchant": -1,
                "currency": 0,
                "amount": round(near / 100) * 10_000,
            }
        )
        rows.append(row)
        time += scene.wait(hours * HOUR_MS, 10 * MINUTE)
    return scene.told(rows, story)


def impossible_travel(scene: Scene, story: int) -> Events:
    """Use a copied card far away while its holder goes on using the real one."""
    account = scene.person(card=True, busy=True)
    place = scene.far_place(account, 350 if scene.chance(0.15) else 750)
    time = scene.daytime(scene.moment(), 9, 22)
    rows: list[Row] = []
    failed: list[bool] = []
    gap_ms = scene.between(8, 80) * MINUTE
    for _ in range(scene.fan(2, 10, 4.6)):
        yuan = float(np.exp(scene.rng.normal(7.3, 0.9)))
        row = scene.at_shop(account, scene.shop_in(place), min(yuan, 30_000))
        if scene.chance(0.2):
            row.update({"kind": ev.CASH_WITHDRAWAL, "channel": ev.ATM, "merchant": -1})
        rows.append({**row, "time": time})
        failed.append(scene.chance(0.12))
        time += scene.wait(gap_ms, 2 * MINUTE)
    return scene.told(rows, story, failed)


def payee_scam(scene: Scene, story: int) -> Events:
    """Talk customers into paying a stranger: their own phone, a new payee, more than they ever sent."""
    gang = [scene.stranger() for _ in range(scene.whole(1, 2))]
    parts: list[Events] = []
    start = scene.daytime(scene.moment(), 9, 20)
    for _ in range(scene.fan(1, 7, 3)):
        account = scene.person()
        time = start
        session = scene.own_session(account, time)
        rows: list[Row] = [{**session, "type": EventType.LOGIN, "time": time}]
        payee = gang[scene.whole(0, len(gang) - 1)]
        if scene.chance(0.85):
            time += scene.wait(90 * SECOND)
            rows.append({**session, "type": EventType.PAYEE_ADDED, "time": time, "party": payee})
        left = max(float(scene.balance[account]) / 100, scene.between(1500, 9000))
        small = scene.chance(0.15)
        for _ in range(scene.fan(1, 6, 2.6)):
            time += scene.wait(scene.between(2, 30) * MINUTE, 20 * SECOND)
            yuan = scene.between(300, 2500) if small else min(left * scene.between(0.2, 0.85), 200_000)
            left = max(left - yuan, 800)
            rows.append(_transfer(scene, session, time, payee, yuan))
        parts.append(scene.told(rows, story))
        start = scene.daytime(start + scene.wait(7 * HOUR_MS), 9, 20)
    return np.concatenate(parts)


def dormant_reactivation(scene: Scene, story: int) -> Events:
    """Wake an account that its holder forgot, and empty it in a few transfers."""
    account = scene.sleeper()
    rows: list[Row] = []
    if account >= 0:
        time = scene.moment()
        inside = scene.chance(0.15)  # somebody of the family, on the holder's own phone
        session = scene.own_session(account, time) if inside else scene.foreign_session(account)
        if scene.chance(0.5):
            rows.append({**session, "type": EventType.PASSWORD_RESET, "time": time})
            time += scene.wait(3 * MINUTE)
        rows.append({**session, "type": EventType.LOGIN, "time": time})
        if scene.chance(0.4):
            time += scene.wait(2 * MINUTE)
            rows.append({**session, "type": EventType.PROFILE_CHANGE, "time": time})
        payee = scene.stranger()
        if scene.chance(0.8):
            time += scene.wait(MINUTE)
            rows.append({**session, "type": EventType.PAYEE_ADDED, "time": time, "party": payee})
        left = max(float(scene.balance[account]) / 100, scene.between(2000, 20_000))
        for _ in range(scene.fan(1, 6, 2.4)):
            time += scene.wait(scene.between(1, 40) * MINUTE, 10 * SECOND)
            yuan = min(left * scene.between(0.2, 0.95), 200_000)
            left -= yuan
            rows.append(_transfer(scene, session, time, payee, yuan))
            if scene.chance(0.05):  # a second look on another day, when the account no longer sleeps
                time += int(scene.between(1.2, 3) * DAY_MS)
    return scene.told(rows, story)


def merchant_compromise(scene: Scene, story: int) -> Events:
    """Charge stolen cards, one after the other, through an online shop whose keys were stolen as well."""
    shop = scene.online_shop()
    price = scene.between(80, 1500)
    refused = scene.between(0.2, 0.55)
    slow = scene.chance(0.12)
    gap_ms = scene.between(25, 70) * MINUTE if slow else scene.between(40, 240) * SECOND
    origin: Row = {"ip": int(proxy_ips(scene.rng, 1)[0]), "place": scene.whole(0, 25)}
    time = scene.moment()
    rows: list[Row] = []
    failed: list[bool] = []
    for _ in range(scene.fan(8, 70, 22)):
        if scene.chance(0.4):
            origin = {"ip": int(residential_ips(scene.rng, 1)[0]), "place": scene.whole(0, 25)}
        row = _web_auth(scene.person(card=True), time, origin, shop)
        row.update(scene.money(price * float(np.exp(scene.rng.normal(0, 0.25)))))
        rows.append(row)
        failed.append(scene.chance(refused))
        time += scene.wait(gap_ms, 2 * SECOND)
    return scene.told(rows, story, failed)


class Pattern(NamedTuple):
    """A kind of fraud and how much of it there is."""

    name: str
    tell: Callable[[Scene, int], Events]
    share: float
    """Share of all events."""
    size: float
    """Labelled events of a mean episode."""
    night: float
    """How much more often it begins from midnight to six."""


PATTERNS: tuple[Pattern, ...] = (
    Pattern("card_testing", card_testing, 0.00100, 12.8, 1.5),
    Pattern("account_takeover", account_takeover, 0.00090, 3.9, 2.2),
    Pattern("mule_network", mule_network, 0.00090, 22.5, 0.6),
    Pattern("structuring", structuring, 0.00060, 4.8, 0.1),
    Pattern("impossible_travel", impossible_travel, 0.00075, 4.5, 0.3),
    Pattern("payee_scam", payee_scam, 0.00080, 7.3, 0.1),
    Pattern("dormant_reactivation", dormant_reactivation, 0.00020, 2.3, 1.2),
    Pattern("merchant_compromise", merchant_compromise, 0.00045, 22.0, 1.2),
)
"""``story`` k is pattern k - 1."""

MONEY = (EventType.PAYMENT, EventType.CARD_AUTH)


def fraud_hour(scene: Scene, expected: float) -> list[Events]:
    """Return the episodes that begin in this hour; ``expected`` events happen in a mean hour."""
    hour = (scene.hour_start + LOCAL_MS) // HOUR_MS % 24
    made: list[Events] = []
    for story, pattern in enumerate(PATTERNS, 1):
        mean_factor = (6 * pattern.night + 18) / 24
        factor = (pattern.night if hour < 6 else 1.0) / mean_factor
        begin = int(scene.rng.poisson(expected * pattern.share / pattern.size * factor))
        made.extend(pattern.tell(scene, story) for _ in range(begin))
    return made
