"""The numbers of a program: where its tables stand, operations of its instructions, sizes."""

from __future__ import annotations

import numpy as np

U64 = np.uint64
ONE, NONE, ALL = U64(1), U64(0), U64(0xFFFF_FFFF_FFFF_FFFF)
MIN_INT64 = -(2**63)
MAX_INT64 = 2**63 - 1
TILE = 64
BLOCK = 8
"""Columns of a row-major matrix that are gathered together."""
EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (2a + b) / 3 of WGS 84."""

# Header: (offset, count) pairs of the pool's tables, in items of their width.
FIELDS, FEATURES, MODELS, CODE, ATOMS, BOOLS, OUTPUTS = 0, 2, 4, 6, 8, 10, 12
REGISTERS, NODES, KEY = 14, 15, 16
STREAM, PASSING = 18, 20
HEADER = 22
STREAM_WIDTH = 3
"""First column of a block of features, its first atom and their end; the block passes through the ``BLOCK``
registers from ``PASSING`` on, for these atoms alone."""
GATHER_WIDTH = 2
"""Column, register: one entry a word."""
CODE_WIDTH = 8
"""Operation, target, then up to six operands."""
ATOM_WIDTH = 4
"""Operation, register, register or -1, constant or offset."""
BOOL_WIDTH = 3
"""Operation, offset of arguments, count."""

# Value operations; suffixes: I int64, F binary64.
(ADD_I, SUB_I, NEG_I, ABS_I, MIN_I, MAX_I, SCALE, ROUND_I, MULTIPLE_I, BETWEEN_I) = range(10)
(ADD_F, SUB_F, NEG_F, ABS_F, MIN_F, MAX_F, MUL, DIV, ROUND_F, MULTIPLE_F, BETWEEN_F) = range(10, 21)
(FLOAT, RINT, COALESCE, OWN, LOCAL, HOUR, DAY, WEEKDAY, MIDNIGHT, DISTANCE) = range(21, 31)
(LOWER, LENGTH, SHARE, STARTS, ENDS, CONTAINS) = range(31, 37)

# Atoms; suffixes: C constant, R register, W two words.
(LT_I, EQ_I, LT_F, GT_F, EQ_F, LT_IR, EQ_IR, LT_FR, EQ_FR, EQ_W, EQ_WR) = range(11)
(PRESENT, CODES, SET_I, SET_F, SET_W) = range(11, 16)

# Three-valued operations.
(AND, SAME, ELSE, KNOWN) = range(4)

SHARES = 10_000
"""Parts into which keys are divided: a canary's percentage has two digits behind the point."""
LINEAR = 8
"""Sets up to this size are searched one by one."""
