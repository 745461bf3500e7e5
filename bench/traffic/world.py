"""The population: customers, accounts, cards, devices, payees and merchants of one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.traffic.places import BANKS, CATEGORIES, CURRENCIES, PLACES

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
I16 = NDArray[np.int16]
I8 = NDArray[np.int8]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LOCAL_MS = 8 * HOUR_MS
"""The bank's wall clock, Asia/Shanghai, which has no summer time."""
FAVOURITES = 10
PAYEES = 8
EVENTS_PER_ACCOUNT_DAY = 6.5
"""The reference bank: 2.6 million events a day on 400,000 accounts."""

DORMANT_SHARE = 0.025
SEGMENTS = ("retail", "student", "premium", "sme", "corporate")
RETAIL, STUDENT, PREMIUM, SME, CORPORATE = range(5)

MALL_IPS = 64
"""Shared addresses of mobile networks in each place."""
PROXY_IPS = 400
"""Addresses of proxies and data centres; privacy-minded customers use them too."""

PLACE_LAT = np.array([p.lat for p in PLACES])
PLACE_LON = np.array([p.lon for p in PLACES])
PLACE_HOME = np.array([p.residents for p in PLACES]) / sum(p.residents for p in PLACES)
PLACE_VISIT = np.array([p.visitors for p in PLACES]) / sum(p.visitors for p in PLACES)
PLACE_ABROAD = np.array([p.country != "CN" for p in PLACES])
PLACE_CURRENCY = np.array([[c.code for c in CURRENCIES].index(p.currency) for p in PLACES], np.int8)
CURRENCY_UNIT = np.array([10**c.decimals for c in CURRENCIES], np.int64)
CURRENCY_CNY = np.array([c.cny for c in CURRENCIES])


def stream(seed: int, topic: int, block: int = 0) -> np.random.Generator:
    """Return the random stream of one topic and block; streams are independent of each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, topic, block])))


def mixed(codes: I64 | int, seed: int, salt: int) -> NDArray[np.uint64]:
    """Scatter codes over 64 bits (SplitMix64's finaliser), so that ids carry no order."""
    with np.errstate(over="ignore"):
        z = np.asarray(codes).astype(np.uint64) + np.uint64(
            ((2 * seed + 1) * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03) % 2**64
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def kilometres(lat1: F64, lon1: F64, lat2: F64, lon2: F64) -> F64:
    """Return great-circle distances (haversine, radius 6,371 km)."""
    a, b = np.radians(lat1), np.radians(lat2)
    h = np.sin((b - a) / 2) ** 2
    h = h + np.cos(a) * np.cos(b) * np.sin(np.radians(np.asarray(lon2) - np.asarray(lon1)) / 2) ** 2
    return np.asarray(12742.0 * np.arcsin(np.sqrt(h)), np.float64)


@dataclass(frozen=True, slots=True)
class Merchants:
    """Shops sorted by place, online shops last; popular ones first in each group."""

    place: I16
    category: I8
    lat: F64
    lon: F64
    scale: F64
    """Price level, 1 is usual."""
    group: I64
    """[places + 2] first shop of each place; the last group is online."""

    def pick(self, rng: np.random.Generator, groups: NDArray[np.integer]) -> I32:
        """Return one shop of each group, the popular ones more often."""
        low, high = self.group[groups], self.group[np.asarray(groups) + 1]
        drawn = rng.random(len(low)) ** 2.2
        return np.asarray(low + ((high - low) * drawn).astype(np.int64), np.int32)

    def online(self, rng: np.random.Generator, n: int) -> I32:
        """Return ``n`` online shops."""
        return self.pick(rng, np.full(n, len(PLACES)))


@dataclass(frozen=True, slots=True)
class World:
    """Everything that does not change while traffic flows. A = accounts, C = customers."""

    seed: int
    accounts: int
    start_ms: int
    merchants: Merchants
    # Accounts, each [A].
    customer: I32
    segment: I8
    weight: F64
    """Actions per hour, averaged over a week."""
    opened: I64
    """Days since the epoch."""
    has_card: NDArray[np.bool_]
    wealth: F64
    """Factor on everything that the holder spends."""
    opening_balance: I64
    salary: I64
    """Monthly salary in fen, 0 none."""
    payday: I8
    employer: I64
    """Party that pays the salary."""
    favourites: I32
    """[A, FAVOURITES] usual shops, most usual first."""
    payees: I64
    """[A, PAYEES] known payees, most usual first."""
    rhythm: I8
    """Which hours the holder keeps: row of the rhythm table."""
    cash_level: F64
    """Typical cash deposit of a shop in yuan, 0 for others."""
    dormant: NDArray[np.bool_]
    """Accounts that their holders forgot: nothing in ordinary life touches them."""
    last_active: I64
    """Local day, counted from the epoch, of the holder's last doing before the log begins."""
    # Customers, each [C].
    home: I16
    lat: F64
    lon: F64
    home_ip: I64
    device: I64
    second_device: I64
    next_device: I64
    phone_change_ms: I64
    """When the customer gets a new phone."""
    trip_start_ms: I64
    trip_period_ms: I64
    trip_length_ms: I64
    trip_transit_ms: I64
    trip_place: I16
    proxy_user: NDArray[np.bool_]
    household: I32

    def arrived(self, customer: NDArray[np.integer], time: I64) -> NDArray[np.bool_]:
        """Return who is away and came within the last eight hours."""
        passed = time - self.trip_start_ms[customer]
        phase = np.mod(passed, self.trip_period_ms[customer]) - self.trip_transit_ms[customer]
        away = phase + self.trip_transit_ms[customer] < self.trip_length_ms[customer]
        return np.asarray((passed >= 0) & away & (phase >= 0) & (phase < 8 * HOUR_MS))

    def whereabouts(self, customer: NDArray[np.integer], time: I64) -> tuple[I16, NDArray[np.bool_]]:
        """Return the place where customers are, and whether they are on their way."""
        passed = time - self.trip_start_ms[customer]
        phase = np.mod(passed, self.trip_period_ms[customer])
        begun = passed >= 0
        length, transit = self.trip_length_ms[customer], self.trip_transit_ms[customer]
        away = begun & (phase < length)
        moving = begun & ((phase < transit) | ((phase >= length) & (phase < length + transit)))
        return np.where(away, self.trip_place[customer], self.home[customer]).astype(np.int16), moving

    def phone(self, customer: NDArray[np.integer], time: I64) -> I64:
        """Return the device in each customer's pocket."""
        changed = time >= self.phone_change_ms[customer]
        return np.asarray(np.where(changed, self.next_device[customer], self.device[customer]), np.int64)

    def mobile_ip(self, rng: np.random.Generator, places: NDArray[np.integer]) -> I64:
        """Return shared addresses of mobile networks, by place."""
        base = (36 << 24) + (np.asarray(places).astype(np.int64) << 16)
        return np.asarray(base + rng.integers(1, MALL_IPS + 1, len(base)), np.int64)


def residential_ips(rng: np.random.Generator, n: int) -> I64:
    """Return ``n`` addresses of households at random."""
    first = np.array([58, 60, 61, 101, 112, 115, 116, 117, 120, 123, 180, 183, 218, 222])
    return np.asarray(
        (first[rng.integers(0, len(first), n)] << 24) + rng.integers(256, 2**24 - 256, n), np.int64
    )


def proxy_ips(rng: np.random.Generator, n: int) -> I64:
    """Return ``n`` addresses out of the proxies that everybody may use."""
    return np.asarray((45 << 24) + (77 << 16) + rng.integers(1, PROXY_IPS + 1, n), np.int64)


def outside_parties(rng: np.random.Generator, n: int, accounts: int) -> I64:
    """Return ``n`` accounts elsewhere, out of a pool that customers share."""
    pool = max(1000, 4 * accounts)
    return np.asarray(-2 - (rng.random(n) ** 1.5 * pool).astype(np.int64), np.int64)


def bank_of(party: I64) -> I8:
    """Return the bank of parties elsewhere as an index into ``BANKS``."""
    return (mixed(party, 0, 9) % np.uint64(len(BANKS))).astype(np.int8)


def build_merchants(rng: np.random.Generator, accounts: int) -> Merchants:
    """Draw the shops of every place and the online ones."""
    total = max(900, accounts // 12)
    share = 0.75 * PLACE_HOME + 0.15 * PLACE_VISIT
    sizes = np.maximum(10, (share * total).astype(np.int64))
    sizes = np.append(sizes, max(60, total // 10))
    group = np.concatenate(([0], np.cumsum(sizes)))
    n = int(group[-1])
    place = np.repeat(np.arange(len(PLACES) + 1), sizes)
    online = place == len(PLACES)
    counter = np.array([c.shops for c in CATEGORIES])
    web = np.array([c.online for c in CATEGORIES])
    category = np.where(
        online,
        rng.choice(len(CATEGORIES), n, p=web / web.sum()),
        rng.choice(len(CATEGORIES), n, p=counter / counter.sum()),
    )
    misplaced = rng.random(n) < 0.0008  # registered at the chain's head office, a classic of real feeds
    shown = np.where(misplaced & ~online, rng.choice(len(PLACES), n, p=PLACE_HOME), place)
    at = np.where(online, 0, shown)
    return Merchants(
        place=np.where(online, -1, shown).astype(np.int16),
        category=category.astype(np.int8),
        lat=np.round(PLACE_LAT[at] + rng.normal(0, 0.06, n), 4),
        lon=np.round(PLACE_LON[at] + rng.normal(0, 0.07, n), 4),
        scale=np.exp(rng.normal(0, 0.35, n)),
        group=group,
    )


def _sleepers(rng: np.random.Generator, segment: I8, start_ms: int) -> tuple[NDArray[np.bool_], I64]:
    """Return [A] who forgot an account, and [A] the local day of each holder's last doing."""
    private = np.flatnonzero((segment != SME) & (segment != CORPORATE))
    dormant = np.zeros(len(segment), np.bool_)
    dormant[rng.choice(private, max(1, round(DORMANT_SHARE * len(private))), replace=False)] = True
    quiet = np.where(dormant, rng.uniform(100, 1500, len(segment)), 1 + rng.exponential(0.7, len(segment)))
    return dormant, (start_ms + LOCAL_MS) // DAY_MS - np.floor(quiet).astype(np.int64)


def build_world(seed: int, accounts: int, start_ms: int) -> World:
    """Draw the population of ``seed``: the same arguments give the same bank."""
    rng = stream(seed, 1)
    a = accounts
    c = max(1, round(a * 0.86))
    merchants = build_merchants(rng, a)

    # Customers.
    home = rng.choice(len(PLACES), c, p=PLACE_HOME).astype(np.int16)
    household = np.arange(c, dtype=np.int32)
    joined = rng.random(c) < 0.3
    household[joined] = np.maximum(0, household[joined] - 1)
    family = joined & (np.arange(c) > 0)
    home[family] = home[household[family]]
    ips = residential_ips(rng, c)
    second = np.where(rng.random(c) < 0.35, np.arange(c) + 10 * c, 0)
    shares = family & (rng.random(c) < 0.4)
    second[shares] = household[shares] + 20 * c  # the family's tablet
    trip_place = rng.choice(len(PLACES), c, p=PLACE_VISIT).astype(np.int16)
    distance = kilometres(PLACE_LAT[home], PLACE_LON[home], PLACE_LAT[trip_place], PLACE_LON[trip_place])
    often = rng.random(c) < 0.08
    period = np.where(often, rng.uniform(4, 16, c), rng.uniform(45, 260, c))
    length = np.where(often, rng.uniform(0.25, 1.6, c), rng.uniform(1, 10, c))

    # Accounts.
    customer = np.arange(a, dtype=np.int32)
    customer[c:] = rng.integers(0, c, a - c)
    segment = rng.choice(5, a, p=[0.78, 0.08, 0.07, 0.065, 0.005]).astype(np.int8)
    rank = np.argsort(np.argsort(rng.random(a) + 2.0 * (segment == CORPORATE) + 0.35 * (segment == SME)))
    weight = (a - rank).astype(np.float64)  # rank a - 1 is the busiest
    weight = weight**-0.4
    dormant, last_active = _sleepers(stream(seed, 5), segment, start_ms)
    weight[dormant] = 0.0
    age = np.where(rng.random(a) < 0.05, rng.uniform(0, 60, a), rng.uniform(60, 6500, a) ** 0.97)
    age = np.where(segment == STUDENT, np.minimum(age, rng.uniform(5, 1500, a)), age)
    start_day = start_ms // DAY_MS
    level = np.array([1.0, 0.55, 2.8, 1.6, 6.0])[segment]
    wealth = np.exp(rng.normal(-0.12, 0.5, a)) * level
    earns = rng.random(a) < np.array([0.8, 0.1, 0.7, 0.0, 0.0])[segment]
    salary = np.where(earns, np.round(wealth * 9000 * np.exp(rng.normal(0, 0.25, a)), 0), 0) * 100
    favourites = np.stack(
        [merchants.pick(rng, home[customer].astype(np.int64)) for _ in range(FAVOURITES)], 1
    )
    inside = rng.integers(0, a, (a, PAYEES))
    inside = np.where(inside == np.arange(a)[:, None], (inside + 1) % a, inside)
    outside = outside_parties(rng, a * PAYEES, a).reshape(a, PAYEES)
    cash = np.exp(rng.normal(9.0, 0.8, a))
    threshold_shop = rng.random(a) < 0.06
    cash = np.where(threshold_shop, rng.uniform(30_000, 60_000, a), cash)
    return World(
        seed=seed,
        accounts=a,
        start_ms=start_ms,
        merchants=merchants,
        customer=customer,
        segment=segment,
        weight=weight / weight.mean() * EVENTS_PER_ACCOUNT_DAY / 24,
        opened=np.where(
            dormant,
            np.minimum(start_day - np.floor(age), last_active - 60),
            start_day - np.floor(age),
        ).astype(np.int64),
        has_card=rng.random(a) < 0.94,
        wealth=wealth,
        opening_balance=(np.exp(rng.normal(9.6, 1.0, a)) * wealth).astype(np.int64) * 100,
        salary=np.where(dormant, 0, salary).astype(np.int64),
        payday=np.array([5, 8, 10, 15, 20, 25, 28], np.int8)[rng.integers(0, 7, a)],
        employer=-2 - 5 * max(1000, 4 * a) - rng.integers(0, max(20, a // 60), a),
        favourites=favourites,
        payees=np.where(rng.random((a, PAYEES)) < 0.4, inside, outside),
        rhythm=rng.choice(6, a, p=[0.08, 0.2, 0.37, 0.2, 0.1, 0.05]).astype(np.int8),
        cash_level=np.where(segment == SME, cash, 0.0),
        dormant=dormant,
        last_active=last_active,
        home=home,
        lat=PLACE_LAT[home] + rng.normal(0, 0.06, c),
        lon=PLACE_LON[home] + rng.normal(0, 0.07, c),
        home_ip=ips[household],
        device=np.arange(c) + 30 * c,
        second_device=second.astype(np.int64),
        next_device=np.arange(c) + 40 * c,
        phone_change_ms=start_ms + (rng.exponential(650, c) * DAY_MS).astype(np.int64),
        trip_start_ms=start_ms + ((rng.random(c) - 0.2) * period * DAY_MS).astype(np.int64),
        trip_period_ms=(period * DAY_MS).astype(np.int64),
        trip_length_ms=(length * DAY_MS).astype(np.int64),
        trip_transit_ms=((1.2 + distance / 750) * HOUR_MS * rng.uniform(0.85, 1.8, c)).astype(np.int64),
        trip_place=trip_place,
        proxy_user=rng.random(c) < 0.012,
        household=household,
    )
