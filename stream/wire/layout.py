"""Layout of the fast lane's tables: one array of words, one of bytes, one of scratch words.

plan (int64)::

    header    H_*   what the schema and the contract fix
    fields    F_*   one record of F_WORDS for each field, in the order in which the exact lane reads them
    names     N_*   open addressing over (space, name): members of the schema's objects, values of enums
    texts           first columns of ids and categories

bytes (uint8)::

    names, then tokens of constants and defaults, then decimals + 1 of currencies [26 * 26 * 26] (0: none),
    then for each field with ``required_for`` one byte per event type, then ``PAD_BYTES`` spare bytes

scratch (int64)::

    progress  S_*   where a slice's reading stands, between calls
    tokens    T_*   kind, start and size of every member that the schema reads, objects on paths last
    words, state, start, size of one row [C each]; counts of values missing by rule [C]; stack [17]

*Spaces* keep names apart: the number of an object for its members, objects + field for an enum's values.
"""

from __future__ import annotations

from typing import Final

H_FIELDS: Final = 0
"""Number of fields."""
H_WORDS: Final = 1
"""Words of a row, C."""
H_LEAVES: Final = 2
"""Members that are read as values; objects on paths are numbered behind them."""
H_TOKENS: Final = 3
"""Leaves and objects together."""
H_MASK: Final = 4
"""Entries of the name table - 1."""
H_NAMES: Final = 5
"""Where the name table begins in the plan."""
H_TEXTS: Final = 6
"""Where the columns of texts begin in the plan."""
H_TEXT_COUNT: Final = 7
H_CURRENCIES: Final = 8
"""Where decimals of currencies begin in the bytes."""
H_EVENT: Final = 9
"""Where the record of the event type's field begins in the plan, -1 if there is none."""
H_S_WORDS: Final = 10
"""Where a row's words begin in the scratch."""
H_S_STATE: Final = 11
H_S_START: Final = 12
H_S_SIZE: Final = 13
H_S_COUNTS: Final = 14
H_S_STACK: Final = 15
H_MAX_BYTES: Final = 16
H_MAX_DEPTH: Final = 17
H_MAX_MINOR: Final = 18
H_MIN_TIME: Final = 19
H_MAX_TIME: Final = 20
H_MIN_YEAR: Final = 21
H_MAX_YEAR: Final = 22
H_MAX_DIGITS: Final = 23
"""Digits of a number that one multiplication or division rounds correctly."""
H_MAX_POWER: Final = 24
"""Largest power of ten that is a binary64."""
H_MAX_LATITUDE: Final = 25
H_MAX_LONGITUDE: Final = 26
H_SIZE: Final = 27

F_TYPE: Final = 0
F_COLUMN: Final = 1
F_TOKEN: Final = 2
"""Number of its member, -1 for a constant."""
F_TOKEN2: Final = 3
"""Longitude's member."""
F_FLAGS: Final = 4
F_NEEDED: Final = 5
"""Where its bytes per event type begin; ``NEVER``, or ``UNCLEAR`` if event types have no codes."""
F_KIND: Final = 6
"""Token of an absent member: the default or the constant, ``ABSENT`` if there is none."""
F_START: Final = 7
F_SIZE: Final = 8
F_MAX_CHARS: Final = 9
F_SPACE: Final = 10
"""Enum: space of its values."""
F_CURRENCY: Final = 11
"""Money: where the record of its currency's field begins in the plan."""
F_WORDS: Final = 12

NEVER: Final = -1
UNCLEAR: Final = -2

REQUIRED: Final = 1
FROM_INTEGER: Final = 2
SIGNED: Final = 4
NULL_DEFAULT: Final = 8
"""A null member takes the default too."""

N_SPACE: Final = 0
"""Space + 1; 0: empty entry."""
N_START: Final = 1
N_SIZE: Final = 2
N_TARGET: Final = 3
"""Number of the member, or the enum's code."""
N_WORDS: Final = 4

S_ROW: Final = 0
"""Next row of the slice."""
S_ROWS: Final = 1
"""Rows emitted."""
S_USED: Final = 2
"""Bytes of text written."""
S_PENDING: Final = 3
"""1: the scratch holds a row that the exact lane has read."""
S_KEY: Final = 4
"""Two words of the hash key."""
S_COUNTED: Final = 6
"""Values of accepted records that are missing by rule."""
S_WHY: Final = 7
"""Why the row is not read: `WHY_*`."""
S_TOKENS: Final = 8

WHY_TOKENS: Final = 0
"""Its JSON is damaged, doubtful or too long, or there is none."""
WHY_VALUES: Final = 1
"""A value is wrong or doubtful."""

T_KIND: Final = 0
T_START: Final = 1
T_SIZE: Final = 2
T_WORDS: Final = 3

ABSENT: Final = 0
NULL: Final = 1
STRING: Final = 2
"""Between its quotes, without escapes."""
ESCAPED: Final = 3
"""Between its quotes, with valid escapes."""
INTEGER: Final = 4
NUMBER: Final = 5
"""With a fraction or an exponent."""
TRUE: Final = 6
FALSE: Final = 7
OBJECT: Final = 8

MISSING: Final = 0
PRESENT: Final = 1
COUNTED: Final = 2
"""State while a row is read: missing by rule, to be counted if the record is accepted."""

TYPE_NUMBER: Final = 0
TYPE_INTEGER: Final = 1
TYPE_MONEY: Final = 2
TYPE_TIME: Final = 3
TYPE_DATE: Final = 4
TYPE_BOOL: Final = 5
TYPE_ENUM: Final = 6
TYPE_CATEGORY: Final = 7
TYPE_COUNTRY: Final = 8
TYPE_ID: Final = 9
TYPE_GEO: Final = 10

STACK: Final = 32
"""Words of the stack of objects; more than the depth of any record."""
