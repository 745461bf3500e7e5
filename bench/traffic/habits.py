"""Ordinary life: what customers, shops and employers do in one hour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.traffic import events as ev
from fraudstream.bench.traffic.events import Events, EventType, Notebook
from fraudstream.bench.traffic.places import CATEGORIES, PLACES
from fraudstream.bench.traffic.world import (
    CORPORATE,
    CURRENCY_CNY,
    CURRENCY_UNIT,
    DAY_MS,
    FAVOURITES,
    HOUR_MS,
    I64,
    LOCAL_MS,
    PAYEES,
    PLACE_ABROAD,
    PLACE_CURRENCY,
    SME,
    World,
    outside_parties,
    proxy_ips,
)

TRAVELLER = -1
"""Story of a card's first uses after a journey."""
FRESH_PARTY = -(10**12)
FRESH_DEVICE = 2**40

PERSONAL = np.array(
    [
        *(0.16, 0.08, 0.05, 0.04, 0.05, 0.12, 0.4, 1.0, 1.5, 1.35, 1.3, 1.6),
        *(1.9, 1.5, 1.2, 1.2, 1.3, 1.7, 2.1, 2.0, 1.7, 1.3, 0.8, 0.4),
    ]
)
"""Activity by local hour; a night shift turns it by twelve hours."""
OFFICE = np.array(
    [0.02] * 7 + [0.3, 1.4, 2.6, 2.8, 2.3, 1.3, 1.9, 2.7, 2.7, 2.3, 1.4, 0.6, 0.3, 0.2, 0.1, 0.05, 0.03]
)

POS, ONLINE, SESSION, ATM, CREDIT, TAKINGS, DEPOSIT, SUPPLIER, RETURN, RESET = range(10)
ACTIONS = np.array(
    [  # pos   online session atm   credit takings deposit supplier refund reset
        [0.400, 0.120, 0.300, 0.022, 0.085, 0.000, 0.0012, 0.000, 0.006, 0.0012],  # retail
        [0.370, 0.200, 0.300, 0.012, 0.100, 0.000, 0.0006, 0.000, 0.006, 0.0016],  # student
        [0.420, 0.130, 0.280, 0.014, 0.080, 0.000, 0.0008, 0.000, 0.006, 0.0008],  # premium
        [0.090, 0.040, 0.140, 0.004, 0.050, 0.560, 0.0300, 0.080, 0.004, 0.0006],  # shop
        [0.010, 0.020, 0.060, 0.000, 0.250, 0.380, 0.0020, 0.280, 0.001, 0.0002],  # company
    ]
)
"""Share of each action by segment; the rest of a row is idle."""
MEDIAN = np.array([c.median for c in CATEGORIES])
SIGMA = np.array([c.sigma for c in CATEGORIES])


def local_hour(time_ms: int) -> int:
    """Return the bank's wall-clock hour."""
    return (time_ms + LOCAL_MS) // HOUR_MS % 24


def is_weekend(time_ms: int) -> bool:
    """Return whether it is Saturday or Sunday at the bank."""
    return ((time_ms + LOCAL_MS) // DAY_MS + 3) % 7 >= 5


def rhythm(world: World, hour_start: int) -> NDArray[np.float64]:
    """Return every account's expected actions in this hour."""
    hour = local_hour(hour_start)
    weekend = is_weekend(hour_start)
    shift = np.array([-2, -1, 0, 1, 2, 12])
    lag = 1 if weekend else 0
    people = PERSONAL[(hour - shift - lag) % 24] * (1.08 if weekend else 0.97)
    office = OFFICE[hour] * (0.35 if weekend else 1.26)
    factor = people[world.rhythm]
    shop = 0.6 * PERSONAL[hour] + 0.4 * OFFICE[hour]
    factor = np.where(world.segment == SME, shop, factor)
    factor = np.where(world.segment == CORPORATE, office, factor)
    return np.asarray(world.weight * factor * 0.75, np.float64)


def round_habit(rng: np.random.Generator, yuan: NDArray[np.float64]) -> I64:
    """Return amounts in fen as people type them: mostly whole tens, hundreds or thousands."""
    step = np.where(yuan >= 5000, 1000.0, np.where(yuan >= 500, 100.0, 10.0))
    style = rng.random(len(yuan))
    neat = np.maximum(np.round(yuan / step) * step, 1.0)
    whole = np.maximum(np.round(yuan), 1.0)
    exact = np.maximum(np.round(yuan, 2), 0.01)
    chosen = np.where(style < 0.5, neat, np.where(style < 0.8, whole, exact))
    return np.asarray(np.rint(chosen * 100), np.int64)


def place_session(world: World, rng: np.random.Generator, rows: Events) -> None:
    """Fill device, address and position of something done in the app or on the web."""
    customer = world.customer[rows["account"]]
    place, _ = world.whereabouts(customer, rows["time"])
    at_home = place == world.home[customer]
    second = (rng.random(len(rows)) < 0.2) & (world.second_device[customer] > 0)
    rows["device"] = np.where(second, world.second_device[customer], world.phone(customer, rows["time"]))
    rows["channel"] = np.where(second & (rng.random(len(rows)) < 0.5), ev.WEB, ev.MOBILE)
    wifi = at_home & (rng.random(len(rows)) < 0.6)
    address = np.where(wifi, world.home_ip[customer], world.mobile_ip(rng, place))
    hidden = world.proxy_user[customer] & (rng.random(len(rows)) < 0.7)
    rows["ip"] = np.where(hidden, proxy_ips(rng, len(rows)), address)
    rows["place"] = place
    lat = np.where(at_home, world.lat[customer], _LAT[place])
    lon = np.where(at_home, world.lon[customer], _LON[place])
    rows["lat"] = np.round(lat + rng.normal(0, 0.02, len(rows)), 4)
    rows["lon"] = np.round(lon + rng.normal(0, 0.02, len(rows)), 4)


def place_shop(world: World, rows: Events) -> None:
    """Fill place and position of a card used at a counter from its merchant."""
    rows["place"] = world.merchants.place[rows["merchant"]]
    rows["lat"] = world.merchants.lat[rows["merchant"]]
    rows["lon"] = world.merchants.lon[rows["merchant"]]


def price(world: World, rng: np.random.Generator, rows: Events) -> None:
    """Fill amount and currency of a purchase from shop, wealth and place."""
    category = world.merchants.category[rows["merchant"]]
    wealth = world.wealth[rows["account"]]
    yuan = MEDIAN[category] * world.merchants.scale[rows["merchant"]] * wealth**0.6
    yuan = yuan * np.exp(SIGMA[category] * rng.normal(0, 1, len(rows)))
    charge(rng, rows, yuan)


def charge(rng: np.random.Generator, rows: Events, yuan: NDArray[np.float64]) -> None:
    """Fill amounts in the currency of the place; prices end in .00, .90, .50 or anything."""
    place = rows["place"].astype(np.int64)
    rows["currency"] = np.where(place >= 0, PLACE_CURRENCY[place], 0)
    units = yuan / CURRENCY_CNY[rows["currency"]]
    style = rng.random(len(rows))
    ending = np.where(style < 0.35, np.round(units), np.where(style < 0.55, np.floor(units) + 0.9, units))
    ending = np.where(CURRENCY_UNIT[rows["currency"]] == 1, np.round(units), ending)
    rows["amount"] = np.maximum(np.rint(ending * CURRENCY_UNIT[rows["currency"]]), 10).astype(np.int64)


def counter_purchases(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return card purchases at counters, where the customers are."""
    customer = world.customer[who]
    place, moving = world.whereabouts(customer, when)
    keep = world.has_card[who] & ~moving
    who, when, customer, place = who[keep], when[keep], customer[keep], place[keep]
    rows = book.blank(len(who))
    rows["type"], rows["card"], rows["direction"] = EventType.CARD_AUTH, True, ev.OUT
    rows["kind"], rows["channel"] = ev.PURCHASE, ev.POS
    rows["account"], rows["time"] = who, when
    usual = world.favourites[who, (FAVOURITES * rng.random(len(who)) ** 1.7).astype(np.int64)]
    other = world.merchants.pick(rng, place.astype(np.int64))
    stays = (place == world.home[customer]) & (rng.random(len(who)) < 0.78)
    rows["merchant"] = np.where(stays, usual, other)
    place_shop(world, rows)
    price(world, rng, rows)
    rows["story"] = np.where(world.arrived(customer, when), TRAVELLER, 0)
    failed = rng.random(len(rows)) < 0.012
    again = rows[failed & (rng.random(len(rows)) < 0.6)]
    retry = book.blank(len(again))
    for name in EVENT_COPY:
        retry[name] = again[name]
    retry["time"] = again["time"] + rng.integers(15_000, 90_000, len(again))
    return np.concatenate((rows, retry, ev.declines(book, rng, rows, failed)))


def online_purchases(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return card purchases in online shops."""
    keep = world.has_card[who]
    who, when = who[keep], when[keep]
    rows = book.blank(len(who))
    rows["type"], rows["card"], rows["direction"] = EventType.CARD_AUTH, True, ev.OUT
    rows["kind"] = ev.PURCHASE
    rows["account"], rows["time"] = who, when
    place_session(world, rng, rows)
    rows["lat"] = rows["lon"] = np.nan
    guest = rng.random(len(rows)) < 0.15  # shops that tell the bank nothing about the device
    rows["device"] = np.where(guest, 0, rows["device"])
    rows["channel"] = np.where(guest, ev.WEB, rows["channel"])
    usual = (who * 7919 + (3 * rng.random(len(who)) ** 2).astype(np.int64)) % (
        world.merchants.group[-1] - world.merchants.group[-2]
    ) + world.merchants.group[-2]
    rows["merchant"] = np.where(rng.random(len(who)) < 0.5, usual, world.merchants.online(rng, len(who)))
    price(world, rng, rows)
    abroad = rng.random(len(rows)) < 0.05  # foreign shops charge their own currency
    dollars = np.maximum(np.rint(rows["amount"] / CURRENCY_CNY[2]), 50).astype(np.int64)
    swap = abroad & (rows["currency"] == 0)
    rows["amount"] = np.where(swap, dollars, rows["amount"])
    rows["currency"] = np.where(swap, 2, rows["currency"])
    return np.concatenate((rows, ev.declines(book, rng, rows, rng.random(len(rows)) < 0.03)))


def sessions(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return app sessions: a login, sometimes after a mistyped password, then 0 to 3 payments."""
    _, moving = world.whereabouts(world.customer[who], when)
    who, when = who[~moving], when[~moving]
    n = len(who)
    login = book.blank(n)
    login["type"], login["account"], login["time"] = EventType.LOGIN, who, when
    place_session(world, rng, login)
    typo = login[rng.random(n) < 0.035].copy()
    mistyped = book.blank(len(typo))
    for name in EVENT_COPY:
        mistyped[name] = typo[name]
    mistyped["time"] = typo["time"] - rng.integers(3_000, 20_000, len(typo))
    mistyped["status"] = ev.DECLINED
    made = [login, mistyped]
    count = rng.choice(4, n, p=[0.28, 0.5, 0.16, 0.06])
    at = when
    for number in range(1, 4):
        doing = count >= number
        at = at + rng.integers(15_000, 200_000, n)
        rows = book.blank(int(doing.sum()))
        for name in ("account", "device", "channel", "ip", "place", "lat", "lon"):
            rows[name] = login[name][doing]
        rows["type"], rows["direction"], rows["time"] = EventType.PAYMENT, ev.OUT, at[doing]
        what = rng.random(len(rows))
        shop = what < 0.5
        bill = what > 0.93
        made.append(_pay_shop(world, rng, rows[shop]))
        made.append(_pay_bill(world, rng, rows[bill]))
        made.extend(_pay_person(world, rng, book, rows[~shop & ~bill]))
    return np.concatenate(made)


def _pay_shop(world: World, rng: np.random.Generator, rows: Events) -> Events:
    rows["kind"] = ev.PURCHASE
    away = rows["place"] != world.home[world.customer[rows["account"]]]
    usual = world.favourites[rows["account"], (FAVOURITES * rng.random(len(rows)) ** 1.3).astype(np.int64)]
    rows["merchant"] = np.where(away, world.merchants.pick(rng, rows["place"].astype(np.int64)), usual)
    price(world, rng, rows)
    return rows


def _pay_bill(world: World, rng: np.random.Generator, rows: Events) -> Events:
    rows["kind"] = ev.BILL
    rows["party"] = -2 - 9 * max(1000, 4 * world.accounts) - rng.integers(0, 40, len(rows))
    rows["amount"] = np.rint(np.exp(rng.normal(4.9, 0.6, len(rows))) * 100).astype(np.int64)
    return rows


def _pay_person(world: World, rng: np.random.Generator, book: Notebook, rows: Events) -> list[Events]:
    who = rows["account"]
    rows["kind"] = np.where(rng.random(len(rows)) < 0.55, ev.INSTANT, ev.TRANSFER)
    usual = world.payees[who, (PAYEES * rng.random(len(rows)) ** 1.5).astype(np.int64)]
    new = rng.random(len(rows)) < 0.025
    fresh = outside_parties(rng, len(rows), world.accounts)
    rows["party"] = np.where(new, fresh, usual)
    yuan = np.exp(rng.normal(5.6, 1.05, len(rows))) * world.wealth[who]
    large = rng.random(len(rows)) < 0.006
    rows["amount"] = round_habit(rng, np.where(large, yuan * rng.uniform(5, 25, len(rows)), yuan))
    first = rows[new & (rng.random(len(rows)) < 0.8)]
    added = book.blank(len(first))
    for name in ("account", "device", "channel", "ip", "place", "lat", "lon", "party"):
        added[name] = first[name]
    added["type"] = EventType.PAYEE_ADDED
    added["time"] = first["time"] - rng.integers(4_000, 14_000, len(first))
    return [rows, added, ev.incoming_legs(book, rng, rows)]


def cash_machines(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return cash withdrawals where the customers are."""
    customer = world.customer[who]
    place, moving = world.whereabouts(customer, when)
    keep = world.has_card[who] & ~moving
    rows = book.blank(int(keep.sum()))
    rows["type"], rows["card"], rows["direction"] = EventType.CARD_AUTH, True, ev.OUT
    rows["kind"], rows["channel"] = ev.CASH_WITHDRAWAL, ev.ATM
    rows["account"], rows["time"], rows["place"] = who[keep], when[keep], place[keep]
    rows["lat"] = np.round(_LAT[place[keep]] + rng.normal(0, 0.05, len(rows)), 4)
    rows["lon"] = np.round(_LON[place[keep]] + rng.normal(0, 0.05, len(rows)), 4)
    rows["currency"] = PLACE_CURRENCY[place[keep]]
    hundreds = np.clip(np.rint(np.exp(rng.normal(2.2, 0.8, len(rows)))), 1, 50)
    unit = np.where(PLACE_ABROAD[place[keep]], 100 / CURRENCY_CNY[rows["currency"]], 100.0)
    notes = np.maximum(np.rint(hundreds * unit / 10) * 10, 10)
    rows["amount"] = (notes * CURRENCY_UNIT[rows["currency"]]).astype(np.int64)
    return np.concatenate((rows, ev.declines(book, rng, rows, rng.random(len(rows)) < 0.02)))


def credits(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:  # noqa: A001
    """Return money that arrives from people at other banks."""
    rows = book.blank(len(who))
    rows["type"], rows["direction"] = EventType.PAYMENT, ev.IN
    rows["account"], rows["time"], rows["channel"] = who, when, ev.API
    rows["kind"] = np.where(rng.random(len(who)) < 0.5, ev.INSTANT, ev.TRANSFER)
    known = world.payees[who, (PAYEES * rng.random(len(who)) ** 1.2).astype(np.int64)]
    stranger = outside_parties(rng, len(who), world.accounts)
    rows["party"] = np.where((known < 0) & (rng.random(len(who)) < 0.75), known, stranger)
    yuan = np.exp(rng.normal(5.5, 1.1, len(who))) * world.wealth[who]
    rows["amount"] = round_habit(rng, yuan)
    return rows


def takings(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return customers' payments to a shop."""
    rows = book.blank(len(who))
    rows["type"], rows["direction"], rows["kind"] = EventType.PAYMENT, ev.IN, ev.PURCHASE
    rows["account"], rows["time"], rows["channel"] = who, when, ev.API
    rows["party"] = outside_parties(rng, len(who), world.accounts)
    yuan = np.exp(rng.normal(4.2, 0.9, len(who))) * world.wealth[who] ** 0.7
    rows["amount"] = np.maximum(np.rint(yuan * 10), 1).astype(np.int64) * 10
    return rows


def cash_deposits(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return cash paid in: shops bring their takings, people a gift or a sold bicycle."""
    rows = book.blank(len(who))
    rows["type"], rows["direction"], rows["kind"] = EventType.PAYMENT, ev.IN, ev.CASH_DEPOSIT
    rows["account"], rows["time"] = who, when
    hour = (when + LOCAL_MS) // HOUR_MS % 24
    rows["channel"] = np.where((hour >= 9) & (hour < 17) & (rng.random(len(who)) < 0.5), ev.BRANCH, ev.ATM)
    home = world.home[world.customer[who]]
    rows["place"] = home
    rows["lat"] = np.round(_LAT[home] + rng.normal(0, 0.05, len(rows)), 4)
    rows["lon"] = np.round(_LON[home] + rng.normal(0, 0.05, len(rows)), 4)
    shop = world.cash_level[who] * np.exp(rng.normal(0, 0.15, len(who)))
    person = np.exp(rng.normal(7.6, 1.0, len(who))) * world.wealth[who]
    yuan = np.where(world.cash_level[who] > 0, shop, np.minimum(person, 90_000))
    rows["amount"] = np.maximum(np.rint(yuan / 100), 1).astype(np.int64) * 10_000
    return rows


def suppliers(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return what businesses pay: few known suppliers, large amounts, now and then a new one."""
    rows = book.blank(len(who))
    rows["type"], rows["direction"], rows["kind"] = EventType.PAYMENT, ev.OUT, ev.TRANSFER
    rows["account"], rows["time"] = who, when
    place_session(world, rng, rows)
    usual = world.payees[who, (PAYEES * rng.random(len(who)) ** 1.1).astype(np.int64)]
    new = rng.random(len(who)) < 0.02
    rows["party"] = np.where(new, outside_parties(rng, len(who), world.accounts), usual)
    yuan = np.exp(rng.normal(7.4, 1.0, len(who))) * world.wealth[who]
    rows["amount"] = round_habit(rng, yuan)
    return np.concatenate((rows, ev.incoming_legs(book, rng, rows)))


def refunds(world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64) -> Events:
    """Return refunds of shops."""
    rows = book.blank(len(who))
    rows["type"], rows["direction"], rows["kind"] = EventType.PAYMENT, ev.IN, ev.REFUND
    rows["account"], rows["time"], rows["channel"] = who, when, ev.API
    rows["merchant"] = world.favourites[who, rng.integers(0, FAVOURITES, len(who))]
    price(world, rng, rows)
    return rows


def forgotten_passwords(
    world: World, rng: np.random.Generator, book: Notebook, who: I64, when: I64
) -> Events:
    """Return password resets and changes of contact data by the customers themselves."""
    reset = book.blank(len(who))
    reset["type"], reset["account"], reset["time"] = EventType.PASSWORD_RESET, who, when
    place_session(world, rng, reset)
    profile = rng.random(len(who)) < 0.35
    reset["type"] = np.where(profile, EventType.PROFILE_CHANGE, reset["type"])
    login = book.blank(len(who))
    for name in ("account", "device", "channel", "ip", "place", "lat", "lon"):
        login[name] = reset[name]
    login["type"] = EventType.LOGIN
    login["time"] = when + rng.integers(20_000, 240_000, len(who))
    return np.concatenate((reset, login))


def salaries(world: World, rng: np.random.Generator, book: Notebook, hour_start: int) -> Events:
    """Return the salaries of this hour: employers pay at nine or ten on their day of the month."""
    local = hour_start + LOCAL_MS
    hour = local // HOUR_MS % 24
    day = int(str(np.datetime64(local, "ms"))[8:10])
    late = world.employer % 2 == 0
    paid = (world.salary > 0) & (world.payday == day) & (hour == np.where(late, 10, 9))
    who = np.flatnonzero(paid)
    rows = book.blank(len(who))
    rows["type"], rows["direction"], rows["kind"] = EventType.PAYMENT, ev.IN, ev.SALARY
    rows["account"], rows["channel"], rows["party"] = who, ev.API, world.employer[who]
    minute = (-world.employer[who] * 37) % 50
    rows["time"] = hour_start + minute * 60_000 + rng.integers(0, 240_000, len(who))
    rows["amount"] = np.rint(world.salary[who] * rng.uniform(0.97, 1.04, len(who))).astype(np.int64)
    return rows


EVENT_COPY = (
    "type", "account", "card", "direction", "kind", "channel", "amount", "currency", "party", "merchant",
    "device", "ip", "place", "lat", "lon",
)  # fmt: skip

_LAT = np.array([p.lat for p in PLACES])
_LON = np.array([p.lon for p in PLACES])

_BUILDERS: tuple[tuple[int, Callable[[World, np.random.Generator, Notebook, I64, I64], Events]], ...] = (
    (POS, counter_purchases),
    (ONLINE, online_purchases),
    (SESSION, sessions),
    (ATM, cash_machines),
    (CREDIT, credits),
    (TAKINGS, takings),
    (DEPOSIT, cash_deposits),
    (SUPPLIER, suppliers),
    (RETURN, refunds),
    (RESET, forgotten_passwords),
)


def ordinary_hour(world: World, rng: np.random.Generator, book: Notebook, hour_start: int) -> Events:
    """Return what ordinary life begins in the hour from ``hour_start``; some of it ends a little later."""
    edges = np.cumsum(rhythm(world, hour_start))
    n = int(rng.poisson(edges[-1]))
    who = np.minimum(np.searchsorted(edges, rng.random(n) * edges[-1]), world.accounts - 1)
    when = hour_start + 20_000 + rng.integers(0, HOUR_MS, n)  # mistyped logins come up to 20 s before
    steps = np.cumsum(ACTIONS, 1)
    action = (rng.random(n)[:, None] >= steps[world.segment[who]]).sum(1)
    made = [salaries(world, rng, book, hour_start)]
    for number, build in _BUILDERS:
        chosen = action == number
        made.append(build(world, rng, book, who[chosen], when[chosen]))
    return np.concatenate(made)
