"""What W3 and W4 do to the reference bank's traffic: ids change, everything else stays as generated.

Whether a record changes is drawn from the workload's seed and the record's number on the log, so a shorter
log is the beginning of a longer one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.traffic.generate import START_MS, generate
from fraudstream.bench.traffic.records import Chunk
from fraudstream.bench.traffic.world import mixed

HOT_SHARE = 0.5
HOT_ACCOUNT = b"6222029999999999999"
"""One digit longer than the generator's accounts: it belongs to nobody else."""
HOT_MERCHANT = b"M999999999"
NEW_SHARE = 0.3

Change = Callable[[bytes, int], tuple[bytes, bytes]]
"""(JSON, number of the record) -> (JSON, account)."""

_ACCOUNT = re.compile(rb'"account_id":"[^"]*"')
_CUSTOMER = re.compile(rb'"customer_id":"[^"]*"')
_CARD = re.compile(rb'"card_id":"[^"]*"')
_MERCHANT = re.compile(rb'"merchant_id":"[^"]*"')


def steady(count: int, seed: int, accounts: int, start_ms: int = START_MS) -> Iterator[Chunk]:
    """Yield the reference bank's traffic."""
    return generate(count, seed, start_ms, accounts)


def hot_key(count: int, seed: int, accounts: int, start_ms: int = START_MS) -> Iterator[Chunk]:
    """Yield W3: each record moves to one account with chance 1/2, its merchant, if any, to one merchant."""
    return _changed(steady(count, seed, accounts, start_ms), seed, HOT_SHARE, _make_hot)


def never_seen(count: int, seed: int, accounts: int, start_ms: int = START_MS) -> Iterator[Chunk]:
    """Yield W4: each record moves with chance 0.3 to an account, customer and card that no other has."""
    return _changed(steady(count, seed, accounts, start_ms), seed, NEW_SHARE, _make_new)


def _changed(chunks: Iterable[Chunk], seed: int, share: float, change: Change) -> Iterator[Chunk]:
    for chunk in chunks:
        numbers = np.arange(chunk.offset, chunk.offset + len(chunk))
        values, keys = list(chunk.values), list(chunk.keys)
        for row in np.flatnonzero(_chosen(numbers, seed, share)).tolist():
            values[row], account = change(values[row], chunk.offset + row)
            keys[row] = account
        yield replace(chunk, values=values, keys=keys)


def _chosen(numbers: NDArray[np.int64], seed: int, share: float) -> NDArray[np.bool_]:
    return np.asarray(mixed(numbers, seed, 31) < np.uint64(int(share * 2**64)))


def _make_hot(value: bytes, _number: int) -> tuple[bytes, bytes]:
    value = _ACCOUNT.sub(b'"account_id":"' + HOT_ACCOUNT + b'"', value)
    return _MERCHANT.sub(b'"merchant_id":"' + HOT_MERCHANT + b'"', value), HOT_ACCOUNT


def _make_new(value: bytes, number: int) -> tuple[bytes, bytes]:
    account = b"622203%012d" % number
    value = _ACCOUNT.sub(b'"account_id":"' + account + b'"', value)
    value = _CUSTOMER.sub(b'"customer_id":"N%011d"' % number, value)
    return _CARD.sub(b'"card_id":"n%011d"' % number, value), account
