"""W2 (seed scale): 1,900 indicators over seven kinds of key, and 2,000 rules that read every one of them.

For each of account, customer, device, IP, merchant, counterparty and account-counterparty pair:

=====  ==========================================================================================
  252  count, sum, mean, std, min and max of the amount, unfiltered and under five filters, in the
       windows 1m, 10m, 1h, 6h, 24h, 7d and 30d
   14  distinct values of two fields in the same windows
    2  time since the first and since the last event
    3  what the amount usually was before this event, from five events on: of account, customer,
       device and merchant the moving averages with half-lives of 1d, 7d and 30d; of the others,
       whose keys come without end, the means in 3d, 14d and 30d
=====  ==========================================================================================

and the amount of the last purchase at a counter, by account, customer and device: 7 x 271 + 3 = 1,900.
Filters are shared by all kinds. The ids of devices, IPs and so on are what the traffic has: a feature whose
key a transaction lacks is missing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fraudstream.bench.workloads.writing import FEATURES_HEAD, Comparison, write_directory, write_rule

SEED = 20_260_201
INDICATORS = 1_900
RULES = 2_000
RULES_PER_FILE = 200

WINDOWS = {"1m": 1 / 1440, "10m": 1 / 144, "1h": 1 / 24, "6h": 0.25, "24h": 1.0, "7d": 7.0, "30d": 30.0}
"""Window -> days."""
BASELINES = ("3d", "14d", "30d")
HALF_LIVES = ("1d", "7d", "30d")
EXACT_DAYS_MAX = 1.0
AGGREGATES = ("count", "sum", "mean", "std", "min", "max")
FILTERS = {
    "out": 'txn.direction == "out"',
    "card": 'event.type == "card_auth"',
    "online": 'txn.channel in ["mobile", "web"]',
    "large": "txn.amount >= 2000",
    "abroad": 'txn.country != "CN"',
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key."""

    name: str
    key: str
    distinct: tuple[tuple[str, str], ...]
    """(name, field) of what is counted."""
    per_day: float
    """Events of a busy key: scales the thresholds of generated rules."""
    forever: bool
    """Whether `since_*` reach back for ever and averages move; keys that come without end have 30 days."""


PAIR = "[account.id, counterparty.id]"
KINDS = (
    Kind("account", "account.id", (("payees", "counterparty.id"), ("shops", "merchant.id")), 40, True),
    Kind("customer", "customer.id", (("devices", "device.id"), ("countries", "txn.country")), 40, True),
    Kind("device", "device.id", (("accounts", "account.id"), ("addresses", "txn.ip")), 40, True),
    Kind("ip", "txn.ip", (("accounts", "account.id"), ("devices", "device.id")), 8_000, False),
    Kind("merchant", "merchant.id", (("cards", "card.id"), ("countries", "txn.country")), 800, True),
    Kind("payee", "counterparty.id", (("senders", "account.id"), ("devices", "device.id")), 30, False),
    Kind("pair", PAIR, (("devices", "device.id"), ("addresses", "txn.ip")), 6, False),
)


@dataclass(frozen=True, slots=True)
class _Indicator:
    unit: str
    """count, distinct, sum, money or duration."""
    expected: float
    """Events in the window of a busy key."""


def _families(kind: Kind, long: str) -> Iterator[tuple[str, dict[str, _Indicator]]]:
    """Yield a kind's families as YAML with what they expand to; ``long`` goes into those beyond 24 hours."""
    for group, wheres in (("flow", {}), ("part", FILTERS)):
        conditions = ", ".join(f"{name}: '{text}'" for name, text in wheres.items())
        for tail, windows in _split(WINDOWS):
            options = f", where: {{{conditions}}}" if wheres else ""
            found = {
                f"{kind.name}.{group}{tail}_{agg}{label}_{window}": _Indicator(
                    agg if agg in ("count", "sum") else "money", kind.per_day * days
                )
                for agg in AGGREGATES
                for label in ([f"_{name}" for name in wheres] or [""])
                for window, days in windows.items()
            }
            options += long if tail else ""
            yield _family(kind, group + tail, AGGREGATES, "txn.amount", windows, options), found
    for name, field in kind.distinct:
        for tail, windows in _split(WINDOWS):
            found = {
                f"{kind.name}.{name}{tail}_distinct_{window}": _Indicator("distinct", kind.per_day * days)
                for window, days in windows.items()
            }
            options = f", max: 100{long if tail else ''}"
            yield _family(kind, name + tail, ("distinct",), field, windows, options), found
    if not kind.forever:
        found = {f"{kind.name}.usual_mean_{window}": _Indicator("money", 0) for window in BASELINES}
        options = f", current: exclude, min_count: 5{long}"
        yield _family(kind, "usual", ("mean",), "txn.amount", BASELINES, options), found


def _family(kind: Kind, name: str, aggs: Iterable[str], of: str, windows: Iterable[str], options: str) -> str:
    return (
        f"  {kind.name}.{name}: {{agg: [{', '.join(aggs)}], of: {of}, key: {kind.key}, "
        f"window: [{', '.join(windows)}]{options}}}\n"
    )


def _split(windows: dict[str, float]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield exact windows, and those beyond 24 hours under a family name of their own."""
    yield "", {name: days for name, days in windows.items() if days <= EXACT_DAYS_MAX}
    yield "_long", {name: days for name, days in windows.items() if days > EXACT_DAYS_MAX}


def _singles(kind: Kind, long: str) -> Iterator[tuple[str, dict[str, _Indicator]]]:
    for agg in ("since_first", "since_last"):
        window = "" if kind.forever else f", window: 30d{long}"
        name = f"{kind.name}.{agg}"
        yield f"  {name}: {{agg: {agg}, key: {kind.key}{window}}}\n", {name: _Indicator("duration", 0)}
    for half_life in HALF_LIVES if kind.forever else ():
        name = f"{kind.name}.usual_{half_life}"
        options = f"half_life: {half_life}, current: exclude, min_count: 5"
        yaml = f"  {name}: {{agg: ewma, of: txn.amount, key: {kind.key}, {options}}}\n"
        yield yaml, {name: _Indicator("money", 0)}
    if kind.name in ("account", "customer", "device"):
        name = f"{kind.name}.last_counter"
        where = "current: exclude, where: 'txn.channel == \"pos\"'"
        yaml = f"  {name}: {{agg: last, of: txn.amount, key: {kind.key}, {where}}}\n"
        yield yaml, {name: _Indicator("money", 0)}


def _declarations(long: str) -> tuple[str, dict[str, _Indicator]]:
    """Return features.yaml and every indicator in it."""
    indicators: dict[str, _Indicator] = {}
    lines = [FEATURES_HEAD, "features:\n"]
    for title, parts in (("", _singles), ("families:\n", _families)):
        lines.append(title)
        for kind in KINDS:
            for yaml, found in parts(kind, long):
                lines.append(yaml)
                indicators |= found
    return "".join(lines), indicators


def _comparison(item: _Indicator, rng: random.Random) -> Comparison:
    """Return a comparison that few transactions satisfy."""
    if item.unit == "duration":
        return Comparison(f"< {rng.randint(1, 59)}s", "0s", "1h")
    if item.unit == "money":
        major = rng.randint(50, 400) * 200
    elif item.unit == "distinct":
        major = rng.randint(12, 99)
    else:
        major = rng.randint(8, 30) + int(item.expected * rng.uniform(1.0, 3.0))
        if item.unit == "sum":
            major *= 5_000
    comparison = ">" if item.unit in ("money", "sum") else ">="
    return Comparison(f"{comparison} {major}", str(major + 1), "0")


def w2_files(resolution: str = "", number_of_rules: int = RULES) -> dict[str, bytes]:
    """Write W2's rules directory; ``resolution`` of windows beyond 24 hours: by default the engine's.

    Another ``number_of_rules`` than W2's is for measuring rules alone.
    """
    features, indicators = _declarations(f", resolution: {resolution}" if resolution else "")
    if len(indicators) != INDICATORS:
        raise AssertionError(f"W2 is defined with {INDICATORS} indicators, not {len(indicators)}")
    rng = random.Random(SEED)
    names = list(indicators)
    # Each indicator leads one rule, the rest of the rules are led by indicators drawn once more.
    leaders: list[str] = []
    while len(leaders) < number_of_rules:
        leaders += rng.sample(names, min(len(names), number_of_rules - len(leaders)))
    rules = []
    for number, leader in enumerate(leaders):
        picked = dict.fromkeys([leader, *rng.sample(names, rng.randint(1, 4))])
        tests = {name: _comparison(indicators[name], rng) for name in picked}
        rules.append(write_rule(rng, f"w2.r{number:04d}", number, tests))
    sets = {
        f"generated_{begin // RULES_PER_FILE}": rules[begin : begin + RULES_PER_FILE]
        for begin in range(0, number_of_rules, RULES_PER_FILE)
    }
    return write_directory(features, sets)
