"""The handbook's transactions through the product: events and delayed labels in, inputs of models out.

A label is published as an event when it is known, so that no window and no learner can know it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.models.file import blank_model
from fraudstream.models.inputs import Columns, Input
from fraudstream.models.protocol import DAY_MS, Transactions
from fraudstream.models.train import Examples
from fraudstream.rules.bundle import Bundle
from fraudstream.stream.errors import BadUse
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.scoring import bind_model, undeclared_inputs
from fraudstream.stream.wire.types import Slice

COLUMNS = ("tx_id", "event_time_s", "customer_id", "terminal_id", "amount_minor", "fraud")
ON = ("card_auth",)
RECORDS = 2_000
"""Records in one go."""


class Table(NamedTuple):
    """Transactions of a handbook file, in time order."""

    tx_id: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    customer: NDArray[np.int64]
    terminal: NDArray[np.int64]
    amount_minor: NDArray[np.int64]
    fraud: NDArray[np.bool_]

    def transactions(self) -> Transactions:
        """Return what the protocol needs."""
        return Transactions(self.time_ms, self.customer, self.fraud)


def read_table(path: Path) -> Table:
    """Read a Parquet file with the columns ``COLUMNS``.

    Raises:
        BadUse: it has others, or is not in time order.
    """
    file = pq.read_table(path)
    if missing := [name for name in COLUMNS if name not in file.column_names]:
        raise BadUse(f"`{path}` lacks the column {missing[0]}; expected {', '.join(COLUMNS)}")
    columns = [file[name].to_numpy().astype(np.int64) for name in COLUMNS]
    columns[1] *= 1000
    if (np.diff(columns[1]) < 0).any():
        raise BadUse(f"`{path}` is not in the order of event_time_s; sort it first")
    tx_id, time_ms, customer, terminal, amount, fraud = columns
    return Table(tx_id, time_ms, customer, terminal, amount, fraud == 1)


def events(table: Table, delay_days: int) -> Iterator[tuple[NDArray[np.int64], list[bytes], list[int]]]:
    """Yield pieces of the log: transaction of each record (-1: a label), values, times in milliseconds.

    At one time labels come before transactions, as the protocol learns what is exactly as old as the delay.
    """
    n = len(table.tx_id)
    time_ms = np.concatenate([table.time_ms + delay_days * DAY_MS, table.time_ms])
    is_label = np.arange(2 * n) < n
    order = np.lexsort((~is_label, time_ms))
    order = order[time_ms[order] <= int(table.time_ms[-1])]
    for begin in range(0, len(order), RECORDS):
        part = order[begin : begin + RECORDS]
        values = [_value(table, int(at % n), int(time_ms[at]), label=bool(at < n)) for at in part]
        yield np.where(part < n, -1, part % n), values, time_ms[part].tolist()


def _value(table: Table, at: int, time_ms: int, *, label: bool) -> bytes:
    minor = int(table.amount_minor[at])
    known = f',"label":"{"fraud" if table.fraud[at] else "legitimate"}"' if label else ""
    kind, prefix = ("label", "label:") if label else ("card_auth", "")
    return (
        f'{{"transaction_id":"{prefix}{table.tx_id[at]}","event_type":"{kind}","event_time":{time_ms},'
        f'"account_id":"{table.customer[at]}","merchant_id":"{table.terminal[at]}",'
        f'"amount":"{minor // 100}.{minor % 100:02d}"{known}}}'
    ).encode()


def collect(
    table: Table,
    bundle: Bundle,
    inputs: Sequence[Input],
    delay_days: int,
    advance: Callable[[float], object] = lambda _: None,
) -> Examples:
    """Run the events through the pipeline and return the inputs of every transaction.

    Raises:
        BadUse: the bundle does not declare an input.
    """
    blank = blank_model(ON, inputs)
    bound = bind_model(blank, bundle)
    if bound is None:
        problems = "; ".join(undeclared_inputs(blank, bundle))
        raise BadUse(f"the rules directory does not fit the inputs: {problems}")
    n = len(table.tx_id)
    x, present = np.zeros((n, len(inputs))), np.zeros((n, len(inputs)), np.uint8)
    pipeline, offset = Pipeline(0, bytes(16), bundle, None), 0
    for row_of, values, times in events(table, delay_days):
        part = Slice.from_records(0, values, [None] * len(values), range(offset, offset + len(values)), times)
        result = pipeline.process(part)
        batch, matrix = result.batch, result.matrix
        if len(batch) != len(values):
            raise BadUse(f"record {offset} and others can not be read: {batch.rejected[0]}")
        columns = Columns(batch.value, batch.state, matrix.value, matrix.state)
        wanted = bound.wanted(columns, np.ones(len(batch), np.bool_))
        part_x, part_present = blank.transform(bound.binding, columns, wanted)
        keep = row_of >= 0
        x[row_of[keep]], present[row_of[keep]] = part_x[keep], part_present[keep]
        offset += len(values)
        advance(offset / (2 * n))
    return Examples(x, present, table.fraud, table.time_ms, table.time_ms + delay_days * DAY_MS)
