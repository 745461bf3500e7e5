"""Generated columns as JSON transactions and labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.traffic.events import (
    CHANNELS,
    DIRECTIONS,
    EVENT_TYPES,
    KINDS,
    OUT,
    STATUSES,
    Events,
    EventType,
)
from fraudstream.bench.traffic.fraud import PATTERNS
from fraudstream.bench.traffic.lookalikes import NAMES
from fraudstream.bench.traffic.places import BANKS, CATEGORIES, CURRENCIES, OWN_BANK, PLACES
from fraudstream.bench.traffic.world import (
    CURRENCY_CNY,
    CURRENCY_UNIT,
    DAY_MS,
    HOUR_MS,
    I64,
    SEGMENTS,
    World,
    bank_of,
    mixed,
)


class Label(NamedTuple):
    """What became of one event, and the pattern behind it, which only an evaluation may read."""

    offset: int
    """Number of the event on the log, from 0: its offset in a raw replay."""
    transaction_id: str
    account_id: str
    fraud: bool
    pattern: str
    labelled_at_ms: int

    def encode(self, src: str | None = None) -> bytes:
        """Return the label as one JSON object; ``src`` defaults to partition 0 of a raw replay."""
        return json.dumps(
            {
                "transaction_id": self.transaction_id,
                "src": src or f"0:{self.offset}",
                "account_id": self.account_id,
                "label": "fraud" if self.fraud else "legitimate",
                "labelled_at": rfc3339(self.labelled_at_ms),
                "source": "customer" if self.fraud else "analyst",
                "by": "generator",
                "pattern": self.pattern,
            },
            separators=(",", ":"),
        ).encode()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of the log, ordered by event time."""

    values: list[bytes]
    """JSON transactions."""
    keys: list[bytes]
    """Account ids: the records' keys."""
    times_ms: I64
    """[n] event times."""
    labels: list[Label]
    """Of fraud, and of innocent look-alikes; events without a label are ordinary life."""
    offset: int
    """Number of the first event on the log."""

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.values)


def rfc3339(time_ms: int) -> str:
    """Return a time in UTC with milliseconds."""
    return f"{np.datetime64(time_ms, 'ms')}Z"


def _digits(codes: NDArray[np.uint64], digits: int) -> list[int]:
    return [int(code) for code in codes % np.uint64(10**digits)]


def _distinct_digits(world: World, salt: int, count: int, digits: int) -> NDArray[np.int64]:
    """Return distinct numbers that carry no order: an affine walk through the digits."""
    size = 10**digits
    step = int(mixed(1, world.seed, salt)) % size | 1
    while step % 5 == 0:
        step += 2
    begin = int(mixed(2, world.seed, salt)) % size
    return np.array([(begin + step * i) % size for i in range(count)], np.int64)


class Printer:
    """Writes events of one world as JSON, with running transaction ids."""

    def __init__(self, world: World, first: int = 0) -> None:
        self._world = world
        self._next = first
        self._ids: dict[int, str] = {}
        holders = _distinct_digits(world, 11, len(world.home), 8)
        numbers = _distinct_digits(world, 12, world.accounts, 10)
        cards = _distinct_digits(world, 13, world.accounts, 10)
        self._account = [f"622202{n:010d}" for n in numbers.tolist()]
        self._customer = [f"C{n:08d}" for n in holders.tolist()]
        opened = (world.opened * DAY_MS).astype("datetime64[ms]").astype("datetime64[D]").astype(str).tolist()
        self._holder = [
            f'"account_id":"{account}","customer_id":"C{holders[c]:08d}","account_opened":"{day}",'
            f'"segment":"{SEGMENTS[segment]}"'
            for account, c, day, segment in zip(
                self._account, world.customer.tolist(), opened, world.segment.tolist(), strict=True
            )
        ]
        self._cards = [f"k{n:010d}" for n in cards.tolist()]
        self._card = [f',"card_id":"{name}"' for name in self._cards]
        shops = _distinct_digits(world, 14, len(world.merchants.place), 8)
        self._merchants = [f"M{n:08d}" for n in shops.tolist()]
        self._shop = [
            f',"merchant_id":"M{n:08d}","mcc":"{CATEGORIES[c].mcc}"'
            for n, c in zip(shops.tolist(), world.merchants.category.tolist(), strict=True)
        ]
        self._keys = [account.encode() for account in self._account]
        self._type = [f'","event_type":"{name}","event_time":"' for name in EVENT_TYPES]
        self._direction = _members("direction", DIRECTIONS)
        self._kind = _members("kind", KINDS)
        self._channel = _members("channel", CHANNELS)
        self._status = _members("status", STATUSES)
        self._places = [f',"country":"{p.country}","city":"{p.name}"' for p in PLACES] + [""]
        self._country = [f',"country":"{p.country}"' for p in PLACES] + [""]

    def names(self) -> dict[str, list[str]]:
        """Return the ids that records will carry, by field; of counterparties and devices a part."""
        world = self._world
        pool = np.arange(min(200_000, max(1000, 4 * world.accounts)))
        outside = _digits(mixed(-2 - pool, world.seed, 23), 15)
        phones = (mixed(world.device, world.seed, 21) >> np.uint64(16)).tolist()
        return {
            "account.id": self._account,
            "customer.id": self._customer,
            "card.id": self._cards,
            "merchant.id": self._merchants,
            "counterparty.id": list(dict.fromkeys([*(f"6217{n:015d}" for n in outside), *self._account])),
            "device.id": list(dict.fromkeys(f"d-{n:012x}" for n in phones)),
            "txn.ip": sorted({_dotted(int(ip)) for ip in world.home_ip}),
            "merchant.mcc": sorted({category.mcc for category in CATEGORIES}),
            "txn.country": sorted({place.country for place in PLACES}),
        }

    def print(self, events: Events, before: I64, last_active: I64) -> Chunk:
        """Return events as records.

        ``before`` [n] is the account's balance before each, in fen;
        a record gives it in the record's own currency, as the schema reads it.
        ``last_active`` [A] is the local day of each holder's last doing, as core banking knew last night;
        payments that leave an account carry it.
        """
        n = len(events)
        first = self._next
        self._next += n
        stamp = np.datetime_as_string(events["time"].astype("datetime64[ms]"), unit="ms").tolist()
        names = [
            f"T{text[:4]}{text[5:7]}{text[8:10]}{serial:08d}"
            for text, serial in zip(stamp, range(first, first + n), strict=True)
        ]
        self._remember(events, names)
        party_text = self._parties(events["party"])
        column = {name: events[name].tolist() for name in events.dtype.names or ()}
        money = (events["amount"] >= 0).tolist()
        asks = np.isin(events["type"], (EventType.PAYMENT, EventType.CARD_AUTH)).tolist()
        device = mixed(events["device"], self._world.seed, 21) >> np.uint64(16)
        unit = CURRENCY_UNIT[events["currency"]]
        there = np.rint(before * unit / (CURRENCY_CNY[events["currency"]] * 100)).astype(np.int64)
        home = events["currency"] == 0
        devices, balances = device.tolist(), np.where(home, before, there).tolist()
        transfers = (mixed(events["transfer"], self._world.seed, 22) % np.uint64(10**14)).tolist()
        located = (~np.isnan(events["lat"])).tolist()
        leaves = ((events["type"] == EventType.PAYMENT) & (events["direction"] == OUT)).tolist()
        days = last_active[events["account"]].astype("datetime64[D]").astype(str).tolist()
        accounts = column["account"]
        values: list[bytes] = []
        for i in range(n):
            account = accounts[i]
            parts = [
                f'{{"transaction_id":"{names[i]}{self._type[column["type"][i]]}{stamp[i]}Z",',
                self._holder[account],
            ]
            if column["card"][i]:
                parts.append(self._card[account])
            parts.append(self._direction[column["direction"][i]])
            parts.append(self._kind[column["kind"][i]])
            parts.append(self._channel[column["channel"][i]])
            if money[i]:
                parts.append(_amount(column["amount"][i], column["currency"][i]))
            parts.append(party_text[i])
            if column["merchant"][i] >= 0:
                parts.append(self._shop[column["merchant"][i]])
            if column["device"][i]:
                parts.append(f',"device_id":"d-{devices[i]:012x}"')
            address = column["ip"][i]
            if address:
                parts.append(
                    f',"ip":"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"'
                )
            if located[i]:
                parts.append(self._places[column["place"][i]])
                parts.append(f',"lat":{column["lat"][i]!r},"lon":{column["lon"][i]!r}')
            else:
                parts.append(self._country[column["place"][i]])
            if asks[i]:
                decimals = CURRENCIES[column["currency"][i]].decimals
                parts.append(f',"balance_before":"{_decimal(balances[i], decimals)}"')
            if leaves[i]:
                parts.append(f',"last_active":"{days[i]}"')
            if column["original"][i] >= 0:
                parts.append(f',"original_id":"{self._ids.get(column["original"][i], "unknown")}"')
            if column["transfer"][i]:
                parts.append(f',"transfer_id":"F{transfers[i]:014d}"')
            parts.append(self._status[column["status"][i]])
            parts.append("}")
            values.append("".join(parts).encode())
        keys = [self._keys[account] for account in accounts]
        labels = self._labels(events, names, first)
        return Chunk(values, keys, events["time"].copy(), labels, first)

    def _remember(self, events: Events, names: list[str]) -> None:
        """Keep the ids of events whose outcome is still to come; it comes within seconds."""
        day = (
            f"T{str(np.datetime64(int(events['time'][0]) - HOUR_MS, 'D')).replace('-', '')}"
            if len(events)
            else ""
        )
        if len(self._ids) > 100_000:
            self._ids = {uid: name for uid, name in self._ids.items() if name[:9] >= day}
        for row in np.flatnonzero(events["failed"]).tolist():
            self._ids[int(events["uid"][row])] = names[row]

    def _parties(self, party: I64) -> list[str]:
        text = [""] * len(party)
        here = party >= 0
        for row in np.flatnonzero(here).tolist():
            text[row] = f',"counterparty_id":"{self._account[party[row]]}","counterparty_bank":"{OWN_BANK}"'
        away = np.flatnonzero(party < -1)
        numbers = _digits(mixed(party[away], self._world.seed, 23), 15)
        banks = bank_of(party[away]).tolist()
        for row, number, bank in zip(away.tolist(), numbers, banks, strict=True):
            text[row] = f',"counterparty_id":"6217{number:015d}","counterparty_bank":"{BANKS[bank]}"'
        return text

    def _labels(self, events: Events, names: list[str], first: int) -> list[Label]:
        known = (events["story"] != 0) & (events["type"] <= EventType.CARD_AUTH)
        rows = np.flatnonzero(known)
        delay = HOUR_MS * 2 + (
            mixed(events["uid"][rows], self._world.seed, 24) % np.uint64(6 * DAY_MS)
        ).astype("i8")
        labels: list[Label] = []
        for row, wait in zip(rows.tolist(), delay.tolist(), strict=True):
            story = int(events["story"][row])
            pattern = PATTERNS[story - 1].name if story > 0 else NAMES[-story - 1]
            account = self._account[int(events["account"][row])]
            at = int(events["time"][row]) + wait
            labels.append(Label(first + row, names[row], account, story > 0, pattern, at))
        return labels


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def _members(name: str, values: tuple[str, ...]) -> list[str]:
    return [f',"{name}":"{value}"' if value else "" for value in values]


def _decimal(minor: int, decimals: int) -> str:
    if not decimals:
        return str(minor)
    sign = "-" if minor < 0 else ""
    whole, rest = divmod(abs(minor), 10**decimals)
    return f"{sign}{whole}.{rest:0{decimals}d}"


def _amount(minor: int, currency: int) -> str:
    unit = CURRENCIES[currency]
    return f',"amount":"{_decimal(minor, unit.decimals)}","currency":"{unit.code}"'
