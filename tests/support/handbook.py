"""A small world like the handbook's: customers with habits, compromised terminals and customers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fraudstream.stream.handbook import Table

DAY_S = 86_400
FIRST_S = 1_527_811_200
"""2018-06-01T00:00:00Z"""


def make_table(days: int = 50, customers: int = 60, seed: int = 1) -> Table:
    """Return about two transactions a customer and day; terminals are compromised for 14 days."""
    random = np.random.default_rng(seed)
    n = days * customers * 2
    time_s = FIRST_S + np.sort(random.integers(0, days * DAY_S, n))
    day = (time_s - FIRST_S) // DAY_S
    customer, terminal = random.integers(0, customers, n), random.integers(0, customers, n)
    habit = random.uniform(500, 9_000, customers)
    amount = np.maximum(1, random.normal(habit[customer], habit[customer] / 2)).astype(np.int64)
    begin = random.integers(0, 3 * days, customers)
    compromised = (day >= begin[terminal]) & (day < begin[terminal] + 14)
    stolen = random.random(n) < 0.01
    amount[stolen] *= 5
    return Table(np.arange(n), time_s * 1000, customer, terminal, amount, compromised | stolen)


def write_table(table: Table, path: Path) -> Path:
    """Write a file as ``read_table`` reads it."""
    columns = {
        "tx_id": table.tx_id,
        "event_time_s": table.time_ms // 1000,
        "customer_id": table.customer,
        "terminal_id": table.terminal,
        "amount_minor": table.amount_minor,
        "fraud": table.fraud.astype(np.int8),
    }
    pq.write_table(pa.table(columns), path)
    return path
