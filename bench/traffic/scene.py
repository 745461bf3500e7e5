"""What an episode needs to tell its story: people, phones, shops and dice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fraudstream.bench.traffic import events as ev
from fraudstream.bench.traffic.events import Events, EventType, Notebook
from fraudstream.bench.traffic.habits import FRESH_DEVICE, FRESH_PARTY
from fraudstream.bench.traffic.places import CATEGORIES, CURRENCIES, PLACES
from fraudstream.bench.traffic.world import (
    CORPORATE,
    DAY_MS,
    HOUR_MS,
    I64,
    LOCAL_MS,
    SME,
    World,
    kilometres,
    proxy_ips,
    residential_ips,
)

Row = dict[str, Any]
SECOND = 1_000
MINUTE = 60_000

_ONLINE_FRAUD_MCC = ("5732", "5816", "5311", "5944", "5999", "4511", "6051")


@dataclass(slots=True)
class Scene:
    """One hour's dice and the bank as it stands at its begin.

    ``balance`` is [A] in fen, ``last_active`` [A] the local day of each holder's last doing.
    """

    world: World
    rng: np.random.Generator
    book: Notebook
    balance: I64
    last_active: I64
    hour_start: int

    def chance(self, share: float) -> bool:
        """Return true for this share of calls."""
        return bool(self.rng.random() < share)

    def between(self, low: float, high: float) -> float:
        """Return a number between both."""
        return float(self.rng.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def wait(self, mean_ms: float, least_ms: int = 500) -> int:
        """Return a waiting time in milliseconds, exponential around its mean."""
        return least_ms + int(self.rng.exponential(mean_ms))

    def moment(self) -> int:
        """Return a time within the hour."""
        return self.hour_start + self.whole(30 * SECOND, HOUR_MS - 1)

    def daytime(self, time_ms: int, first_hour: int = 8, last_hour: int = 21) -> int:
        """Return the time itself, or the next morning if shops are closed then."""
        hour = (time_ms + LOCAL_MS) // HOUR_MS % 24
        if first_hour <= hour < last_hour:
            return time_ms
        ahead = (first_hour - hour) % 24
        return time_ms + ahead * HOUR_MS + self.whole(0, HOUR_MS // 2)

    def person(self, *, card: bool = False, busy: bool = False) -> int:
        """Return an account of a private customer, busier ones more often if ``busy``."""
        while True:
            if busy:
                pool = self.rng.integers(0, self.world.accounts, 10)
                account = int(pool[np.argmax(self.world.weight[pool] * self.rng.random(10))])
            else:
                account = self.whole(0, self.world.accounts - 1)
            private = self.world.segment[account] not in (SME, CORPORATE)
            if private and not self.world.dormant[account] and (not card or self.world.has_card[account]):
                return account

    def sleeper(self) -> int:
        """Return an account that nobody has used for months, -1 if there is none left."""
        quiet = (self.hour_start + LOCAL_MS) // DAY_MS - self.last_active
        asleep = np.flatnonzero(self.world.dormant & (quiet >= 90))
        return int(asleep[self.whole(0, len(asleep) - 1)]) if len(asleep) else -1

    def stranger(self) -> int:
        """Return an account elsewhere that nobody paid before."""
        return FRESH_PARTY - self.book.code()

    def new_device(self) -> int:
        """Return a device that nobody used before."""
        return FRESH_DEVICE + self.book.code()

    def habit(self, yuan: float) -> int:
        """Return an amount in fen as people type it."""
        steps = (1, 10, 100) if yuan < 1000 else (10, 100, 500) if yuan < 10_000 else (100, 1000, 5000)
        step = steps[self.whole(0, 2)] if self.chance(0.85) else 0.01
        return max(1, round(max(round(yuan / step), 1) * step * 100))

    def own_session(self, account: int, time: int) -> Row:
        """Return the members of something that the holder does in the app."""
        world, customer = self.world, np.array([self.world.customer[account]])
        place, _ = world.whereabouts(customer, np.array([time]))
        home = bool(place[0] == world.home[customer[0]])
        address = world.home_ip[customer[0]] if home else world.mobile_ip(self.rng, place)[0]
        spot = PLACES[int(place[0])]
        lat, lon = (world.lat[customer[0]], world.lon[customer[0]]) if home else (spot.lat, spot.lon)
        return {
            "account": account,
            "device": int(world.phone(customer, np.array([time]))[0]),
            "channel": ev.MOBILE,
            "ip": int(address),
            "place": int(place[0]),
            "lat": round(float(lat) + self.between(-0.03, 0.03), 4),
            "lon": round(float(lon) + self.between(-0.03, 0.03), 4),
        }

    def foreign_session(self, account: int) -> Row:
        """Return the members of something that somebody else does with a device of their own."""
        near = self.chance(0.25)
        home = int(self.world.home[self.world.customer[account]])
        place = home if near else self.whole(0, 25)
        hidden = self.chance(0.3)
        address = proxy_ips(self.rng, 1)[0] if hidden else residential_ips(self.rng, 1)[0]
        row: Row = {
            "account": account,
            "device": self.new_device(),
            "channel": ev.MOBILE if self.chance(0.6) else ev.WEB,
            "ip": int(address),
            "place": place,
        }
        if self.chance(0.5):
            row["lat"] = round(PLACES[place].lat + self.between(-0.1, 0.1), 4)
            row["lon"] = round(PLACES[place].lon + self.between(-0.1, 0.1), 4)
        return row

    def at_shop(self, account: int, merchant: int, yuan: float) -> Row:
        """Return the members of a card used at a counter, or in an online shop, which has no place."""
        place = int(self.world.merchants.place[merchant])
        online = place < 0
        return {
            "type": EventType.CARD_AUTH,
            "account": account,
            "card": True,
            "direction": ev.OUT,
            "kind": ev.PURCHASE,
            "channel": ev.POS,
            "merchant": merchant,
            "place": place,
            "lat": np.nan if online else float(self.world.merchants.lat[merchant]),
            "lon": np.nan if online else float(self.world.merchants.lon[merchant]),
            **self.money(yuan, "CNY" if online else PLACES[place].currency),
        }

    def shop_in(self, place: int) -> int:
        """Return a shop with a counter in this place."""
        return int(self.world.merchants.pick(self.rng, np.array([place]))[0])

    def online_shop(self, *, valuable: bool = False) -> int:
        """Return an online shop, one that sells what is easily sold again if ``valuable``."""
        for _ in range(12):
            shop = int(self.world.merchants.online(self.rng, 1)[0])
            mcc = CATEGORIES[int(self.world.merchants.category[shop])].mcc
            if not valuable or mcc in _ONLINE_FRAUD_MCC:
                break
        return shop

    def money(self, yuan: float, currency: str = "CNY") -> Row:
        """Return amount and currency for a price in yuan."""
        number = [c.code for c in CURRENCIES].index(currency)
        unit = CURRENCIES[number]
        value = yuan / unit.cny * 10**unit.decimals
        if unit.decimals and self.chance(0.4):
            value = round(value / 100) * 100
        return {"amount": max(1, round(value)), "currency": number}

    def fan(self, low: int, high: int, mean: float) -> int:
        """Return a number of repetitions between both, geometric above the lower."""
        return min(high, low + int(self.rng.geometric(1 / (mean - low + 1)) - 1))

    def far_place(self, account: int, least_km: float) -> int:
        """Return a place at least this far from the holder's home."""
        home = int(self.world.home[self.world.customer[account]])
        while True:
            place = self.whole(0, len(PLACES) - 1)
            here, there = PLACES[home], PLACES[place]
            away = kilometres(
                np.array(here.lat), np.array(here.lon), np.array(there.lat), np.array(there.lon)
            )
            if float(away) >= least_km:
                return place

    def told(self, rows: list[Row], story: int, failed: list[bool] | None = None) -> Events:
        """Return a story's rows, with receiving legs of transfers and outcomes of failures."""
        for row in rows:
            row.setdefault("story", story)
        made = self.book.rows(rows)
        parts = [made, ev.incoming_legs(self.book, self.rng, made)]
        if failed is not None:
            parts.append(ev.declines(self.book, self.rng, made, np.array(failed, np.bool_)))
        return np.concatenate(parts)
