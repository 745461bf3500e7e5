"""Where everything stands: records of a bound table, and the plan that the join kernel reads.

A record is one row, its words beside each other, so that a lookup meets one or two cache lines::

    key low | key high | presence bits | words of the joined columns

Bit i of the presence bits belongs to column i; ``GONE`` marks a row that was removed. A text is three words:
its keyed hash and ``begin << TEXT_SHIFT | bytes`` in the table's pool. The index has a slot for each row:
``hash bits << 32 | row + 1``, 0 is free.
"""

from __future__ import annotations

# --- record ------------------------------------------------------------------------------------------
R_LOW = 0
R_HIGH = 1
R_MASK = 2
R_WORDS = 3
GONE_BIT = 62
TEXT_SHIFT = 16

# --- plan: one row for each table --------------------------------------------------------------------
P_INDEX = 0  # address of the index
P_INDEX_MASK = 1
P_RECORDS = 2  # address of the records
P_STRIDE = 3
P_TEXTS = 4  # address of the pool of texts
P_KEY = 5  # row of the key in Batch.value
P_KEY_WORDS = 6
P_FRESH_UNTIL = 7  # events later than this see stale content
P_KEEP = 8  # 1: values of stale content stay
P_FOUND = 9  # row for `found`, -1: nobody reads it
P_STALE = 10
P_COLUMNS = 11  # first column record
P_COLUMN_COUNT = 12
PLAN = 13

# --- plan: columns -----------------------------------------------------------------------------------
C_OFFSET = 0  # word in the record
C_WORDS = 1
C_BIT = 2
C_TARGET = 3  # row in Batch.value
C_TEXT = 4  # number among the text columns of all tables, -1: no text
COLUMN = 5

# --- counters of a join ------------------------------------------------------------------------------
N_FOUND = 0
N_ABSENT = 1
N_STALE = 2
COUNTERS = 3

FOREVER = 1 << 62
EMPTY_SLOTS = 1 << 4
CAPACITY_SPARE = 1_024
"""Rows that a delta may add before a table is built anew; an eighth of its rows is spare too."""
